"""What is held out, who is stopped when, who becomes an elite, and what a second fit goes on from."""

import numpy as np
import pytest
import torch
from linear_system import Rows, simulate

from wombet import ensemble_training, serialization, world_model
from wombet.ensemble_network import EnsembleNetwork
from wombet.ensemble_training import STEPS_PER_TICK, bootstrap_batches, decay, likelihood_loss, train
from wombet.world_model import WorldModelConfig


@pytest.fixture
def seen(monkeypatch):
    """The row numbers that each training run got."""
    calls = []

    def spy(network, inputs, targets, train_rows, holdout_rows, config, generator, progress):
        calls.append((train_rows, holdout_rows))
        return train(network, inputs, targets, train_rows, holdout_rows, config, generator, progress)

    monkeypatch.setattr(world_model, "train", spy)
    return calls


def test_held_out_trajectories_are_not_trained_on(make_model, rows, seen):
    model = make_model(max_steps=3)
    report = model.fit(*rows.arguments(), np.random.default_rng(0))
    train_rows, held_rows = seen[0]
    trained, held = set(rows.episode_id[train_rows]), set(rows.episode_id[held_rows])
    assert not trained & held
    assert trained | held == set(range(60))
    assert held == set(model.holdout_episodes)
    assert (report["n_train"], report["n_holdout"]) == (2400, 600)


@pytest.mark.parametrize(("settings", "expected"), [({"holdout_fraction": 0.1}, 300), ({"holdout_max": 120}, 100)])
def test_held_out_rows_are_whole_trajectories_within_both_limits(make_model, rows, settings, expected):
    report = make_model(max_steps=3, **settings).fit(*rows.arguments(), np.random.default_rng(0))
    assert report["n_holdout"] == expected


def test_two_trajectories_are_enough(make_model, rows):
    report = make_model(max_steps=3).fit(*rows.of([3, 9]).arguments(), np.random.default_rng(0))
    assert (report["n_train"], report["n_holdout"]) == (50, 50)


def test_units_are_those_of_the_training_rows_alone(make_model, rows):
    model = make_model(max_steps=3)
    model.fit(*rows.arguments(), np.random.default_rng(0))
    kept = ~np.isin(rows.episode_id, model.holdout_episodes)
    units = model.state()["units"]
    np.testing.assert_allclose(units["input_mean"][:2], rows.obs[kept].mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(units["target_std"], (rows.next_obs - rows.obs)[kept].std(0), rtol=1e-4)


def test_every_member_draws_its_own_resample_of_the_training_rows():
    rows = np.arange(100, 400)
    batches = bootstrap_batches(rows, 3, 100, np.random.default_rng(0))
    epochs = [np.concatenate([next(batches) for _ in range(3)], 1) for _ in range(2)]
    assert set(epochs[0].ravel()) <= set(rows)
    for member in range(3):
        first, second = np.sort(epochs[0][member]), np.sort(epochs[1][member])
        assert np.array_equal(first, second)
        # A resample with replacement holds about 63 % of the rows.
        assert 0.55 < len(np.unique(first)) / 300 < 0.72
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(np.sort(epochs[0][0]), np.sort(epochs[0][1]))


def scripted_training(monkeypatch, script, losses=None, **settings):
    """Train two members whose held-out errors follow a script; returns the result, the network and its snapshots."""
    generator = torch.Generator().manual_seed(0)
    network = EnsembleNetwork([2, 8, 2], 2, (-10.0, 0.5), generator)
    snapshots = []

    def errors(current, inputs, targets):
        snapshots.append(current.copy())
        check = min(len(snapshots), len(script)) - 1
        return torch.tensor(script[check]), torch.tensor(losses[check]) if losses else torch.zeros(2)

    monkeypatch.setattr(ensemble_training, "holdout_scores", errors)
    config = WorldModelConfig(
        n_members=2, n_elites=1, hidden_layers=1, batch_size=8, **{"max_steps": 60, "min_steps": 0, **settings}
    )
    data = torch.randn(40, 2, generator=generator), torch.randn(40, 1, generator=generator)
    fit = train(network, *data, np.arange(30), np.arange(30, 40), config, np.random.default_rng(0))
    return fit, network, snapshots


def test_each_member_ends_with_its_own_best_weights(monkeypatch):
    # A fall of less than one per cent (member 1, last but one check) does not count as better.
    script = [[9.0, 9.0], [5.0, 4.0], [6.0, 3.0], [2.0, 2.99], [7.0, 8.0]]
    fit, network, snapshots = scripted_training(monkeypatch, script, check_interval=5, max_steps=20)
    assert fit.error.tolist() == [2.0, 3.0]
    for tensor, of_first, of_second in zip(
        network.tensors(), snapshots[3].tensors(), snapshots[2].tensors(), strict=True
    ):
        assert torch.equal(tensor[0], of_first[0])
        assert torch.equal(tensor[1], of_second[1])


def test_equally_good_means_are_told_apart_by_their_variances(monkeypatch):
    script = [[9.0, 9.0], [1.0, 1.0], [1.005, 1.005], [1.02, 0.995]]
    losses = [[0.0, 0.0], [-1.0, -1.0], [-2.0, -0.5], [-3.0, -1.5]]
    fit, network, snapshots = scripted_training(monkeypatch, script, losses, check_interval=5, max_steps=15)
    assert fit.error.tolist() == [pytest.approx(1.005), pytest.approx(0.995)]
    assert torch.equal(network.layers[0][0][0], snapshots[2].layers[0][0][0])
    assert torch.equal(network.layers[0][0][1], snapshots[3].layers[0][0][1])


def test_weights_before_training_win_if_nothing_is_better(monkeypatch):
    _, network, snapshots = scripted_training(monkeypatch, [[1.0, 1.0], [2.0, 2.0]], check_interval=5)
    assert all(torch.equal(a, b) for a, b in zip(network.tensors(), snapshots[0].tensors(), strict=True))


@pytest.mark.parametrize(("min_steps", "expected"), [(0, 20), (40, 40), (60, 60)])
def test_training_stops_after_checks_without_progress_but_not_before_min_steps(monkeypatch, min_steps, expected):
    script = [[9.0, 9.0], [5.0, 9.5], [6.0, 10.0]]
    fit, _, _ = scripted_training(monkeypatch, script, check_interval=5, patience=3, min_steps=min_steps)
    assert fit.steps == expected


def test_an_error_that_is_not_a_number_is_never_best(monkeypatch):
    fit, _, _ = scripted_training(monkeypatch, [[3.0, 3.0], [float("nan"), 2.0]], check_interval=5)
    assert fit.error.tolist() == [3.0, 2.0]


def test_learning_rate_falls_in_the_second_half():
    assert [decay(step, 100) for step in (0, 50, 75, 99)] == [1.0, 1.0, 0.5, pytest.approx(0.02)]


def test_elites_are_the_members_of_lowest_held_out_error(make_model, rows):
    model = make_model(n_members=6, n_elites=4, max_steps=60)
    report = model.fit(*rows.arguments(), np.random.default_rng(0))
    order = np.argsort(report["holdout_mse"])
    assert list(model.elites) == order[:4].tolist() == report["elites"]
    assert list(model.elites) != sorted(model.elites)


def test_new_units_do_not_change_what_the_network_says():
    generator = torch.Generator().manual_seed(3)
    network = EnsembleNetwork([3, 16, 16, 4], 5, (-10.0, 0.5), generator)
    old_mean, old_logvar = network(old := torch.randn(20, 3, generator=generator))
    scale, shift = torch.tensor([2.0, 0.1, 1.0]), torch.tensor([0.5, 0.0, -1.0])
    out_scale, out_shift = torch.tensor([3.0, 0.2]), torch.tensor([-1.0, 4.0])
    network.change_units(scale, shift, out_scale, out_shift)
    mean, logvar = network((old - shift) / scale)
    torch.testing.assert_close(mean, old_mean * out_scale + out_shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logvar, old_logvar + 2 * out_scale.log(), rtol=1e-4, atol=1e-5)


def test_a_second_fit_goes_on_from_the_first(make_model, rows):
    model = make_model(hidden_width=64, max_steps=600, min_steps=600)
    model.fit(*rows.of(range(30)).arguments(), np.random.default_rng(0))
    wide = simulate(60, 50, seed=7, scale=2.0)
    both = Rows(*(np.concatenate([a, b]) for a, b in zip(rows.arguments(), wide.arguments(), strict=True)))
    both.episode_id[3000:] += 60
    old = model.state()["units"]
    said = model.predict_standardised(*both.tensors())[0] * old["target_std"] + old["target_mean"]
    report = model.fit(*both.arguments(), np.random.default_rng(1))
    held = np.isin(both.episode_id, model.holdout_episodes)
    error = (said - torch.from_numpy(both.next_obs - both.obs))[:, held] / model.state()["units"]["target_std"]
    before = error.square().mean((1, 2))
    # Inputs beyond ten standard deviations aside, the function that training goes on from is the one it was.
    np.testing.assert_allclose(report["holdout_mse_before"], before, rtol=1e-3)
    assert np.mean(report["holdout_mse"]) < np.mean(report["holdout_mse_before"]) < 0.5


def test_a_new_kind_of_trajectory_is_held_out_too_however_rare(make_model, rows):
    model, rng = make_model(max_steps=3, holdout_max=300), np.random.default_rng(0)
    model.fit(*rows.of(range(50)).arguments(), rng)
    model.fit(*rows.of(range(52)).arguments(), rng)
    assert set(model.holdout_episodes) & {50, 51}


def test_what_was_trained_on_is_never_held_out_later(make_model, rows):
    model, rng = make_model(max_steps=3, holdout_max=300), np.random.default_rng(0)
    trained = set()
    for last in (10, 20, 40, 60):
        model.fit(*rows.of(range(last)).arguments(), rng)
        held = set(model.holdout_episodes)
        assert not held & trained
        assert any(episode >= last / 2 for episode in held), "new episodes are represented"
        assert 0 < 50 * len(held) <= 300
        trained |= set(range(last)) - held


def test_a_fit_without_anything_unseen_starts_anew(make_model, rows):
    model = make_model(hidden_width=64, max_steps=300, min_steps=300)
    model.fit(*rows.of(range(20)).arguments(), np.random.default_rng(0))
    trained = sorted(set(range(20)) - set(model.holdout_episodes))
    report = model.fit(*rows.of(trained).arguments(), np.random.default_rng(0))
    assert min(report["holdout_mse_before"]) > 0.7


def test_a_fit_tells_of_its_progress_and_can_be_stopped(make_model, rows):
    ticks, twin = [], make_model(max_steps=230, min_steps=230)
    twin.fit(*rows.arguments(), np.random.default_rng(0), progress=lambda: ticks.append(1))
    assert len(ticks) == 230 // STEPS_PER_TICK
    silent = make_model(max_steps=230, min_steps=230)
    silent.fit(*rows.arguments(), np.random.default_rng(0))
    assert serialization.dumps(silent.state()) == serialization.dumps(twin.state())

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_model().fit(*rows.arguments(), np.random.default_rng(0), progress=stop)


def test_the_loss_is_the_gaussian_likelihood_and_beta_weights_it_by_the_predicted_variance():
    generator = torch.Generator().manual_seed(0)
    mean, logvar, targets = (torch.randn(3, 5, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    normal = torch.distributions.Normal(mean, (logvar / 2).exp())
    nll = -2 * normal.log_prob(targets) - np.log(2 * np.pi)
    assert torch.allclose(likelihood_loss(mean, logvar, targets, 0.0), nll.mean((1, 2)))
    weighted = (nll * (logvar / 2).exp()).mean((1, 2))
    assert torch.allclose(likelihood_loss(mean, logvar, targets, 0.5), weighted)


def test_with_beta_one_means_descend_the_squared_error_and_variances_the_weighted_likelihood():
    generator = torch.Generator().manual_seed(0)
    mean, logvar, targets = (torch.randn(3, 5, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    mean.requires_grad_(True)
    logvar.requires_grad_(True)
    likelihood_loss(mean, logvar, targets, 1.0).sum().backward()
    assert torch.allclose(mean.grad, 2 * (mean - targets).detach() / 10)
    # The weight is a constant: the variance's own gradient is that of the likelihood, times the variance.
    variance = logvar.detach().exp()
    assert torch.allclose(logvar.grad, (variance - (mean - targets).detach() ** 2) / 10)


def test_beta_learns_rows_that_the_plain_likelihood_gives_up_as_noise(make_model):
    """A steep part of a noiseless function, amid an easy one: what contacts are to a robot."""
    rng = np.random.default_rng(0)
    obs, action = (rng.uniform(-1, 1, (1000, 1)).astype(np.float32) for _ in range(2))
    next_obs = (obs + 0.2 * action + np.where(obs > 0.5, np.sin(3 * action), 0.0)).astype(np.float32)
    errors = []
    for beta in (0.0, 0.5):
        model = make_model(obs_dim=1, max_steps=400, min_steps=400, likelihood_beta=beta)
        report = model.fit(obs, action, next_obs, np.arange(1000) // 10, np.random.default_rng(1))
        errors.append(report["ensemble_mse"])
    assert errors[1] < 0.8 * errors[0]
