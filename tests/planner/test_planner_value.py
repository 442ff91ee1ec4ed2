"""The value of a sequence is the sum that the planner says it maximises, also past terminations and with a guide."""

import itertools

import numpy as np
import pytest
import torch
from known_systems import STEP, DriftingModel, KnownModel, PointTask, Pull, action_target

from wombet.errors import InputError
from wombet.planner import PlannerConfig, calibrated_penalty
from wombet.world_model import Prediction, WorldModel, WorldModelConfig


def reward(obs, action, next_obs):
    return next_obs[..., 0] - 0.1 * action[..., 1] ** 2 + obs[..., 1]


def leaves(next_obs):
    return next_obs[..., 0] > 0.25


def uncertainty(obs, action):
    return obs[..., 0].abs() + 0.5 * action[..., 0] ** 2


def by_hand(start, actions, *, penalty, tail_weight, discount=0.9):
    """The penalised sum of one sequence, with a loop that stops at the end of the episode."""
    state, total = np.asarray(start, float), 0.0
    guide = Pull()
    for t, action in enumerate(np.asarray(actions, float)):
        following = state + STEP * action
        u = (
            float(uncertainty(state, action))
            if isinstance(state, torch.Tensor)
            else abs(state[0]) + 0.5 * action[0] ** 2
        )
        total += discount**t * (following[0] - 0.1 * action[1] ** 2 + state[1] - penalty * u)
        state = following
        if state[0] > 0.25:
            return total
    last = torch.tensor(state[None])
    u = float(uncertainty(last, guide.act(last)))
    return total + discount ** len(actions) * (float(guide.value(last)) - tail_weight * penalty * u)


@pytest.mark.parametrize(("penalty", "tail"), [(0.0, 0.0), (0.7, 0.0), (0.7, 3.0)])
def test_value_equals_the_sum_by_hand(make_planner, penalty, tail):
    planner = make_planner(
        KnownModel(uncertainty),
        PointTask(reward, leaves),
        penalty=penalty,
        guide=Pull(),
        terminal_value=True,
        terminal_penalty=tail,
        discount=0.9,
        horizon=6,
    )
    planner.reset(2)
    start = torch.tensor([[0.0, 0.2], [-0.3, 0.1]])
    sequences = torch.rand(2, 20, 6, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sequences[:, :5, :, 0] = 1.0
    values = planner.evaluate(start, sequences)
    expected = [
        [by_hand(s, a, penalty=penalty, tail_weight=tail) for a in many]
        for s, many in zip(start, sequences, strict=True)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_nothing_counts_after_the_episode_has_ended(make_planner):
    task = PointTask(lambda obs, action, next_obs: torch.ones(obs.shape[:-1]), leaves)
    planner = make_planner(KnownModel(), task, guide=Pull(), terminal_value=True, discount=0.5)
    planner.reset(1)
    right, left = torch.zeros(1, 2, 4, 2).unbind(1)
    right, left = right + torch.tensor([1.0, 0.0]), left - torch.tensor([1.0, 0.0])
    value = planner.evaluate(torch.tensor([[0.05, 0.0]]), torch.stack([right, left], 1))[0]
    # Moving right ends the episode with the third step, whose reward still counts.
    assert float(value[0]) == pytest.approx(1 + 0.5 + 0.25)
    assert float(value[1]) == pytest.approx(1 + 0.5 + 0.25 + 0.125 - 0.0625 * 0.35)


def test_the_plan_avoids_an_end_that_costs_future_reward(make_planner):
    task = PointTask(lambda obs, action, next_obs: 1.0 + next_obs[..., 0], leaves)
    planner = make_planner(KnownModel(), task, horizon=12, population=200, replan_interval=12)
    planner.reset(1)
    path = STEP * planner.plan(torch.zeros(1, 2))[0, :, 0].cumsum(0)
    assert path[:-1].max() <= 0.25


def test_particles_keep_their_elite_with_tsinf_and_change_it_with_ts1(make_planner):
    for propagation in ("tsinf", "ts1"):
        seen = []
        task = PointTask(lambda obs, action, next_obs: (seen.append(next_obs[..., 0]), next_obs[..., 0])[1], dim=1)  # noqa: B023
        planner = make_planner(DriftingModel(), task, propagation=propagation, n_particles=6, horizon=8)
        planner.reset(2)
        planner.evaluate(torch.zeros(2, 1), torch.zeros(2, 5, 8, 1))
        moves = torch.stack([seen[0], *(after - before for before, after in itertools.pairwise(seen))])
        assert moves.shape == (8, 6, 10)
        assert (moves.sort(1).values == torch.tensor([0.0, 0, 1, 1, 2, 2])[:, None]).all(), "elites share equally"
        constant = (moves == moves[0]).all(0)
        assert constant.all() if propagation == "tsinf" else not constant.any()


@pytest.mark.parametrize("propagation", ["tsinf", "ts1"])
def test_particles_that_agree_have_the_value_of_the_mean_path(make_planner, propagation):
    class Agreeing(KnownModel):
        def predict(self, obs, action):
            mean = obs + STEP * action
            return Prediction(mean, torch.zeros_like(mean), torch.zeros_like(mean))

    start, sequences = torch.zeros(2, 2), torch.rand(2, 10, 4, 2, generator=torch.Generator().manual_seed(0))
    task, settings = PointTask(reward, leaves), {"guide": Pull(), "terminal_value": True}
    particles = make_planner(Agreeing(), task, propagation=propagation, n_particles=6, **settings)
    path = make_planner(Agreeing(), task, **settings)
    particles.reset(2), path.reset(2)
    torch.testing.assert_close(particles.evaluate(start, sequences), path.evaluate(start, sequences))


@pytest.mark.parametrize("propagation", ["tsinf", "ts1"])
def test_particles_spread_by_the_predicted_noise(make_planner, propagation):
    task = PointTask(lambda obs, action, next_obs: next_obs[..., 0].square(), dim=1)
    model = DriftingModel(drift=0.0, std=0.5)
    planner = make_planner(model, task, propagation=propagation, n_particles=9000, discount=1.0)
    planner.reset(1)
    value = float(planner.evaluate(torch.zeros(1, 1), torch.zeros(1, 1, 4, 1)))
    assert value == pytest.approx(0.25 * (1 + 2 + 3 + 4), rel=0.05)


def test_particles_end_one_by_one_and_pay_for_their_disagreement(make_planner):
    task = PointTask(
        lambda obs, action, next_obs: torch.ones(obs.shape[:-1]), lambda next_obs: next_obs[..., 0] > 2.5, dim=1
    )
    settings = {"propagation": "tsinf", "n_particles": 6, "discount": 1.0}
    lived = {0: 4, 1: 3, 2: 2}
    for penalty in (0.0, 0.25):
        planner = make_planner(DriftingModel(), task, penalty=penalty, **settings)
        planner.reset(1)
        value = float(planner.evaluate(torch.zeros(1, 1), torch.zeros(1, 1, 4, 1)))
        assert value == pytest.approx(sum(lived.values()) / 3 * (1 - penalty * np.std([0, 1, 2])))


def test_the_penalty_keeps_plans_away_from_what_the_model_does_not_know(make_planner):
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 0, (800, 1)).astype(np.float32)
    action = rng.uniform(-1, 1, (800, 1)).astype(np.float32)
    settings = {"n_members": 5, "n_elites": 5, "hidden_width": 32, "hidden_layers": 2, "max_steps": 500, "min_steps": 0}
    model = WorldModel(1, 1, WorldModelConfig(**settings), torch.Generator().manual_seed(0))
    report = model.fit(obs, action, obs + 0.5 * action, np.arange(800) // 20, rng)
    task = PointTask(lambda obs, action, next_obs: next_obs[..., 0], dim=1)
    ends = []
    for scale in (0.0, 3.0):
        penalty = calibrated_penalty(scale, 0.5, report["uncertainty"]["q95"])
        planner = make_planner(model, task, penalty=penalty, horizon=6, replan_interval=6)
        planner.reset(1)
        ends.append(-0.5 + 0.5 * float(planner.plan(torch.full((1, 1), -0.5)).sum()))
    assert ends[0] > 1.0
    assert -0.5 < ends[1] < 0.5


def test_proposals_compete_and_the_gain_is_over_the_first_of_them(make_planner, watch):
    task, start = PointTask(reward, leaves), torch.tensor([[0.9, -0.4], [-0.2, 0.1]])
    planner = make_planner(KnownModel(), task, guide=Pull(), n_policy_proposals=3, population=10, terminal_value=True)
    calls = watch(planner)
    planner.reset(2)
    planner.plan(start)
    guided_value = planner.evaluate(start, noise_free(start)[:, None])[:, 0]
    torch.testing.assert_close(planner.predicted_gain, planner.last_value - guided_value)
    assert (planner.predicted_gain >= 0).all()
    best_sample = torch.stack([values.amax(1) for _, values in calls[:4]]).amax(0)
    assert (planner.last_value >= best_sample).all()


@pytest.mark.parametrize("propagation", ["mean", "tsinf"])
def test_proposals_follow_the_guide_with_noise_and_have_the_values_of_any_sequence(make_planner, propagation):
    class Certain(KnownModel):
        def predict(self, obs, action):
            mean = obs + STEP * action
            return Prediction(mean, torch.zeros_like(mean), torch.zeros_like(mean))

    start = torch.tensor([[0.9, -0.4], [-0.2, 0.1]])
    settings = {"n_policy_proposals": 3, "propagation": propagation, "n_particles": 3, "terminal_value": True}
    planner = make_planner(Certain(), PointTask(reward, leaves), guide=Pull(), **settings)
    planner.reset(2)
    sequences, values = planner._proposals(start)
    torch.testing.assert_close(sequences[:, 0], noise_free(start))
    assert all(not torch.equal(sequences[:, i], sequences[:, 0]) for i in (1, 2))
    torch.testing.assert_close(values, planner.evaluate(start, sequences))


def test_a_proposal_whose_value_is_not_finite_is_never_chosen(make_planner):
    class Lost(Pull):
        def value(self, obs):
            return torch.where(obs[:, 0] > 0, torch.nan, -5.0)

    planner = make_planner(KnownModel(), PointTask(reward), guide=Lost(), n_policy_proposals=2, terminal_value=True)
    planner.reset(1)
    assert planner._proposals(torch.tensor([[0.9, 0.0]]))[1].amax() < -1e9
    planner.plan(torch.tensor([[0.02, 0.0]]))
    assert -10 < float(planner.last_value) < 0


def noise_free(start):
    """The guide's own sequences (n, 4, 2)."""
    state, path = start, []
    for _ in range(4):
        path.append(Pull().act(state))
        state = state + STEP * path[-1]
    return torch.stack(path, 1)


def test_an_episode_begins_with_samples_around_what_the_guide_would_do(make_planner, watch):
    planner = make_planner(KnownModel(), PointTask(reward), guide=Pull(), n_policy_proposals=2, init_std=0.01)
    calls = watch(planner)
    planner.reset(1)
    planner.plan(torch.tensor([[0.4, -0.3]]))
    sequences = calls[0][0]
    assert (sequences[0, :64] - noise_free(torch.tensor([[0.4, -0.3]]))[0]).abs().max() < 0.06


def test_without_proposals_there_is_no_gain_to_speak_of(make_planner):
    planner = make_planner(KnownModel(), PointTask(reward))
    planner.reset(1)
    planner.plan(torch.zeros(1, 2))
    assert planner.predicted_gain.isnan().all()


def test_a_proposal_that_cannot_be_beaten_is_executed(make_planner):
    class Knows:
        def act(self, obs):
            return torch.tensor([0.77, -0.77]).expand(len(obs), 2)

        def value(self, obs):
            return torch.zeros(len(obs))

    task = PointTask(action_target([0.77, -0.77]))
    planner = make_planner(KnownModel(), task, guide=Knows(), n_policy_proposals=1, population=8, iterations=2)
    planner.reset(1)
    assert torch.equal(planner.plan(torch.zeros(1, 2))[0, 0], torch.tensor([0.77, -0.77]))


def test_calibrated_penalty_prices_the_95_per_cent_quantile():
    assert calibrated_penalty(2.0, 0.6, 0.3) * 0.3 == pytest.approx(2.0 * 0.6)
    with pytest.raises(InputError, match="quantile"):
        calibrated_penalty(1.0, 0.6, 0.0)


@pytest.mark.parametrize("settings", [{"terminal_value": True}, {"n_policy_proposals": 2}])
def test_a_missing_guide_is_refused(make_planner, settings):
    with pytest.raises(InputError, match="no guide"):
        make_planner(KnownModel(), PointTask(reward), **settings)


def test_particles_that_elites_cannot_share_are_refused(make_planner):
    with pytest.raises(InputError, match="multiple of 3"):
        make_planner(KnownModel(), PointTask(reward), propagation="tsinf", n_particles=4)


def test_observations_of_another_number_of_episodes_are_refused(make_planner):
    planner = make_planner(KnownModel(), PointTask(reward))
    with pytest.raises(InputError, match="call reset first"):
        planner.plan(torch.zeros(0, 2))
    planner.reset(2)
    with pytest.raises(InputError, match=r"\(3, 2\)"):
        planner.plan(torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": "cme"}, "one of icem, cem"),
        ({"n_elites": 100}, "at most 64, the population"),
        ({"replan_interval": 16}, "at most 15, the horizon"),
        ({"discount": 1.5}, "discount"),
        ({"propagation": "mode"}, "one of mean, tsinf, ts1"),
        ({"noise_beta": -1.0}, "noise_beta"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        PlannerConfig(**settings)
