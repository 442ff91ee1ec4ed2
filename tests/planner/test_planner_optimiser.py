"""CEM and iCEM find known optima, stay inside the box, and keep what they should keep and nothing else."""

import itertools
import math

import pytest
import torch
from known_systems import KnownModel, PointTask, Pull, action_target

from wombet import planner_config
from wombet.planner import PETS_CEM, PlannerConfig, truncated_normal

TRUNCATED_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))
"""Standard deviation of a standard normal cut off at two."""


@pytest.mark.parametrize(("optimiser", "tolerance"), [("cem", 0.08), ("icem", 0.2)])
def test_finds_the_optimum_of_a_quadratic(make_planner, optimiser, tolerance):
    task = PointTask(action_target([0.4, -0.7]))
    planner = make_planner(
        KnownModel(), task, optimiser=optimiser, population=200, n_elites=20, iterations=8, replan_interval=4
    )
    planner.reset(3)
    plan = planner.plan(torch.zeros(3, 2))
    assert plan.shape == (3, 4, 2)
    assert (plan - torch.tensor([0.4, -0.7])).abs().max() < tolerance
    assert (planner.last_value > -0.05).all()


@pytest.mark.parametrize("optimiser", ["cem", "icem"])
def test_all_candidates_are_inside_the_box(make_planner, watch, optimiser):
    planner = make_planner(KnownModel(), PointTask(action_target([3.0, -3.0])), optimiser=optimiser, init_std=2.0)
    calls = watch(planner)
    planner.reset(2)
    for _ in range(3):
        plan = planner.plan(torch.zeros(2, 2))
    assert max(float(sequences.abs().max()) for sequences, _ in calls) <= 1.0
    assert (plan * torch.tensor([1.0, -1.0]) > 0.8).all()


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("optimiser", ["cem", "icem"])
def test_a_sequence_whose_reward_is_not_finite_is_never_chosen(make_planner, watch, optimiser, poison):
    # All true rewards are below -5, so that a zero in place of the poison would win.
    def reward(obs, action, next_obs):
        return torch.where(action[..., 0] > 0, torch.tensor(poison), -6.0 + action[..., 0])

    planner = make_planner(KnownModel(), PointTask(reward), optimiser=optimiser, replan_interval=4)
    calls = watch(planner)
    planner.reset(2)
    plan = planner.plan(torch.zeros(2, 2))
    assert any((values < -1e9).any() for _, values in calls), "some candidates must have been poisoned"
    assert (plan[..., 0] <= 0).all()
    assert (planner.last_value > -30).all()


def test_a_state_that_is_not_a_number_is_never_chosen(make_planner):
    class Exploding(KnownModel):
        def step(self, obs, action):
            mean, uncertainty = super().step(obs, action)
            return torch.where(action[..., :1] > 0, torch.nan, mean), uncertainty

    task = PointTask(lambda obs, action, next_obs: next_obs[..., 0] - 5, lambda next_obs: next_obs.isnan().any(-1))
    planner = make_planner(Exploding(), task, replan_interval=4)
    planner.reset(1)
    assert (planner.plan(torch.zeros(1, 2))[..., 0] <= 0).all()


def test_icem_returns_the_best_sample_and_cem_the_final_mean(make_planner, watch):
    task = PointTask(action_target([0.4, -0.7]))
    for optimiser in ("icem", "cem"):
        planner = make_planner(KnownModel(), task, optimiser=optimiser, replan_interval=4)
        calls = watch(planner)
        planner.reset(1)
        plan = planner.plan(torch.zeros(1, 2))
        sampled = torch.cat([sequences for sequences, _ in calls[:4]], 1)[0]
        values = torch.cat([values for _, values in calls[:4]], 1)[0]
        if optimiser == "icem":
            assert torch.equal(plan[0], sampled[values.argmax()])
            assert planner.last_value[0] == values.max()
        else:
            assert not (sampled == plan).all((1, 2)).any()
            assert planner.last_value[0] == planner.evaluate(torch.zeros(1, 2), plan[:, None])[0, 0]


def test_icem_shrinks_keeps_elites_and_tries_its_mean_last(make_planner, watch):
    task = PointTask(action_target([0.4, -0.7]))
    planner = make_planner(KnownModel(), task, population=40, population_decay=1.5, iterations=4, keep_fraction=0.3)
    calls = watch(planner)
    planner.reset(1)
    planner.plan(torch.zeros(1, 2))
    # 40 / 1.5**i, never below twice the 8 elites, and 2 kept elites after the first iteration.
    assert [sequences.shape[1] for sequences, _ in calls] == [40, 26 + 2, 17 + 2, 16 + 2]
    for (before, values), (after, _) in itertools.pairwise(calls):
        kept = before[0, values[0].topk(2).indices]
        assert torch.equal(after[0, -2:], kept)
    means = [sequences[0].mean(0) for sequences, _ in calls]
    assert (calls[-1][0][0, 0] - means[-1]).abs().max() < 0.25

    planner.plan(torch.zeros(1, 2))
    elites = calls[3][0][0, calls[3][1][0].topk(2).indices]
    assert torch.equal(calls[4][0][0, -2:, :-1], elites[:, 1:]), "elites move on by one step into the next plan"


def test_the_mean_moves_on_by_the_executed_actions(make_planner):
    goals = torch.tensor([0.8, 0.4, -0.4, -0.8])

    class Clock(KnownModel):
        """The first entry of the state counts steps."""

        def step(self, obs, action):
            return (obs + torch.tensor([1.0, 0.0])).expand(3, *obs.shape), torch.zeros(len(obs))

    def reward(obs, action, next_obs):
        return -(action[..., 0] - goals[obs[..., 0].long() % 4]).square()

    for optimiser, end in (("icem", -0.8), ("cem", 0.0)):
        planner = make_planner(
            Clock(), PointTask(reward), optimiser=optimiser, population=300, iterations=8, replan_interval=2
        )
        planner.reset(1)
        planner.plan(torch.zeros(1, 2))
        mean = planner.state()["mean"][0, :, 0]
        assert mean.numpy() == pytest.approx([-0.4, -0.8, end, end], abs=0.1)


@pytest.mark.parametrize("optimiser", ["cem", "icem"])
def test_the_distribution_follows_the_elites_with_momentum(make_planner, watch, optimiser):
    task = PointTask(action_target([0.1, -0.1]))
    planner = make_planner(
        KnownModel(),
        task,
        optimiser=optimiser,
        horizon=1,
        population=20000,
        n_elites=400,
        momentum=0.5,
        keep_fraction=0.0,
    )
    calls = watch(planner)
    planner.reset(1)
    planner.plan(torch.zeros(1, 2))
    (first, values), (second, _) = calls[:2]
    elites = first[0, values[0].topk(400).indices, 0]
    std, mean = elites.std(0), 0.5 * elites.mean(0)
    if optimiser == "cem":
        spread = TRUNCATED_STD * (0.5 * 0.25 + 0.5 * std.square()).sqrt()
    else:
        spread = 0.5 * 0.5 + 0.5 * std
    torch.testing.assert_close(second[0, :, 0].mean(0), mean, rtol=0, atol=0.01)
    torch.testing.assert_close(second[0, :, 0].std(0), spread, rtol=0.02, atol=0)


def test_cem_goes_no_further_once_it_has_converged(make_planner):
    plans = []
    for iterations in (15, 25):
        planner = make_planner(
            KnownModel(),
            PointTask(action_target([0.4, -0.7])),
            optimiser="cem",
            iterations=iterations,
            replan_interval=4,
        )
        planner.reset(1)
        plans.append(planner.plan(torch.zeros(1, 2)))
    assert torch.equal(*plans)


def test_cem_narrows_at_the_edge_of_the_box_instead_of_piling_up_there(make_planner, watch):
    planner = make_planner(KnownModel(), PointTask(action_target([3.0, -3.0])), optimiser="cem", init_std=1.0)
    calls = watch(planner)
    planner.reset(1)
    planner.plan(torch.zeros(1, 2))
    sequences = torch.cat([sequences for sequences, _ in calls], 1)
    assert float((sequences.abs() == 1).float().mean()) < 0.01
    assert float(sequences.abs().max()) > 0.9


def test_reset_forgets_the_last_episode(make_planner):
    task = PointTask(action_target([0.4, -0.7]))
    used, generator = make_planner(KnownModel(), task), torch.Generator()
    used.reset(2)
    used.plan(torch.zeros(2, 2)), used.plan(torch.ones(2, 2))
    generator.set_state(used.state()["generator"])
    fresh = type(used)(used.model, task, used.config, 0.0, generator)
    for planner in (used, fresh):
        planner.reset(2)
    assert used.state()["kept"] is None
    for _ in range(2):
        assert torch.equal(used.plan(torch.zeros(2, 2)), fresh.plan(torch.zeros(2, 2)))


def reward_of_place(obs, action, next_obs):
    return -(next_obs - 0.3).square().sum(-1) - 0.01 * action.square().sum(-1)


@pytest.mark.parametrize("settings", [{}, {"optimiser": "cem"}, {"n_policy_proposals": 4, "terminal_value": True}])
def test_a_plan_does_not_depend_on_the_others_in_the_batch(make_planner, settings):
    planners = [make_planner(KnownModel(), PointTask(reward_of_place), guide=Pull(), **settings) for _ in range(3)]
    together, apart, shrinking = planners
    start = torch.tensor([[0.0, 0.0], [0.5, -0.5], [-0.2, 0.9]])
    together.reset(3), shrinking.reset(3)
    singles = []
    for _ in range(3):
        apart.reset(1)
        singles.append(apart.state())
    for step in range(3):
        plan = together.plan(start)
        for episode, state in enumerate(singles):
            apart.restore(state)
            torch.testing.assert_close(apart.plan(start[episode : episode + 1])[0], plan[episode])
            singles[episode] = apart.state()
        keep = torch.tensor([True, step == 0, True]) if shrinking.n_episodes == 3 else torch.ones(2, dtype=torch.bool)
        rows = [0, 1, 2] if shrinking.n_episodes == 3 else [0, 2]
        torch.testing.assert_close(shrinking.plan(start[rows]), plan[rows])
        shrinking.drop(keep)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimiser": "cem"},
        {"n_policy_proposals": 4, "terminal_value": True},
        {"propagation": "ts1", "n_particles": 3},
    ],
)
def test_plans_made_block_by_block_are_those_of_one_batch(make_planner, watch, settings, monkeypatch):
    model = KnownModel()
    model.predict = predict_point
    together, blocked = (make_planner(model, PointTask(reward_of_place), guide=Pull(), **settings) for _ in range(2))
    start = torch.rand(5, 2, generator=torch.Generator().manual_seed(1))
    together.reset(5), blocked.reset(5)
    assert together.config.episodes_at_once > 5
    planned = [together.plan(start) for _ in range(2)]
    values, gains = together.last_value, together.predicted_gain
    kept = torch.tensor([True, False, True, True, True])
    together.drop(kept)

    calls = watch(blocked)
    monkeypatch.setattr(planner_config, "STATES_AT_ONCE", 2 * blocked.config.states_per_episode + 1)
    assert blocked.config.episodes_at_once == 2
    for plan in planned:
        torch.testing.assert_close(blocked.plan(start), plan)
    torch.testing.assert_close(blocked.last_value, values)
    torch.testing.assert_close(blocked.predicted_gain, gains, equal_nan=True)
    assert {len(sequences) for sequences, _ in calls} == {2, 1}
    blocked.drop(kept)
    torch.testing.assert_close(blocked.plan(start[kept]), together.plan(start[kept]))


def test_a_planner_follows_so_many_states_per_episode_at_most():
    assert PlannerConfig(population=24, n_elites=6, keep_fraction=0.5).states_per_episode == 24 + 3
    assert PlannerConfig(population=8, n_elites=2, keep_fraction=0.0, n_policy_proposals=9).states_per_episode == 9
    assert PETS_CEM.states_per_episode == 500 * 20


def test_episodes_are_planned_with_noise_of_their_own(make_planner):
    planner = make_planner(KnownModel(), PointTask(reward_of_place), iterations=1)
    planner.reset(2)
    plan = planner.plan(torch.zeros(2, 2))
    assert not torch.equal(plan[0], plan[1])


@pytest.mark.parametrize("settings", [{}, {"optimiser": "cem"}, {"propagation": "ts1", "n_particles": 3}])
def test_a_stored_planner_goes_on_exactly(make_planner, settings):
    from wombet import serialization

    model = KnownModel()
    model.predict = lambda obs, action: predict_point(obs, action)
    planner, twin = (make_planner(model, PointTask(reward_of_place), seed=seed, **settings) for seed in (0, 5))
    planner.reset(2)
    planner.plan(torch.zeros(2, 2))
    twin.restore(serialization.loads(serialization.dumps(planner.state())))
    for _ in range(2):
        assert torch.equal(planner.plan(torch.ones(2, 2)), twin.plan(torch.ones(2, 2)))
    planner.reset(1), twin.reset(1)
    assert torch.equal(planner.plan(torch.ones(1, 2)), twin.plan(torch.ones(1, 2)))


def predict_point(obs, action):
    from wombet.world_model import Prediction

    mean = obs + 0.1 * action
    return Prediction(mean, torch.full_like(mean, 0.01), torch.zeros_like(mean))


def test_truncated_normal_has_its_known_spread_and_limits():
    values = truncated_normal(torch.rand(200000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert values.abs().max() <= 2.0
    assert float(values.std()) == pytest.approx(TRUNCATED_STD, rel=0.01)
    assert truncated_normal(torch.tensor([0.5])).abs() < 1e-6


def test_the_papers_setting_is_that_of_pets():
    assert (PETS_CEM.optimiser, PETS_CEM.horizon, PETS_CEM.population, PETS_CEM.n_elites) == ("cem", 30, 500, 50)
    assert (PETS_CEM.iterations, PETS_CEM.propagation, PETS_CEM.n_particles) == (5, "tsinf", 20)
    assert not PETS_CEM.needs_guide
