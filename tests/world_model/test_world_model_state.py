"""Equal inputs give equal bytes, a stored model is the same model, and wrong input is refused in one sentence."""

import numpy as np
import pytest
import torch

from wombet import serialization
from wombet.errors import InputError
from wombet.files import canonical_json
from wombet.world_model import WorldModel, WorldModelConfig


def stored(model):
    return serialization.dumps(model.state())


def test_equal_seeds_give_equal_bytes_and_others_do_not(make_model, rows):
    def build(weights, data):
        model = make_model(seed=weights)
        model.fit(*rows.arguments(), np.random.default_rng(data))
        return stored(model)

    assert build(0, 0) == build(0, 0)
    assert build(0, 0) != build(1, 0)
    assert build(0, 0) != build(0, 1)


def test_training_leaves_the_global_generators_alone(make_model, rows):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make_model().fit(*rows.arguments(), np.random.default_rng(0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_stored_model_is_the_same_model(fitted, rows):
    data = stored(fitted)
    twin = WorldModel(2, 1, fitted.config, torch.Generator().manual_seed(99))
    assert not twin.fitted
    twin.restore(serialization.loads(data))
    assert stored(twin) == data
    mine, other = fitted.predict(*rows.tensors()), twin.predict(*rows.tensors())
    assert torch.equal(mine.mean, other.mean)
    assert torch.equal(mine.std, other.std)
    assert twin.report == fitted.report
    assert np.array_equal(twin.holdout_episodes, fitted.holdout_episodes)


def test_a_stored_model_goes_on_like_the_one_it_was(make_model, rows):
    model = make_model()
    model.fit(*rows.of(range(20)).arguments(), np.random.default_rng(0))
    twin = make_model(seed=9)
    twin.restore(serialization.loads(stored(model)))
    for one in (model, twin):
        one.fit(*rows.arguments(), np.random.default_rng(1))
    assert stored(model) == stored(twin)


def test_a_state_is_a_copy(make_model, rows):
    model = make_model()
    model.fit(*rows.arguments(), np.random.default_rng(0))
    state = model.state()
    before = serialization.dumps(state)
    model.fit(*rows.arguments(), np.random.default_rng(1))
    assert serialization.dumps(state) == before


def test_the_report_is_plain_json(fitted):
    assert canonical_json(fitted.report)
    assert len(fitted.report["holdout_nll"]) == 4


def test_a_state_of_another_size_is_refused(fitted, make_model):
    with pytest.raises(InputError, match="shapes"):
        make_model(hidden_width=16).restore(fitted.state())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_elites": 8}, "n_elites is 8; it must be at most n_members"),
        ({"max_steps": 10}, "min_steps"),
        ({"weight_decay": (1e-4, 1e-4)}, "one number, or 5"),
        ({"holdout_fraction": 1.0}, "holdout_fraction"),
        ({"uncertainty": "elite"}, "one of elite_std"),
        ({"logvar_bounds": (1.0, 0.0)}, "logvar_bounds"),
        ({"patience": 0}, "patience"),
        ({"likelihood_beta": 1.5}, "likelihood_beta is 1.5; it must be from 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        WorldModelConfig(**settings)


def test_data_that_cannot_be_fitted_is_refused(make_model, rows):
    model, rng = make_model(), np.random.default_rng(0)
    with pytest.raises(InputError, match="at least 2"):
        model.fit(*rows.of([0]).arguments(), rng)
    with pytest.raises(InputError, match="shape of action"):
        model.fit(rows.obs, rows.obs, rows.next_obs, rows.episode_id, rng)
    with pytest.raises(InputError, match="obs is not finite"):
        model.fit(np.full_like(rows.obs, np.nan), rows.action, rows.next_obs, rows.episode_id, rng)
    with pytest.raises(InputError, match="interleaved"):
        model.fit(rows.obs, rows.action, rows.next_obs, np.arange(3000) % 60, rng)
    with pytest.raises(InputError, match="angle_indices"):
        make_model(n_rates=1, angle_indices=(0,))
