"""One more round: the model refined on source and target, new trajectories, and the old ones judged again."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
from small_recipes import builder, guided_config, nothing, opener, small_config

from suites.tasks.task import make_task
from wombet.collection import random_episodes
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.files import canonical_json
from wombet.generation import GenerationConfig
from wombet.generation_tools import Tools
from wombet.interaction import Meter
from wombet.iteration import TARGET_EPISODES, DataIteration, Round, round_of
from wombet.rollouts import model_uncertainty
from wombet.serialization import dumps, loads
from wombet.streams import Streams
from wombet.world_model import WorldModel

TASK = make_task("reacher", horizon=20)


class Stopped(Exception):
    """A tick that stops the iteration."""


def silent(**_: object) -> None:
    """A tick that nobody watches."""


@functools.cache
def built(kind: str = "imagined") -> Round:
    config = guided_config() if kind == "guided" else small_config(kind)
    generated = builder(config).run(silent)
    return round_of(generated.dataset, generated.source, generated.model_state, generated.agent_state)


@functools.cache
def target_rows(steps: int = 90) -> TransferDataset:
    """Random rows of a target task; those of fewer steps are the first of those of more."""
    task = make_task("reacher", "far", horizon=20)
    env = opener(task, Meter(), seed=5)("target")
    return random_episodes(env, TASK, steps, np.random.default_rng(0), nothing)


def iteration(
    config: GenerationConfig | None = None, before: Round | None = None, target: Any = None, **changes: Any
) -> DataIteration:
    config = config or small_config()
    meter = Meter(config.iteration_steps, "source")
    streams = Streams(0, "generation")
    rows = target_rows() if target is None else target
    return DataIteration(TASK, opener(TASK, meter), meter, config, streams, before or built(), rows, **changes)


def everything(after: Round) -> bytes:
    return dumps(
        {
            "dataset": after.dataset.columns(),
            "start_type": after.start_type,
            "source": after.source.columns(),
            "model": after.model_state,
            "card": canonical_json(after.dataset.card),
        }
    )


def test_the_model_is_refined_on_both_tasks_and_knows_their_episodes_apart():
    after = iteration().run(silent)
    report = after.dataset.card["iterations"][0]["model_report"]
    assert report["n_train"] + report["n_holdout"] == len(built().source) + 90
    known = set(after.model_state["known_episodes"].tolist())
    assert known == set(built().source.episode_id.tolist()) | {TARGET_EPISODES + i for i in range(5)}
    trained = set(built().model_state["known_episodes"]) - set(built().model_state["holdout_episodes"])
    assert not trained & set(after.model_state["holdout_episodes"])


def test_the_refinement_starts_from_the_weights_there_were(monkeypatch):
    begun, fit = [], WorldModel.fit

    def watching(self, *args, **kwargs):
        begun.append(dumps(self.state()))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(WorldModel, "fit", watching)
    iteration().run(silent)
    assert begun == [dumps(built().model_state)]


def test_the_return_floor_of_every_round_is_that_of_the_collected_episodes(monkeypatch):
    """Calibrations begin in visited states too, so that they say nothing of how episodes begin."""
    floors, judge = [], Tools.judge

    def watching(self, name, candidates, uncertainty, source_returns):
        floors.append(source_returns)
        return judge(self, name, candidates, uncertainty, source_returns)

    monkeypatch.setattr(Tools, "judge", watching)
    generated = builder(small_config()).run(silent)
    first = round_of(generated.dataset, generated.source, generated.model_state, generated.agent_state)
    second = iteration(before=first).run(silent)
    iteration(before=second).run(silent)
    assert len(second.source) > len(first.source) > first.collected_rows == second.collected_rows
    assert floors == [floors[0]] * 3


def test_candidates_start_in_states_of_both_tasks():
    made = iteration()
    made.run(silent)
    starts = made.state()["products"]["starts"]["candidates"]
    visited = [state.tobytes() for state in starts["sim_state"][6:]]
    of = [{state.tobytes() for state in rows.sim_state} for rows in (built().source, target_rows())]
    assert all(state in of[0] | of[1] for state in visited)
    assert any(state in of[0] for state in visited)
    assert any(state in of[1] for state in visited)


@pytest.mark.parametrize("keep", ["regenerate", "append"])
def test_old_trajectories_are_scored_by_the_new_ensemble_and_kept_by_the_mode(keep: str):
    config = small_config(filter_rule="uncertainty", uncertainty_factor=1.0)
    made = iteration(config, keep=keep)
    after = made.run(silent)
    entry, old = after.dataset.card["iterations"][0], built().dataset
    model = made._tools.model(after.model_state)
    scored = model_uncertainty(model, old.obs, old.action)
    means = np.add.reduceat(scored.astype(float), old.episode_starts) / np.diff([*old.episode_starts, len(old)])
    passes = means <= entry["thresholds"]["uncertainty"]
    assert 0 < passes.sum() < len(passes)
    stays = passes if keep == "regenerate" else np.ones_like(passes)
    assert (entry["rescored"]["passed"], entry["rescored"]["kept"]) == (passes.sum(), stays.sum())
    kept = stays[old.episode_id]
    n = int(kept.sum())
    assert entry["rescored"]["kept_rows"] == n
    assert np.array_equal(after.dataset.obs[:n], old.obs[kept])
    assert np.array_equal(after.dataset.uncertainty[:n], scored[kept])
    assert len(after.dataset) == n + entry["counts"]["accepted_rows"] == entry["dataset"]["rows"]
    assert len(after.start_type) == len(after.dataset.episode_starts) == entry["dataset"]["trajectories"]
    assert after.start_type[: stays.sum()].tolist() == built().start_type[stays].tolist()
    after.dataset.validate(TASK)


@pytest.mark.parametrize("rollouts", ["imagined", "executed"])
def test_every_real_step_is_charged_and_stands_in_the_card(rollouts: str):
    made = iteration(small_config(rollouts), built(rollouts))
    after = made.run(silent)
    card, before = after.dataset.card, built(rollouts).dataset.card
    spent = card["iterations"][0]["source_steps"]
    assert made.meter.count == made.config.iteration_steps == spent["total"] == sum(spent["by_stage"].values())
    assert card["source_steps"]["total"] == before["source_steps"]["total"] + spent["total"]
    assert sum(card["source_steps"]["by_stage"].values()) == card["source_steps"]["total"]
    assert len(after.source) == len(built(rollouts).source) + 30
    assert (after.dataset.sim_state is not None) == (rollouts == "executed")
    assert "parts" not in card


def test_a_second_iteration_goes_on_from_the_first_with_more_target_rows():
    after = iteration().run(silent)
    again = iteration(before=after, target=target_rows(150)).run(silent)
    entries = again.dataset.card["iterations"]
    assert [entry["iteration"] for entry in entries] == [1, 2]
    assert entries[0] == after.dataset.card["iterations"][0]
    assert entries[1]["rescored"]["trajectories"] == len(after.start_type)
    assert entries[1]["target"]["steps"] == 150
    trained = set(after.model_state["known_episodes"]) - set(after.model_state["holdout_episodes"])
    assert not trained & set(again.model_state["holdout_episodes"])
    assert set(after.model_state["known_episodes"]) < set(again.model_state["known_episodes"])
    assert set(entries[0]["source_steps"]["by_stage"]).isdisjoint(entries[1]["source_steps"]["by_stage"])


def test_a_round_can_be_taken_up_from_what_was_stored():
    after = iteration().run(silent)
    taken_up = round_of(after.dataset, after.source, after.model_state, None)
    assert np.array_equal(taken_up.start_type, after.start_type)
    assert taken_up.index == 1


def test_a_part_that_is_not_the_accepted_one_is_refused():
    source = dataclasses.replace(built().source, card=built().dataset.card)
    with pytest.raises(InputError, match="its card lists"):
        round_of(source, source, built().model_state, None)


def interrupted(at: int, **arguments: Any) -> tuple[bytes, int]:
    first = iteration(**arguments)
    ticks, found = 0, b""

    def stop(**_: object) -> None:
        nonlocal ticks, found
        ticks += 1
        if ticks == at:
            found = dumps(first.state())
            raise Stopped

    with pytest.raises(Stopped):
        first.run(stop)
    second = iteration(**arguments)
    second.restore(loads(found))
    begun = second.state()["done"]
    return everything(second.run(silent)), begun


@pytest.mark.parametrize("kind", ["imagined", "executed", "guided"])
def test_an_iteration_that_is_stopped_anywhere_ends_with_the_same_bytes(kind: str):
    config = guided_config() if kind == "guided" else small_config(kind)
    arguments: dict[str, Any] = {"config": config, "before": built(kind)}
    count = 0

    def tick(**_: object) -> None:
        nonlocal count
        count += 1

    whole = everything(iteration(**arguments).run(tick))
    stages = set()
    for at in (1, 2, 5, count - 3, count):
        found, stage = interrupted(at, **arguments)
        assert found == whole, f"stopped in tick {at}"
        stages.add(stage)
    assert len(stages) >= 4


def test_progress_ends_at_its_total():
    made = iteration()
    made.run(silent)
    assert made.progress()[0] == made.progress()[1] > 0


def test_what_does_not_fit_is_refused():
    rows = target_rows()
    with pytest.raises(InputError, match="keep is 'all'"):
        iteration(keep="all")
    with pytest.raises(InputError, match="no simulator states"):
        iteration(target=dataclasses.replace(rows, sim_state=None))
    with pytest.raises(InputError, match="use rows of the same family"):
        iteration(target=dataclasses.replace(rows, action=np.zeros((90, 3), np.float32)))
    config, streams = small_config(), Streams(0)
    with pytest.raises(InputError, match="can take 30 source steps and the meter holds 29"):
        DataIteration(TASK, opener(TASK, Meter()), Meter(29), config, streams, built(), rows)
