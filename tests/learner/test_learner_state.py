"""Equal inputs give equal bytes, a restored learner goes on as if never stopped, and bad settings are refused."""

import dataclasses

import pytest
import torch

from wombet.errors import InputError
from wombet.learner import ActorCritic, LearnerConfig
from wombet.serialization import dumps, loads

KINDS = [
    {},
    {"n_critics": 4, "target_subset": 2, "layer_norm": True, "actor_aggregate": "mean"},
    {"n_critics": 4, "target_subset": 2, "actor_aggregate": "subset_min"},
]


def train(learner, make_batch, steps: range) -> None:
    for step in steps:
        learner.update([make_batch(seed=10 * step + i, dtype=torch.float32) for i in range(2)])


@pytest.mark.parametrize("settings", KINDS)
def test_restored_mid_way_equals_never_stopped(settings, make_learner, make_batch):
    undisturbed = make_learner(dtype=torch.float32, **settings)
    train(undisturbed, make_batch, range(20))
    first = make_learner(dtype=torch.float32, **settings)
    train(first, make_batch, range(9))
    saved = dumps(first.state())
    second = make_learner(dtype=torch.float32, seed=77, **settings)
    second.restore(loads(saved))
    train(second, make_batch, range(9, 20))
    assert dumps(second.state()) == dumps(undisturbed.state())
    assert dumps(undisturbed.state()) != saved


@pytest.mark.parametrize("settings", KINDS)
def test_same_inputs_give_the_same_bytes_whatever_the_global_generator(settings, make_learner, make_batch):
    states = []
    for _ in range(2):
        torch.rand(3)  # moves the global generator
        learner = make_learner(dtype=torch.float32, **settings)
        train(learner, make_batch, range(5))
        states.append(dumps(learner.state()))
    assert states[0] == states[1]
    other = make_learner(dtype=torch.float32, seed=1, **settings)
    train(other, make_batch, range(5))
    assert dumps(other.state()) != states[0]


def test_state_is_a_copy(make_learner, make_batch):
    learner = make_learner(dtype=torch.float32)
    saved = learner.state()
    before = dumps(saved)
    train(learner, make_batch, range(2))
    assert dumps(saved) == before


def test_state_of_another_size_is_refused_and_changes_nothing(make_learner):
    learner = make_learner(n_critics=2)
    before = dumps(learner.state())
    with pytest.raises(InputError, match="same configuration"):
        learner.restore(make_learner(n_critics=3).state())
    assert dumps(learner.state()) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_width", 0),
        ("n_critics", 0),
        ("target_subset", 0),
        ("target_subset", 3),
        ("batch_size", 0),
        ("utd", 0),
        ("discount", 1.1),
        ("discount", float("nan")),
        ("tau", 0.0),
        ("actor_lr", -1e-3),
        ("critic_lr", float("inf")),
        ("temperature_lr", float("nan")),
        ("initial_temperature", 0.0),
        ("target_entropy_scale", float("inf")),
        ("actor_aggregate", "max"),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        LearnerConfig(**{field: value})


def test_config_is_immutable_plain_data():
    config = LearnerConfig(n_critics=10, layer_norm=True)
    assert LearnerConfig(**dataclasses.asdict(config)) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.utd = 2  # type: ignore[misc]


def test_bad_calls_are_refused(make_learner):
    learner = make_learner()
    with pytest.raises(InputError, match="minibatch"):
        learner.update([])
    with pytest.raises(InputError, match=r"\(rows, 5\)"):
        learner.act(torch.zeros(2, 4, dtype=torch.float64))
    with pytest.raises(InputError, match="obs_dim is 0"):
        ActorCritic(0, 1, LearnerConfig(), torch.Generator())
