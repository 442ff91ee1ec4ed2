"""WOMBET with several iterations: one is plain WOMBET, a stop in the middle of another leaves no trace."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from baselines.api import Budgets
from baselines.config import make_config
from baselines.iterated import IteratedConfig, IteratedWOMBET
from baselines.registry import method
from suites.contract import problem as small
from suites.contract.run import SmallRun
from tests.contract.harness import BUILD, DATASET, SMALL, Run, Stopped
from wombet.errors import InputError
from wombet.filtering import AcceptanceError
from wombet.gate import GateError
from wombet.iteration import DataIteration
from wombet.serialization import dumps
from wombet.streams import Streams

NAME = "wombet-iterated"
STEPS = BUILD()[1].config.iteration_steps


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run with other settings and budgets than the harness's."""

    def use(source_steps: int | None = None, **changes: Any) -> None:
        for name, value in changes.items():
            monkeypatch.setitem(SMALL, name, value)
        if source_steps is not None:
            monkeypatch.setattr(small, "BUDGETS", dataclasses.replace(small.BUDGETS, source_steps=source_steps))

    return use


def plain_wombet() -> SmallRun:
    """WOMBET on the dataset that the iterated method is given."""
    run = Run("wombet")
    run.problem.dataset = BUILD()[0]
    fields = {field.name for field in dataclasses.fields(run.kind.Config)}
    config = make_config(run.kind.Config, {key: value for key, value in SMALL.items() if key in fields}, "wombet")
    run.adapter = run.kind(run.problem, config, Streams(0).child("method"), "cpu")
    return run


def test_one_iteration_is_wombet_byte_for_byte(settings: Any) -> None:
    settings(iterations=1, source_steps=0, pretraining_updates=6)
    run, plain = Run(NAME).train(), plain_wombet().train()
    assert run.state() == plain.state()
    assert run.metrics == plain.metrics


def test_until_its_first_regeneration_it_is_wombet(settings: Any) -> None:
    settings(mixing="fixed")
    run, plain = Run(NAME), plain_wombet()
    for each in (run, plain):
        with pytest.raises(Stopped):
            each.train(stop_at=30)
    state = run.adapter.state()
    assert state.pop("iterations")["phase"] == 1
    assert dumps(state) == dumps(plain.adapter.state())


def test_a_schedule_of_the_mixture_runs_over_the_whole_online_phase(settings: Any) -> None:
    settings(mixing="schedule", iterations=3, source_steps=2 * STEPS)
    shares = [metrics["offline_fraction"] for metrics in Run(NAME).train().metrics]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.05)
    assert len(set(shares)) > 40


def test_append_mixes_by_the_rows_that_there_are(settings: Any) -> None:
    settings(mixing="append", iterations=1, source_steps=0)
    shares, rows = [metrics["offline_fraction"] for metrics in Run(NAME).train().metrics], len(BUILD()[0])
    assert shares[10:] == pytest.approx([rows / (rows + step) for step in range(11, 61)])


def test_each_iteration_feeds_the_agent_its_own_data_in_the_targets_reward(settings: Any) -> None:
    settings(iterations=3, source_steps=2 * STEPS)
    run = Run(NAME).train()
    data = run.adapter.round.dataset
    told = [entry["iteration"] for entry in data.card["iterations"]]
    assert told == [1, 2]
    assert [entry["target"]["steps"] for entry in data.card["iterations"]] == [20, 40]
    assert run.meters["source"].count == 2 * STEPS
    rows = run.adapter.agent.offline.sample(np.arange(len(data)))
    reward, _ = run.problem.target.relabel(data.obs, data.action, data.next_obs)
    assert len(run.adapter.agent.offline) == len(data)
    assert np.array_equal(rows.reward.numpy(), reward)
    assert not np.array_equal(data.reward_source, reward)


def test_the_target_rows_that_refine_the_model_are_those_that_were_met(settings: Any, monkeypatch: Any) -> None:
    seen, init = [], DataIteration.__init__

    def watching(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(args[6])
        init(self, *args, **kwargs)

    monkeypatch.setattr(DataIteration, "__init__", watching)
    run = Run(NAME).train()
    (rows,) = seen
    met = run.adapter.agent.online.sample(np.arange(30))
    assert np.array_equal(rows.obs, met.obs.numpy())
    assert np.array_equal(rows.next_obs, met.next_obs.numpy())
    assert np.array_equal(rows.action, met.action.numpy())
    assert np.flatnonzero(rows.truncated).tolist() == [14, 29]


def test_its_metrics_tell_of_every_iteration(settings: Any) -> None:
    run = Run(NAME).train()
    first, last = run.metrics[0], run.metrics[-1]
    built, entry = BUILD()[0], run.adapter.round.dataset.card["iterations"][0]
    assert (first["iteration"], last["iteration"], last["refused_iterations"]) == (1, 2, 0)
    assert first["acceptance"] == pytest.approx(built.card["counts"]["acceptance"])
    assert last["acceptance"] == pytest.approx(entry["counts"]["acceptance"])
    assert first["kept"] == 1
    assert last["kept"] == pytest.approx(entry["rescored"]["kept"] / entry["rescored"]["trajectories"])
    assert first["offline_uncertainty"] == pytest.approx(built.uncertainty.mean())
    assert last["offline_uncertainty"] == pytest.approx(run.adapter.round.dataset.uncertainty.mean())
    assert first["model_error"] != last["model_error"] == entry["model_report"]["ensemble_mse"]
    assert (first["model_updates"], last["model_updates"]) == (0, entry["model_report"]["steps"])
    assert (first["offline_rows"], last["offline_rows"]) == (len(built), len(run.adapter.round.dataset))


def test_stopped_in_every_kind_of_tick_of_three_iterations_it_ends_with_the_same_bytes(settings: Any) -> None:
    settings(iterations=3, source_steps=2 * STEPS)
    stages: list[tuple[int, int, int]] = []

    def note(run: Run) -> None:
        live = run.adapter._live
        stages.append((run.ticks, run.adapter.phase, -1 if live is None else live.state()["done"]))

    whole = Run(NAME).train(in_tick=note)
    expected = whole.state()
    last = {(phase, stage): tick for tick, phase, stage in stages}
    assert {stage for phase, stage in last if phase == 2} >= {-1, 0, 1, 2, 3, 4}
    online_again = next(tick for tick, phase, stage in stages if (phase, stage) == (3, -1))
    for tick in (last[1, 2], last[2, 0], last[2, 3], last[2, 5], online_again):
        stopped = Run(NAME)
        with pytest.raises(Stopped):
            stopped.train(stop_at=tick)
        assert Run(NAME).restore(stopped.state()).train().state() == expected, stages[tick - 1]


@pytest.mark.parametrize("error", [GateError("a gap"), AcceptanceError("too few")])
def test_a_refused_iteration_keeps_the_data_charges_its_steps_and_is_counted(
    error: Exception, settings: Any, monkeypatch: Any
) -> None:
    settings(iterations=3, source_steps=2 * STEPS)
    run_iteration = DataIteration.run

    def refusing_the_first(self: DataIteration, tick: Any) -> Any:
        after = run_iteration(self, tick)
        if "iteration 1 fit" in self.stage_names:
            raise error
        return after

    monkeypatch.setattr(DataIteration, "run", refusing_the_first)
    run = Run(NAME).train()
    middle = next(metrics for metrics in run.metrics if metrics["refused_iterations"] == 1)
    assert middle["offline_rows"] == len(BUILD()[0])
    assert middle["model_updates"] > 0
    assert run.metrics[-1]["refused_iterations"] == 1
    assert [entry["iteration"] for entry in run.adapter.round.dataset.card["iterations"]] == [2]
    assert run.meters["source"].count == 2 * STEPS
    assert run.meters["target"].count == small.BUDGETS.target_steps


def test_a_refined_model_that_fails_the_gate_does_not_end_the_run(monkeypatch: Any) -> None:
    knowledge = BUILD()[1]
    strict = dataclasses.replace(knowledge, config=dataclasses.replace(knowledge.config, gate_tolerance=0.0))
    monkeypatch.setattr(small, "knowledge", lambda: strict)
    run = Run(NAME).train()
    assert run.metrics[-1]["refused_iterations"] == 1
    assert run.adapter.round.index == 0
    assert len(run.adapter.agent.offline) == len(BUILD()[0])
    assert run.meters["source"].count == STEPS
    assert run.meters["target"].count == small.BUDGETS.target_steps


def test_another_error_is_not_taken_for_a_refusal(monkeypatch: Any) -> None:
    def broken(self: DataIteration, tick: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(DataIteration, "run", broken)
    with pytest.raises(RuntimeError, match="broken"):
        Run(NAME).train()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source_steps": STEPS - 1}, f"can take {STEPS} source steps and the budget holds {STEPS - 1}"),
        ({"iterations": 61, "source_steps": 60 * STEPS}, "61 iterations cannot share 60 target steps"),
    ],
)
def test_budgets_that_do_not_suffice_are_refused_before_any_work(changes: dict, sentence: str, settings: Any) -> None:
    settings(**changes)
    with pytest.raises(InputError, match=sentence):
        Run(NAME)


def test_it_needs_the_knowledge_and_the_card_of_a_dataset_made_here() -> None:
    run = Run(NAME)
    streams, config = Streams(0), IteratedConfig(iterations=2)
    bare = dataclasses.replace(run.problem, dataset=DATASET, budgets=Budgets(60, 0, STEPS))
    with pytest.raises(InputError, match="card of its making"):
        IteratedWOMBET(bare, config, streams, "cpu")
    with pytest.raises(InputError, match="generated here"):
        IteratedWOMBET(dataclasses.replace(run.problem, knowledge=None), config, streams, "cpu")
    with pytest.raises(InputError, match="iterations is 0"):
        IteratedConfig(iterations=0)
    assert "refused" in " ".join(method(NAME).capabilities.deviations)
