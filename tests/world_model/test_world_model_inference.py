"""Predictions are those of the networks, however many rows there are and in whatever precision they are made."""

import numpy as np
import pytest
import torch

from wombet import ensemble_network
from wombet.ensemble_network import BLOCK_ROWS, FEW_ROWS, EnsembleNetwork, has_bfloat16_unit, infer
from wombet.errors import InputError
from wombet.world_model import WorldModelConfig, elite_std

needs_unit = pytest.mark.skipif(not has_bfloat16_unit("cpu"), reason="this processor has no avx512_bf16")

ROWS = [1, FEW_ROWS - 1, FEW_ROWS, BLOCK_ROWS, 2 * BLOCK_ROWS + 7]


def network():
    made = EnsembleNetwork((6, 32, 32, 8), 5, (-10.0, 0.5), torch.Generator().manual_seed(0))
    made.layers = [(weight, torch.full_like(bias, 0.1)) for weight, bias in made.layers]
    return made


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("by_columns", [True, False])
def test_inference_equals_one_network_after_another(n, shared, by_columns):
    ensemble, members = network(), torch.tensor([3, 0, 4])
    inputs = draw(n, 6) if shared else draw(3, n, 6)
    given = inputs.mT.contiguous().mT if by_columns else inputs
    output = infer(ensemble.select(members, mean_only=False), given)
    means = infer(ensemble.select(members, mean_only=True), given)
    assert output.shape == (3, n, 8)
    for place, member in enumerate(members):
        hidden = (inputs if shared else inputs[place]).double()
        for depth, (weight, bias) in enumerate(ensemble.layers):
            hidden = hidden @ weight[member].double() + bias[member].double()
            hidden = hidden if depth == 2 else hidden * hidden.sigmoid()
        torch.testing.assert_close(output[place].double(), hidden, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(means[place].double(), hidden[:, :4], rtol=1e-4, atol=1e-6)


def test_the_same_rows_give_the_same_bytes_again():
    layers, inputs = network().select(torch.arange(5), mean_only=True), draw(3000, 6)
    assert torch.equal(infer(layers, inputs), infer(layers, inputs))


def test_inference_leaves_its_inputs_alone(fitted, rows):
    obs, action = rows.tensors()
    before = obs.clone(), action.clone()
    fitted.step(obs, action)
    assert torch.equal(obs, before[0])
    assert torch.equal(action, before[1])


@pytest.mark.parametrize("by_columns", [True, False])
def test_elite_std_is_a_root_mean_variance_in_any_layout(by_columns):
    means = draw(5, 50, 3)
    expected = np.sqrt(means.double().numpy().var(0).mean(-1))
    np.testing.assert_allclose(elite_std(means.mT.contiguous().mT if by_columns else means), expected, rtol=1e-5)


@needs_unit
def test_bfloat16_is_used_and_rounds_no_more_than_hidden_activations(make_model, rows):
    models = {}
    for dtype in ("float32", "bfloat16"):
        models[dtype] = make_model(inference_dtype=dtype, max_steps=400)
        models[dtype].fit(*rows.arguments(), np.random.default_rng(1))
    exact, rounded = models["float32"], models["bfloat16"]
    obs, action = rows.tensors()
    (mean, uncertainty), (coarse, coarse_uncertainty) = exact.step(obs, action), rounded.step(obs, action)
    assert coarse.dtype == coarse_uncertainty.dtype == rounded.predict(obs, action).std.dtype == torch.float32
    change = (coarse - mean).abs() / mean.flatten(0, 1).std(0)
    assert 0 < float(change.mean()) < 0.003
    assert float(change.max()) < 0.03
    assert float((coarse_uncertainty - uncertainty).abs().mean()) < 0.003


@needs_unit
def test_precision_changes_neither_training_nor_a_single_weight(make_model, rows):
    exact, rounded = (make_model(inference_dtype=dtype) for dtype in ("float32", "bfloat16"))
    for model in (exact, rounded):
        model.fit(*rows.arguments(), np.random.default_rng(1))
    pairs = zip(exact.state()["network"]["tensors"], rounded.state()["network"]["tensors"], strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert exact.report["holdout_mse"] == rounded.report["holdout_mse"]


def test_bfloat16_without_a_unit_is_refused(make_model, monkeypatch):
    monkeypatch.setattr(ensemble_network, "has_bfloat16_unit", lambda device: False)
    with pytest.raises(InputError, match=r"inference_dtype is bfloat16.*cpu has no bfloat16 unit.*float32"):
        make_model(inference_dtype="bfloat16")
    make_model(inference_dtype="float32")


def test_a_recipe_with_bfloat16_can_be_read_where_it_cannot_be_run(monkeypatch):
    monkeypatch.setattr(ensemble_network, "has_bfloat16_unit", lambda device: False)
    assert WorldModelConfig(inference_dtype="bfloat16") != WorldModelConfig()


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="one of float32, bfloat16"):
        WorldModelConfig(inference_dtype="float16")
