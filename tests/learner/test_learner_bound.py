"""LayerNorm bounds a critic whatever its input: |Q| <= |w| (sqrt(d) max|gain| + |shift|) + |b|."""

import pytest
import torch

from wombet.errors import InputError
from wombet.networks import critic_forward


def bound(views, i: int) -> float:
    """Return the bound of critic i from the parameters of its last hidden layer and head."""
    width = views["weight3"].shape[2]
    activations = width**0.5 * views["gain2"][i].abs().max() + views["shift2"][i].norm()
    return float(views["weight3"][i].norm() * activations + views["bias3"][i].abs().sum())


def test_bound_holds_for_inputs_a_million_times_too_large(make_learner, make_batch):
    learner = make_learner(n_critics=5, target_subset=2, layer_norm=True, hidden_width=64, critic_lr=1e-2)
    for step in range(30):  # gains and shifts that are not the initial ones
        learner.update([make_batch(seed=step)])
    views = learner.critics.views
    assert views["gain2"].std() > 0.01
    batch = make_batch(n=500)
    for scale in (1.0, 1e3, 1e6):
        q, _ = critic_forward(views, batch.obs * scale, batch.action * scale)
        assert (q.abs() <= learner.value_bound().unsqueeze(1)).all()
    assert learner.value_bound().tolist() == pytest.approx([bound(views, i) for i in range(5)], rel=1e-12)


def test_bound_is_attained_by_the_worst_weights(make_learner, make_batch):
    """With head weights along the activations and no shift, Q reaches |w| |activations|: the norm is the right one."""
    learner = make_learner(n_critics=2, layer_norm=True, hidden_width=64)
    views = learner.critics.views
    batch = make_batch(n=1)
    _, trunk = critic_forward(views, batch.obs, batch.action)
    activation = trunk.second.output[0, 0]
    views["weight3"][0, 0] = activation
    q = critic_forward(views, batch.obs, batch.action)[0][0]
    expected = activation.norm() ** 2 + views["bias3"][0, 0, 0]
    assert torch.allclose(q, expected)
    assert float(q) > 0.4 * bound(views, 0)


def test_without_layer_norm_there_is_no_bound(make_learner, make_batch):
    learner = make_learner(layer_norm=False, hidden_width=64)
    batch = make_batch(n=100)
    q, _ = critic_forward(learner.critics.views, batch.obs * 1e6, batch.action * 1e6)
    assert q.abs().max() > 1e4
    with pytest.raises(InputError, match="set layer_norm"):
        learner.value_bound()
