"""The whole recipe, small: the same bytes every time, wherever it was stopped, and every step charged."""

import dataclasses

import numpy as np
import pytest
from small_recipes import builder, guided_config, small_config

from suites.tasks.task import make_task
from wombet.agent import TransferAgent
from wombet.errors import InputError
from wombet.files import canonical_json
from wombet.filtering import AcceptanceError
from wombet.gate import GateError
from wombet.generation import Generated, TransferDataBuilder
from wombet.interaction import Meter
from wombet.serialization import dumps, loads
from wombet.streams import Streams


class Stopped(Exception):
    """A tick that stops the build."""


def silent(**_: object) -> None:
    """A tick that nobody watches."""


def everything(generated: Generated) -> bytes:
    return dumps(
        {
            "dataset": generated.dataset.columns(),
            "source": generated.source.columns(),
            "model": generated.model_state,
            "agent": generated.agent_state,
            "card": canonical_json(generated.card),
            "parts": {name: part.columns() for name, part in generated.parts.items()},
        }
    )


def interrupted(config, at: int, seed: int = 0) -> tuple[bytes, str]:
    """Build, stop in tick `at`, go on in a new builder from the serialised state; return the bytes and the stage."""
    first = builder(config, seed)
    ticks, found = 0, {}

    def stop(**_: object) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == at:
            found["state"] = dumps(first.state())
            raise Stopped

    with pytest.raises(Stopped):
        first.run(stop)
    second = builder(config, seed)
    second.restore(loads(found["state"]))
    done = second.state()["done"]
    names = second.stage_names
    generated = second.run(silent)
    assert second.meter.count == generated.card["source_steps"]["total"]
    return everything(generated), names[done] if done < len(names) else "end"


def ticks_of(config) -> int:
    count = 0

    def tick(**_: object) -> None:
        nonlocal count
        count += 1

    builder(config).run(tick)
    return count


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again = (everything(builder(small_config()).run(silent)) for _ in range(2))
    assert first == again
    assert everything(builder(small_config(), seed=1).run(silent)) != first


def test_a_pure_build_that_is_stopped_anywhere_ends_with_the_same_bytes():
    config = small_config()
    whole, last = everything(builder(config).run(silent)), ticks_of(config)
    stages = set()
    for at in (3, 101, 102, 110, last - 22, last - 15, last - 4, last):
        found, stage = interrupted(config, at)
        assert found == whole, f"stopped in tick {at}, stage {stage}"
        stages.add(stage)
    assert len(stages) >= 5


def test_asking_for_the_state_in_every_tick_changes_nothing():
    config = small_config()
    watched = builder(config)
    assert everything(watched.run(lambda **_: dumps(watched.state()) and None)) == everything(
        builder(config).run(silent)
    )


def test_a_guided_build_goes_on_in_the_middle_of_its_agent():
    config = guided_config()
    whole = everything(builder(config).run(silent))
    for at in (102, 130, 199, 251, 260):
        found, stage = interrupted(config, at)
        assert found == whole, f"stopped in tick {at}, stage {stage}"
    assert interrupted(config, 199)[1] == "agent"


def test_the_agents_steps_are_not_repeated_after_an_interruption(monkeypatch):
    config, counted = guided_config(), []
    original = TransferAgent._interact

    def counting(self, env):
        counted.append(1)
        original(self, env)

    monkeypatch.setattr(TransferAgent, "_interact", counting)
    interrupted(config, 200)
    assert len(counted) == config.agent_steps


def test_a_build_of_a_mixed_pool_goes_on_after_its_early_agent_was_kept():
    config = guided_config(early_fraction=0.5, early_agent_share=0.5)
    whole, last = everything(builder(config).run(silent)), ticks_of(config)
    for at in (174, 176, 177, 200, 252, last - 12, last - 3):
        found, stage = interrupted(config, at)
        assert found == whole, f"stopped in tick {at}, stage {stage}"


@pytest.mark.parametrize("config", [small_config(), small_config("executed"), guided_config(early_fraction=0.5)])
def test_progress_goes_on_through_every_stage_and_ends_at_its_total(config):
    built, seen = builder(config), []

    def tick(**_: object) -> None:
        seen.append((built.progress()[0], built.state()["done"]))

    assert built.progress()[0] == 0
    built.run(tick)
    done, stages = np.array(seen).T
    total = built.progress()[1]
    assert (np.diff(done) >= 0).all()
    assert done[-1] == total
    ends = [done[stages == stage].max() for stage in range(stages.max() + 1)]
    assert (np.diff(ends) >= 0).all()
    fits = [i for i, name in enumerate(built.stage_names) if "fit" in name]
    assert all(done[stages == i + 1].min() > done[stages == i].min() for i in fits)


def test_progress_is_kept_by_a_restored_build():
    config, seen = guided_config(), []
    first = builder(config)

    def stop(**_: object) -> None:
        seen.append(first.progress())
        if len(seen) == 199:
            seen.append(first.state())
            raise Stopped

    with pytest.raises(Stopped):
        first.run(stop)
    second = builder(config)
    second.restore(loads(dumps(seen[-1])))
    assert second.progress() == seen[-2]
    again, later = builder(config), []
    again.restore(loads(dumps(second.state())))
    generated = again.run(lambda **_: later.append(again.progress()[0]))
    assert later[0] >= second.progress()[0]
    assert (np.diff(later) >= 0).all()
    assert everything(generated) == everything(builder(config).run(silent))


def test_an_executed_build_that_is_stopped_ends_with_the_same_bytes():
    config = small_config("executed")
    whole, last = everything(builder(config).run(silent)), ticks_of(config)
    assert interrupted(config, last - 3)[0] == whole


@pytest.mark.parametrize("config", [small_config(), small_config("executed"), guided_config()])
def test_every_step_is_charged_to_the_meter_and_the_budget_holds_to_the_step(config):
    exact = dataclasses.replace(config, source_steps=config.required_steps)
    built = builder(exact)
    generated = built.run(silent)
    charged = generated.card["source_steps"]["by_stage"]
    assert built.meter.count == sum(charged.values()) == config.required_steps
    rows = generated.card["counts"]["candidate_rows"] if config.rollouts == "executed" else 0
    assert len(generated.source) + rows == built.meter.count
    assert charged["random"] == 100
    assert charged["plan 0"] == 60
    assert charged["calibration"] == 30
    assert charged.get("agent", 0) == (150 if config.guided else 0)


def test_the_dataset_is_the_accepted_candidates_of_the_source_task():
    generated = builder(small_config()).run(silent)
    card, data = generated.card, generated.dataset
    data.validate(make_task("reacher", horizon=20))
    assert data.card == card
    assert data.sim_state is None
    accepted = np.array(card["trajectories"]["accepted"], bool)
    assert len(data.episode_starts) == accepted.sum() == sum(card["counts"]["accepted"].values())
    steps = np.array(card["trajectories"]["steps"])
    assert len(data) == steps[accepted].sum()
    means = data.episode_sums(data.reward_source) / steps[accepted]
    assert np.allclose(means, np.array(card["trajectories"]["return_per_step"])[accepted], atol=1e-5)
    bounds = [card["thresholds"]["return_per_step"][kind] for kind in ("initial", "visited")]
    kinds = np.array(card["trajectories"]["start_type"])[accepted]
    assert (means >= np.array(bounds)[kinds] - 1e-6).all()
    assert card["thresholds"]["hard_stop"] >= data.uncertainty.max()
    assert card["gate"]["passed"]


def test_executed_data_carry_simulator_states_and_no_gate():
    generated = builder(small_config("executed")).run(silent)
    assert generated.dataset.sim_state is not None
    assert generated.card["gate"] is None


def test_a_pure_recipe_has_no_agent_and_a_guided_one_returns_its_state():
    pure, guided = builder(small_config()).run(silent), builder(guided_config()).run(silent)
    assert pure.agent_state is None
    assert pure.card["planner"]["terminal_value"] is False
    assert guided.agent_state["steps"] == 150
    assert guided.card["planner"]["policy_proposals"] == 3
    assert {"random", "training_data", "planner", "agent"} == set(guided.card["collection"]["comparison"])


def test_the_source_rows_are_all_real_rows_with_the_final_models_uncertainty():
    generated = builder(small_config()).run(silent)
    task = make_task("reacher", horizon=20)
    generated.source.validate(task)
    env = task.make_env()
    env.reset(seed=0)
    for row in range(0, len(generated.source), 7):
        env.set_sim_state(generated.source.sim_state[row])
        assert np.allclose(env.step(generated.source.action[row])[0], generated.source.next_obs[row], atol=1e-6)
    assert (generated.source.uncertainty > 0).all()


def test_starts_are_half_initial_and_half_visited_with_rates_of_zero():
    built = builder(small_config())
    built.run(silent)
    starts = built.state()["products"]["starts"]["candidates"]
    assert starts["type"].tolist() == [0] * 6 + [1] * 6
    env = make_task("reacher").make_env()
    env.reset(seed=0)
    for obs, state in zip(starts["obs"], starts["sim_state"], strict=True):
        assert np.allclose(env.set_sim_state(state), obs, atol=1e-6)
    assert starts["noise"].min() >= 0
    assert len(set(starts["noise"].tolist())) == 12


def test_matched_selection_keeps_the_share_it_was_given_under_every_rule():
    for rule in ("dual", "return", "uncertainty", "none"):
        config = small_config(selection="matched", filter_rule=rule, matched_fraction=0.5)
        assert len(builder(config).run(silent).dataset.episode_starts) == 6


def test_a_gap_beyond_the_tolerance_and_a_filter_that_takes_nothing_are_errors():
    with pytest.raises(GateError, match="the model imagines"):
        builder(small_config(gate_tolerance=0.0)).run(silent)
    with pytest.raises(AcceptanceError, match="accepted 0 of 12"):
        builder(small_config(filter_rule="uncertainty", uncertainty_factor=0.0)).run(silent)


def test_a_recipe_for_another_horizon_or_a_meter_that_is_too_small_is_refused():
    config = small_config()

    def build(horizon: int, budget: int) -> TransferDataBuilder:
        task = make_task("reacher", horizon=horizon)
        return TransferDataBuilder(task, lambda name: None, Meter(budget), config, Streams(0))  # type: ignore[arg-type, return-value]

    with pytest.raises(InputError, match="episodes of 20 steps and those of reacher/source have 50"):
        build(50, 1000)
    with pytest.raises(InputError, match="can take 190 source steps and the meter holds 189"):
        build(20, 189)


def test_off_policy_rows_are_charged_judged_at_every_fit_and_never_trained_on():
    plain, config = guided_config(early_fraction=0.5), guided_config(early_fraction=0.5, off_policy_steps=40)
    assert config.required_steps == plain.required_steps + 40
    without, generated = (builder(each).run(silent) for each in (plain, config))
    assert generated.card["source_steps"]["by_stage"]["off policy"] == 40
    assert generated.card["source_steps"]["total"] == without.card["source_steps"]["total"] + 40
    reports = generated.card["model_reports"]
    assert [report["stage"] for report in reports] == ["early fit", "fit 0", "final fit"]
    assert [report["off_policy"]["n"] for report in reports] == [40, 40, 40]
    assert all("off_policy" not in report for report in without.card["model_reports"])
    # Nothing else knows of them: same rows, same data, same weights.
    assert dumps(generated.source.columns()) == dumps(without.source.columns())
    assert dumps(generated.dataset.columns()) == dumps(without.dataset.columns())
    assert dumps(generated.model_state["network"]) == dumps(without.model_state["network"])
    columns = [column.numpy() for column in generated.model_state["off_policy"]]
    assert [column.shape for column in columns] == [(40, 8), (40, 2), (40, 8)]
    trained = {row.tobytes() for row in generated.source.obs}
    assert not any(row.tobytes() in trained for row in columns[0])


def test_a_build_that_is_stopped_within_a_fit_ends_with_the_same_bytes():
    config = small_config(off_policy_steps=20)
    whole, stages = everything(builder(config).run(silent)), []
    # 100 random and 20 off-policy steps with an end each, then a fit that ticks at 0, 50, 100 and 150 gradient steps.
    for at in (124, 125, 126):
        found, stage = interrupted(config, at)
        assert found == whole, f"stopped in tick {at}, stage {stage}"
        stages.append(stage)
    after = 127 + 20 + 1  # fit's end, the planner's steps in lock-step and their end
    for at in (after + 2, after + 3):
        found, stage = interrupted(config, at)
        assert found == whole, f"stopped in tick {at}, stage {stage}"
        stages.append(stage)
    assert stages == ["fit 0"] * 3 + ["final fit"] * 2
