"""The online half as a whole: which rows are penalised, what is recorded, and that it can be stopped anywhere."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from suites.tasks import make_task
from tests.contract.harness import DATASET, KNOWLEDGE
from wombet.agent import AgentConfig, TransferAgent
from wombet.errors import InputError
from wombet.generation_tools import Tools
from wombet.interaction import Meter, MeteredEnv
from wombet.mixing import SIGNALS
from wombet.serialization import dumps, loads
from wombet.streams import Streams
from wombet.world_model import WorldModel

TASK = make_task("reacher", "close", horizon=15)
SMALL = AgentConfig(
    hidden_width=16, batch_size=8, layer_norm=True, random_steps=10, mixing_interval=5, calibration_updates=20
)
STEPS = 60


class Stopped(Exception):
    """The run was stopped in a tick."""


def no_environment(name: str) -> MeteredEnv:
    raise AssertionError(f"the source environment {name} was opened")


@cache
def model() -> WorldModel:
    """Return the model that a tiny dataset was generated with."""
    knowledge = KNOWLEDGE()
    tools = Tools(make_task("reacher", horizon=15), no_environment, knowledge.config, Streams(7))
    return tools.model(knowledge.model_state)


class Run:
    """An agent and its environment."""

    def __init__(self, config: AgentConfig, **given: Any) -> None:
        given = {"dataset": DATASET, "world_model": model(), **given}
        self.agent = TransferAgent(TASK.obs_dim, TASK.action_dim, config, Streams(3).child("agent"), **given)
        self.env = MeteredEnv(TASK.make_env(), Meter(STEPS, "target"), Streams(3).child("resets").integer)
        self.metrics: dict[int, dict[str, float]] = {}

    def train(self, stop_at: int | None = None) -> "Run":
        def tick(**_: Any) -> None:
            self.metrics[self.agent.steps] = self.agent.metrics()
            if self.agent.steps == stop_at:
                raise Stopped

        self.agent.finetune(self.env, STEPS, tick)
        return self

    def state(self) -> bytes:
        return dumps({"agent": self.agent.state(), "env": self.env.state(), "steps": self.env.meter.count})

    def restore(self, data: bytes) -> "Run":
        state = loads(data)
        self.agent.restore(state["agent"])
        self.env.restore(state["env"])
        self.env.meter.count = state["steps"]
        return self


def penalties(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored penalties of the offline and of the online rows."""
    agent = run.agent
    assert agent.offline is not None
    return agent.offline.last(10_000).penalty.numpy(), agent.online.last(10_000).penalty.numpy()


def expected_scale(c: float = 0.1) -> float:
    """lambda_Q = c mean|r| / q95(u) over the dataset, eq. (7)."""
    assert DATASET.reward_target is not None
    return c * np.abs(DATASET.reward_target).mean() / np.quantile(DATASET.uncertainty, 0.95)


def test_offline_rows_alone_are_penalised_by_default() -> None:
    offline, online = penalties(Run(SMALL).train())
    np.testing.assert_allclose(offline, expected_scale() * DATASET.uncertainty, rtol=1e-5)
    assert (online == 0).all()
    assert len(online) == STEPS


def test_all_rows_are_penalised_by_the_frozen_models_uncertainty_on_the_same_scale() -> None:
    run = Run(replace(SMALL, penalised_rows="all", target_penalty=0.3)).train()
    offline, online = penalties(run)
    rows = run.agent.online.last(STEPS)
    np.testing.assert_allclose(offline, expected_scale(0.3) * DATASET.uncertainty, rtol=1e-5)
    uncertainty = model().uncertainty(rows.obs, rows.action).numpy()
    np.testing.assert_allclose(online, expected_scale(0.3) * uncertainty, rtol=1e-3)
    assert (online > 0).all()


def test_no_row_is_penalised_with_none_and_that_equals_a_penalty_of_zero() -> None:
    none, zero = Run(replace(SMALL, penalised_rows="none")).train(), Run(replace(SMALL, target_penalty=0.0)).train()
    assert all((column == 0).all() for column in penalties(none))
    assert none.state() == zero.state()


@pytest.mark.parametrize("missing", ["world_model", "dataset"])
def test_all_rows_need_a_model_and_a_dataset(missing: str) -> None:
    with pytest.raises(InputError, match="needs a dataset and its world model"):
        Run(replace(SMALL, penalised_rows="all"), **{missing: None})
    Run(replace(SMALL, penalised_rows="all", target_penalty=0.0), **{missing: None})


def test_an_unknown_choice_of_rows_is_refused() -> None:
    with pytest.raises(InputError, match="penalised_rows is 'online'; it must be one of offline, all, none"):
        replace(SMALL, penalised_rows="online")  # type: ignore[arg-type]


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("stop_at", [7, 23, 50])
def test_stopped_and_resumed_it_equals_the_run_that_was_never_stopped(signal: str, stop_at: int) -> None:
    config = replace(SMALL, mixing_signal=signal, penalised_rows="all")
    stopped = Run(config)
    with pytest.raises(Stopped):
        stopped.train(stop_at)
    assert Run(config).restore(stopped.state()).train().state() == Run(config).train().state()


def test_signals_change_the_share_and_nothing_else_of_the_randomness() -> None:
    states = {signal: Run(replace(SMALL, mixing_signal=signal)).train() for signal in SIGNALS}
    assert len({run.state() for run in states.values()}) == 3
    assert all(np.isfinite(run.metrics[STEPS]["mixing_signal"]) for run in states.values())
    warm_up = [run.agent.online.last(STEPS).obs[:10].numpy().tobytes() for run in states.values()]
    assert len(set(warm_up)) == 1


@pytest.mark.parametrize("mixing", ["proportional", "integral", "leaky_integral", "fixed", "schedule"])
def test_share_and_signal_are_recorded_in_every_tick(mixing: str) -> None:
    """alpha_t from the first tick; z_t from the first measurement on, for rules that measure."""
    run = Run(replace(SMALL, mixing=mixing)).train()
    assert all(0 <= metrics["offline_fraction"] <= 1 for metrics in run.metrics.values())
    measured = [step for step, metrics in run.metrics.items() if "mixing_signal" in metrics]
    adaptive = mixing not in ("fixed", "schedule")
    assert measured == (list(range(15, STEPS + 1)) if adaptive else [])
    changes = {metrics.get("mixing_signal") for metrics in run.metrics.values()} - {None}
    assert len(changes) == (10 if adaptive else 0)


def test_the_layer_norm_bound_is_recorded_and_holds() -> None:
    run = Run(SMALL).train()
    last = run.metrics[STEPS]
    recent = run.agent.online.last(STEPS)
    q = run.agent.learner.values(recent.obs, recent.action)
    bound = run.agent.learner.value_bound()
    assert last["q_bound"] == pytest.approx(float(bound.min()))
    assert last["q_bound_rate"] == pytest.approx(float((q.abs().amax(1) / bound).max()))
    assert 0 < last["q_bound_rate"] <= 1
    assert "q_bound" not in Run(replace(SMALL, layer_norm=False)).train().metrics[STEPS]


def test_metrics_draw_nothing() -> None:
    watched, plain = Run(SMALL).train(), Run(SMALL)
    plain.agent.finetune(plain.env, STEPS, lambda **_: None)
    assert watched.state() == plain.state()
    assert torch.is_tensor(watched.agent.learner.critics.vector)


def test_the_estimated_return_is_the_mean_of_what_the_critics_say() -> None:
    run = Run(SMALL).train()
    recent = run.agent.online.last(STEPS)
    q = run.agent.learner.values(recent.obs, recent.action)
    estimated = run.agent.estimate_return(recent.obs.numpy(), recent.action.numpy())
    assert np.allclose(estimated, q.mean(0).numpy())
    assert not np.allclose(estimated, q.amin(0).numpy())
