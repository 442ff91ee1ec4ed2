"""Plans in bfloat16 rank sequences as float32 does, and go on being exact copies of themselves."""

import numpy as np
import pytest
import torch
from known_systems import PointTask

from wombet.ensemble_network import has_bfloat16_unit
from wombet.model_report import rank_correlation
from wombet.world_model import WorldModel, WorldModelConfig

pytestmark = pytest.mark.skipif(not has_bfloat16_unit("cpu"), reason="this processor has no avx512_bf16")


@pytest.fixture(scope="module")
def models():
    """The same pendulum-like system learnt twice, to be evaluated in each precision."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (2000, 2)).astype(np.float32)
    action = rng.uniform(-1, 1, (2000, 2)).astype(np.float32)
    speed = obs[:, 1:] + 0.2 * action[:, :1] - 0.2 * np.sin(3 * obs[:, :1])
    next_obs = np.concatenate([obs[:, :1] + 0.2 * speed, speed], 1).astype(np.float32)
    found = {}
    for dtype in ("float32", "bfloat16"):
        settings = {"n_members": 5, "n_elites": 5, "hidden_width": 64, "max_steps": 400, "min_steps": 0}
        config = WorldModelConfig(**settings, inference_dtype=dtype)
        found[dtype] = WorldModel(2, 2, config, torch.Generator().manual_seed(0))
        found[dtype].fit(obs, action, next_obs, np.arange(2000) // 50, np.random.default_rng(1))
    return found


def task():
    return PointTask(lambda obs, action, next_obs: 1 - (next_obs[..., 0] - 0.4).abs() - 0.1 * action.square().mean(-1))


@pytest.mark.parametrize("propagation", ["mean", "tsinf"])
def test_candidates_are_ranked_alike(make_planner, models, propagation):
    values = []
    sequences = torch.rand(3, 300, 15, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = torch.tensor([[0.0, 0.0], [0.5, -0.5], [-0.8, 0.3]])
    for model in models.values():
        planner = make_planner(model, task(), penalty=1.0, horizon=15, propagation=propagation)
        planner.reset(3)
        values.append(planner.evaluate(start, sequences))
    assert not torch.equal(*values)
    assert all(value.dtype == torch.float32 for value in values)
    for exact, rounded in zip(*values, strict=True):
        correlation = rank_correlation(exact, rounded)
        assert correlation is not None
        assert correlation > 0.99


def test_a_plan_in_bfloat16_is_repeated_byte_for_byte_and_as_good(make_planner, models):
    start = torch.zeros(2, 2)
    plans = []
    for dtype in ("bfloat16", "bfloat16", "float32"):
        planner = make_planner(models[dtype], task(), horizon=8, replan_interval=8)
        planner.reset(2)
        plans.append(planner.plan(start))
    assert torch.equal(plans[0], plans[1])
    judge = make_planner(models["float32"], task(), horizon=8)
    judge.reset(2)
    rounded, exact = judge.evaluate(start, torch.stack([plans[0], plans[2]], 1)).unbind(1)
    assert (rounded > exact - 0.05 * exact.abs()).all()
