"""The lower bound of (3)-(5) on a linear system, where it holds by theorem and exactly as far as the theorem says."""

import numpy as np
import pytest
import torch

from wombet.errors import InputError
from wombet.learner import ActorCritic, LearnerConfig
from wombet.theory import lipschitz_returns, lipschitz_value, lower_bound

DECAY, WRONG, DISCOUNT, STEPS = 0.8, 0.9, 0.9, 400
LIPSCHITZ = 1 / (1 - DISCOUNT * DECAY)
"""Of the value V(s) = s / (1 - discount * decay) of s' = decay * s with reward s."""
ENOUGH = DISCOUNT * LIPSCHITZ
"""The penalty for which (4) promises the bound."""


def trajectories(wrong=WRONG, n=30, seed=0):
    """Paired rewards of the system and of a model of it, and the true one-step distance of the model where it went."""
    starts = np.random.default_rng(seed).uniform(0.5, 2, n)[:, None]
    real, imagined = starts * DECAY ** np.arange(STEPS), starts * wrong ** np.arange(STEPS)
    return real, imagined, np.abs(wrong - DECAY) * np.abs(imagined)


def test_bound_of_an_optimistic_model_is_tight_at_the_penalty_of_the_theory():
    below, exact, above = lower_bound(*trajectories(), [0.99 * ENOUGH, ENOUGH, 2 * ENOUGH], DISCOUNT, STEPS)
    assert (below["share"], exact["share"], above["share"]) == (0.0, 1.0, 1.0)
    assert exact["mean_slack"] == pytest.approx(0.0, abs=1e-9)
    assert above["mean_slack"] == pytest.approx(above["model_return"] - above["real_return"])
    assert exact["lipschitz"] == pytest.approx(LIPSCHITZ)


def test_bound_holds_whatever_the_model_gets_wrong():
    for wrong in np.linspace(-0.95, 0.99, 25):
        assert lower_bound(*trajectories(wrong), [ENOUGH], DISCOUNT, STEPS)[0]["share"] == 1.0


def test_returns_are_those_of_the_geometric_series():
    real, imagined, uncertainty = trajectories(n=1)
    (found,) = lower_bound(real, imagined, uncertainty, [0.5], DISCOUNT, STEPS)
    start = real[0, 0]
    assert found["real_return"] == pytest.approx(start / (1 - DISCOUNT * DECAY))
    assert found["model_return"] == pytest.approx(start / (1 - DISCOUNT * WRONG))
    unsure = 0.1 * start / (1 - DISCOUNT * WRONG)
    assert found["penalised_return"] == pytest.approx(found["model_return"] - 0.5 * unsure)
    assert found["mean_slack"] == pytest.approx(found["real_return"] - found["penalised_return"])


def test_share_grows_with_the_penalty_and_so_does_the_slack():
    real, imagined, uncertainty = trajectories()
    noise = np.random.default_rng(0).normal(0, 0.5, real.shape)
    found = lower_bound(real + noise, imagined, uncertainty, [0, 0.5, 1, 2, 4, 16], DISCOUNT, STEPS)
    shares, slacks = [row["share"] for row in found], [row["mean_slack"] for row in found]
    assert shares == sorted(shares)
    assert 0 < shares[2] < 1
    assert shares[-1] == 1
    assert np.diff(slacks).min() > 0
    assert {row["real_return"] for row in found} == {found[0]["real_return"]}
    low, high = found[2]["interval"]
    assert low < shares[2] < high


def test_trajectories_planned_anew_per_penalty_say_what_it_costs():
    parts = [np.stack(pair) for pair in zip(trajectories(0.9), trajectories(0.7, seed=1), strict=True)]
    parts[0][1] /= 2
    both = lower_bound(*parts, [1.0, 3.0], DISCOUNT, STEPS)
    for i, penalty in enumerate((1.0, 3.0)):
        assert both[i] == lower_bound(*(part[i] for part in parts), [penalty], DISCOUNT, STEPS)[0]
    assert both[1]["real_return"] < both[0]["real_return"]


def test_nothing_counts_after_an_end_or_the_horizon():
    real, imagined, uncertainty = trajectories(n=2)
    steps = np.array([3, 5])
    cut = [np.where(np.arange(STEPS) < steps[:, None], part, 0) for part in (real, imagined, uncertainty)]
    for part in (real, imagined, uncertainty):
        part[0, 3:] = np.nan
        part[1, 5:] = 1e9
    found = lower_bound(real, imagined, uncertainty, [1.0], DISCOUNT, STEPS, steps, steps)
    assert found == lower_bound(*cut, [1.0], DISCOUNT, STEPS)
    assert lower_bound(*cut, [1.0], DISCOUNT, 3)[0]["mean_slack"] != pytest.approx(found[0]["mean_slack"])
    assert lower_bound(*cut, [1.0], DISCOUNT, 5)[0]["mean_slack"] == pytest.approx(found[0]["mean_slack"])


@pytest.mark.parametrize(
    "change",
    [
        {"penalties": []},
        {"penalties": [-1.0]},
        {"penalties": [np.inf]},
        {"discount": 1.5},
        {"horizon": 0},
        {"real_rewards": np.zeros((3, 4))},
        {"imagined_rewards": np.full((5, 4), np.nan)},
        {"real_rewards": np.zeros(4)},
        {"real_steps": np.ones(3)},
    ],
)
def test_bad_input_is_named(change):
    matrix = np.ones((5, 4))
    right = {
        "real_rewards": matrix,
        "imagined_rewards": matrix,
        "imagined_uncertainty": matrix,
        "penalties": [1.0],
        "discount": 0.9,
        "horizon": 4,
    }
    assert lower_bound(**right)
    with pytest.raises(InputError, match="must"):
        lower_bound(**{**right, **change})


def test_steepness_of_a_linear_value_is_its_gradient_in_units_of_the_distance():
    weights, scale = np.array([3.0, -1.0, 0.5]), np.array([0.5, 2.0, 1.0])
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(50, 3))
    found = lipschitz_value(lambda points: points @ weights, obs, scale)
    assert found["max"] == pytest.approx(found["median"]) == pytest.approx(np.sqrt(3) * np.linalg.norm(weights * scale))
    steepest = weights * scale**2
    distance = np.sqrt(np.square(steepest / scale).mean())
    assert weights @ steepest / distance == pytest.approx(found["max"])
    assert found["label"] == "estimate"


def test_steepness_of_a_curved_value_varies_over_rows():
    obs = np.linspace(0, np.pi, 201)[:, None]
    found = lipschitz_value(lambda points: 4 * np.sin(points[:, 0]), obs, [1.0])
    assert found["max"] == pytest.approx(4, rel=1e-3)
    assert found["median"] == pytest.approx(4 * np.cos(np.pi / 4), rel=1e-2)


def test_steepness_of_a_critic_is_that_of_its_gradient():
    torch.set_num_threads(1)
    learner = ActorCritic(3, 2, LearnerConfig(hidden_width=32), torch.Generator().manual_seed(0))
    scale = np.array([0.5, 2.0, 1.0])
    obs = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    gradient = torch.autograd.functional.jacobian(lambda points: learner.value(points).sum(), obs).double().numpy()
    expected = np.sqrt(3 * np.square(gradient * scale).sum(1))
    found = lipschitz_value(
        lambda points: learner.value(torch.tensor(points).float()).numpy(), obs.numpy(), scale, 1e-3
    )
    # A piecewise linear critic has kinks, at which a difference is between two gradients.
    assert found["median"] == pytest.approx(np.median(expected), rel=0.02)
    assert found["mean"] == pytest.approx(expected.mean(), rel=0.02)


def test_returns_of_the_linear_system_give_its_constant():
    starts = np.random.default_rng(0).normal(size=(20, 1))
    found = lipschitz_returns(np.vstack([starts, starts[:1]]), np.append(starts, starts[0]) * LIPSCHITZ, [2.0])
    assert found["median"] == pytest.approx(2 * LIPSCHITZ) == pytest.approx(found["max"])
    assert found["pairs"] == 21 * 20 // 2 - 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: lipschitz_value(lambda points: points, np.ones((4, 1)), [1.0]),
        lambda: lipschitz_value(lambda points: np.nan * points[:, 0], np.ones((4, 1)), [1.0]),
        lambda: lipschitz_value(lambda points: points[:, 0], np.ones(4), [1.0]),
        lambda: lipschitz_returns(np.ones((4, 1)), np.ones(3), [1.0]),
        lambda: lipschitz_returns(np.ones((4, 1)), np.ones(4), [1.0]),
        lambda: lipschitz_returns(np.eye(4), np.ones(4), [1.0]),
    ],
)
def test_bad_input_to_a_slope_is_named(call):
    with pytest.raises(InputError, match=r"must|need"):
        call()
