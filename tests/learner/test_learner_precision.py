"""Updates with wide products in bfloat16: near the float32 ones, reproducible, and refused without the hardware."""

import pytest
import torch

import wombet.learner
from wombet.ensemble_network import has_bfloat16_unit
from wombet.errors import InputError
from wombet.learner import LearnerConfig
from wombet.serialization import dumps, loads

needs_unit = pytest.mark.skipif(not has_bfloat16_unit("cpu"), reason="this processor has no bfloat16 unit")
KINDS = [{}, {"n_critics": 4, "layer_norm": True, "actor_aggregate": "mean"}]


def pair(make_learner, settings):
    """Return learners of equal parameters, in float32 and with wide products in bfloat16."""
    return [
        make_learner(dtype=torch.float32, hidden_width=64, precision=precision, **settings)
        for precision in ("float32", "bfloat16")
    ]


@needs_unit
@pytest.mark.parametrize("settings", KINDS)
def test_gradients_differ_from_float32_by_the_rounding_of_bfloat16_alone(settings, make_learner, make_batch):
    batch = make_batch(n=256, dtype=torch.float32)
    exact, rounded = pair(make_learner, settings)
    noise = torch.randn(3, 256, generator=torch.Generator().manual_seed(2))
    for learner in (exact, rounded):
        learner.critic_gradient(batch, noise)
        learner.actor_gradient(batch, noise)
    for name in ("_critic_gradient", "_actor_gradient"):
        for view in getattr(exact, name).views:
            wanted, found = (getattr(learner, name).views[view] for learner in (exact, rounded))
            error = float((wanted - found).norm() / wanted.norm())
            assert error < 0.06, (name, view)
    wanted, found = (learner._critic_gradient.views["weight2"] for learner in (exact, rounded))
    assert not torch.equal(wanted, found)


@needs_unit
@pytest.mark.parametrize("settings", KINDS)
def test_parameters_stay_in_float32_and_a_restored_learner_goes_on_as_if_never_stopped(
    settings, make_learner, make_batch
):
    _, learner = pair(make_learner, settings)
    _, other = pair(make_learner, settings)
    for step in range(6):
        if step == 3:
            other.restore(loads(dumps(learner.state())))
        for one in (learner, other) if step >= 3 else (learner,):
            one.update([make_batch(seed=step, dtype=torch.float32)])
    assert dumps(learner.state()) == dumps(other.state())
    assert learner.critics.vector.dtype == torch.float32


@needs_unit
def test_actions_and_reported_values_are_those_of_float32(make_learner, make_batch):
    batch = make_batch(dtype=torch.float32)
    exact, rounded = pair(make_learner, KINDS[1])
    assert torch.equal(exact.act(batch.obs), rounded.act(batch.obs))
    assert torch.equal(exact.values(batch.obs, batch.action), rounded.values(batch.obs, batch.action))


def test_it_is_refused_in_one_sentence_where_the_hardware_lacks_it(make_learner, monkeypatch):
    monkeypatch.setattr(wombet.learner, "has_bfloat16_unit", lambda device: False)
    with pytest.raises(InputError, match=r'no bfloat16 unit .* use "float32"'):
        make_learner(precision="bfloat16")
    make_learner(precision="float32")


def test_an_unknown_precision_is_refused_by_name():
    with pytest.raises(InputError, match="precision is 'float16'; it must be one of float32, bfloat16"):
        LearnerConfig(precision="float16")  # type: ignore[arg-type]
