"""mtop-state: what its teacher learns, what makes a source weigh, and what reaches the policy."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from baselines.config import make_config
from baselines.multi_source.action_replay import LATENT_RANGE, ActionReplay, evidence_bound
from baselines.multi_source.adapter import MTOPStateConfig
from baselines.multi_source.agent import Guidance
from baselines.multi_source.networks import Trainable, mlp
from baselines.multi_source.similarity import Similarity, reward_signal, row_weights
from baselines.multi_source.student import Student, selected
from baselines.multi_source.teacher import StateTeacher
from suites.contract.problem import sources
from suites.contract.run import SmallRun
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.learner import Batch
from wombet.networks import actor_forward, sample_policy
from wombet.streams import Streams

ROWS = 400


def toy_rows(action: float) -> dict[str, np.ndarray]:
    """Rows of a linear system whose actions lie about a number."""
    generator = np.random.default_rng(3)
    obs = generator.standard_normal((ROWS, 3)).astype(np.float32)
    actions = (action + 0.1 * generator.standard_normal((ROWS, 2))).clip(-1, 1).astype(np.float32)
    next_obs = obs + 0.1 * actions[:, :1]
    return {"obs": obs, "action": actions, "next_obs": next_obs.astype(np.float32), "reward": obs[:, 0].clip(-1, 1)}


def toy_dataset(sign: float, action: float = 0.0) -> TransferDataset:
    """The same rows with rewards of one sign or the other."""
    rows = toy_rows(action)
    ends = np.ones(ROWS, np.bool_)
    return TransferDataset(
        obs=rows["obs"],
        action=rows["action"],
        next_obs=rows["next_obs"],
        reward_source=np.float32(sign) * rows["reward"],
        terminated=~ends,
        truncated=ends,
        episode_id=np.arange(ROWS, dtype=np.int32),
        uncertainty=np.zeros(ROWS, np.float32),
    )


def toy_batch(action: float = 0.0) -> Batch:
    rows = {name: torch.from_numpy(column) for name, column in toy_rows(action).items()}
    zeros = torch.zeros(ROWS)
    return Batch(rows["obs"], rows["action"], rows["reward"], rows["next_obs"], zeros, zeros)


def toy_teacher(datasets: list[TransferDataset], updates: int) -> StateTeacher:
    teacher = StateTeacher(datasets, 32, 8, 4, 3e-3, Streams(0), "cpu")
    for _ in range(updates):
        teacher.update(64)
    return teacher


def test_the_evidence_bound_is_the_log_density_where_the_posterior_is_exact() -> None:
    """a = w z + noise with z ~ N(0, 1): the density is N(0, w^2 + v), and the posterior a Gaussian in closed form."""
    w, variance = 0.8, 0.3
    action = torch.tensor([[-0.9], [0.1], [0.7]])
    posterior_variance = 1 / (1 + w * w / variance)
    mean = action * posterior_variance * w / variance
    log_std = torch.full_like(mean, 0.5 * math.log(posterior_variance))
    # Two points at a standard deviation to either side integrate a quadratic exactly.
    bounds = [
        evidence_bound(action, w * (mean + side * log_std.exp()), mean, log_std, variance) for side in (-1.0, 1.0)
    ]
    exact = torch.distributions.Normal(0.0, math.sqrt(w * w + variance)).log_prob(action)[:, 0]
    torch.testing.assert_close((bounds[0] + bounds[1]) / 2, exact)
    worse = [
        evidence_bound(action, w * (mean + 0.2 + side * log_std.exp()), mean + 0.2, log_std, variance)
        for side in (-1.0, 1.0)
    ]
    assert ((worse[0] + worse[1]) / 2 < exact).all()


def test_the_replay_loss_is_the_mean_squared_error_and_half_the_divergence() -> None:
    replay, generator = ActionReplay(3, 2, 16, 4), torch.Generator().manual_seed(1)
    views = Trainable(replay.shapes, 1e-3, generator, "cpu").views
    condition, action = torch.randn(5, 3, generator=generator), torch.rand(5, 2, generator=generator)
    noise = torch.randn(5, 4, generator=generator)
    mean, log_std = mlp(views, "replay.encoder", torch.cat((condition, action), -1)).chunk(2, -1)
    assert mean.shape == (5, 4)
    latent = mean + log_std.exp() * noise
    decoded = replay.actions(views, replay.features(views, condition, latent))
    posterior = torch.distributions.Normal(mean, log_std.exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    wanted = (decoded - action).square().mean() + 0.5 * divergence.mean()
    torch.testing.assert_close(replay.loss(views, condition, action, noise), wanted)


def test_the_teacher_learns_each_sources_rewards_and_actions() -> None:
    teacher = toy_teacher([toy_dataset(1.0, -0.6), toy_dataset(-1.0, 0.6)], 300)
    batch, generator = toy_batch(-0.6), torch.Generator().manual_seed(0)
    rewards = teacher.rewards(batch.obs, batch.action)
    assert (rewards[0] - batch.reward).square().mean() < 0.05 * batch.reward.var()
    density = teacher.log_density(batch.obs, batch.action, generator).mean(1)
    assert density[0] > density[1]
    features = teacher.replayed(batch.obs, torch.tensor([0.0, 1.0]), torch.zeros(ROWS, 4))
    decoded = teacher.replay.actions(teacher._network.views, features)
    torch.testing.assert_close(decoded.mean(0), torch.full((2,), 0.6), atol=0.1, rtol=0)


def test_minibatches_have_equally_many_rows_of_each_source() -> None:
    teacher = toy_teacher([toy_dataset(1.0), toy_dataset(-1.0), toy_dataset(1.0)], 0)
    assert teacher._draw(8)[-1].bincount().tolist() == [3, 3, 2]


def test_weights_sum_to_one_and_the_floor_holds_in_the_distillation_loss() -> None:
    learned = torch.tensor([[0.0, 3.0], [0.0, -3.0]])
    weights = row_weights(learned, torch.tensor([0.0, -5.0]), "combined")
    torch.testing.assert_close(weights.sum(0), torch.ones(2))
    torch.testing.assert_close(weights[1], torch.sigmoid(torch.tensor([-5.0, -11.0])))
    assert torch.equal(row_weights(learned, torch.tensor([0.0, -5.0]), "paper"), learned.softmax(0))
    assert torch.equal(row_weights(learned, torch.tensor([1.0, 2.0]), "uniform"), torch.full((2, 2), 0.5))
    errors = row_weights(learned, torch.tensor([0.0, -5.0]), "errors")
    torch.testing.assert_close(errors[1], torch.sigmoid(torch.tensor([-5.0, -5.0])))
    distances = torch.tensor([[1.0], [10.0]])
    assert float(selected(distances, torch.tensor([[0.99], [0.01]]), 0.1)) == pytest.approx(0.99 + 0.1 * 10)


def test_the_reward_signal_is_the_error_in_units_of_the_targets_variance() -> None:
    reward = torch.tensor([-1.0, 1.0, -2.0, 2.0])
    signal = reward_signal(torch.stack((0.9 * reward, -reward)), reward)
    torch.testing.assert_close(signal, torch.tensor([-0.01, -4.0]))
    torch.testing.assert_close(reward_signal(10 * torch.stack((reward,)) / 2, 10 * reward), torch.tensor([-0.25]))


@pytest.mark.parametrize("signals", ["combined", "errors"])
def test_a_source_with_negated_rewards_loses_its_weight(signals: str) -> None:
    teacher = toy_teacher([toy_dataset(1.0), toy_dataset(-1.0)], 300)
    similarity = Similarity(teacher, signals, 0.05, "cpu")
    assert similarity.weights.tolist() == [0.5, 0.5]
    for _ in range(3):
        similarity.refresh(toy_batch(), torch.zeros(2, ROWS), torch.Generator().manual_seed(0))
        assert float(similarity.weights.sum()) == pytest.approx(1)
    assert similarity.weights[1] < 0.05
    assert similarity.share().tolist() == [1.0, 0.0]


class ImageTeacher:
    """A teacher of two sources that sees images, whose brightness is paid for; the second has the wrong sign."""

    n_sources = 2
    replay = ActionReplay(3, 2, 16, 4)

    def features(self, obs: torch.Tensor) -> torch.Tensor:
        return obs.mean((2, 3)).expand(2, -1, -1)

    def rewards(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        paid = obs.mean((1, 2, 3))
        return torch.stack((paid, -paid))

    def log_density(self, obs: torch.Tensor, action: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(2, len(obs))

    def replayed(self, obs: torch.Tensor, share: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(obs), 4)


def test_the_similarity_asks_nothing_of_what_an_observation_is() -> None:
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(64)
    batch = Batch(images, torch.zeros(64, 2), images.mean((1, 2, 3)), images, zeros, zeros)
    assert batch.reward.std() > 0.05
    similarity = Similarity(ImageTeacher(), "combined", 0.05, "cpu")
    similarity.refresh(batch, torch.zeros(2, 64), torch.Generator())
    error = 4 * batch.reward.square().mean() / batch.reward.var(correction=0)
    torch.testing.assert_close(similarity.weights, torch.stack((torch.tensor(0.0), -error)).softmax(0))


def test_without_measured_signals_the_weights_stay_equal_until_the_unit_has_learned() -> None:
    teacher = toy_teacher([toy_dataset(1.0), toy_dataset(-1.0)], 0)
    for signals in ("paper", "uniform"):
        similarity = Similarity(teacher, signals, 0.05, "cpu")
        similarity.refresh(toy_batch(), torch.zeros(2, ROWS), torch.Generator().manual_seed(0))
        assert similarity.weights.tolist() == [0.5, 0.5]
    assert similarity.share().tolist() == [0.5, 0.5]


def test_the_first_measurement_sets_the_weights_and_later_ones_move_them_a_little() -> None:
    teacher = toy_teacher([toy_dataset(1.0), toy_dataset(-1.0)], 0)
    similarity = Similarity(teacher, "paper", 0.25, "cpu")
    generator, towards_first = torch.Generator(), torch.tensor([[50.0], [0.0]]).expand(2, ROWS)
    similarity.refresh(toy_batch(), towards_first, generator)
    torch.testing.assert_close(similarity.weights, torch.tensor([1.0, 0.0]))
    similarity.refresh(toy_batch(), -towards_first, generator)
    torch.testing.assert_close(similarity.weights, torch.tensor([0.75, 0.25]))


@pytest.mark.parametrize("coefficient", [0.0, 1.0])
def test_distillation_teaches_student_map_and_unit_and_is_switched_off_whole(coefficient: float) -> None:
    teacher = toy_teacher([toy_dataset(1.0), toy_dataset(-1.0)], 50)
    student = Student(teacher.scales, 2, 16, 8, 3e-3, torch.Generator().manual_seed(0), "cpu")
    similarity, batch = Similarity(teacher, "combined", 0.05, "cpu"), toy_batch()
    before = {name: view.clone() for name, view in student.network.views.items()}
    taught, distances = teacher.features(batch.obs), []
    for _ in range(60):
        losses = student.update(batch, taught, similarity, coefficient, 0.1)
        distances.append(float(losses.get("distillation_loss", 0.0)))
    moved = {name for name, view in student.network.views.items() if not torch.equal(view, before[name])}
    assert {"encoder.0.weight", "dynamics.0.weight", "reward.0.weight"} <= moved
    assert ({"map.0.weight", "unit.0.weight"} <= moved) == (coefficient > 0)
    assert ("distillation_loss" in losses) == (coefficient > 0)
    if coefficient > 0:
        assert distances[-1] < 0.5 * distances[0]


def test_distillation_fades_linearly_to_the_share_that_is_left() -> None:
    guidance = Guidance(("a",), 2.0, 0.1, 0.1, 100, True, 1000)
    assert [guidance.coefficient(steps) for steps in (0, 500, 1000, 2000)] == pytest.approx([2.0, 1.1, 0.2, 0.2])


def test_the_teacher_is_frozen_once_the_target_task_has_begun() -> None:
    run, seen = SmallRun("mtop-state", {}), []
    run.train(in_tick=lambda run: seen.append((run.meters["target"].count, run.adapter.teacher.vector.clone())))
    offline, online = ([vector for steps, vector in seen if (steps > 0) == after] for after in (False, True))
    assert len(offline) == run.problem.budgets.offline_updates
    assert not torch.equal(offline[0], offline[-1])
    assert all(torch.equal(vector, offline[-1]) for vector in online)
    fresh = SmallRun("mtop-state", {}).adapter.agent
    assert not torch.equal(fresh.student.network.parameters.vector, run.adapter.agent.student.network.parameters.vector)


def test_every_sources_weight_is_among_the_metrics_under_its_name() -> None:
    metrics = SmallRun("mtop-state", {}).train().metrics[-1]
    weights = [metrics[f"weight_{source.name}"] for source in sources()]
    assert sum(weights) == pytest.approx(1)
    assert metrics["distillation"] == pytest.approx(0.1)


def test_the_policy_sees_state_student_and_replay_and_the_critics_the_state() -> None:
    agent = SmallRun("mtop-state", {"random_steps": 0}).train().adapter.agent
    learner, obs = agent.learner, torch.randn(4, 8)
    drawn = learner.actor_input(obs, torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 8 + 8 + 4)
    assert torch.equal(drawn[:, :8], obs)
    assert torch.equal(drawn[:, 8:16], agent.student.features(obs))
    still = agent.teacher.replayed(obs, agent.similarity.share(), torch.zeros(4, 4))
    assert torch.equal(learner.actor_input(obs, None)[:, 16:], still)
    assert not torch.equal(drawn[:, 16:], still)
    latent = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).clamp(-LATENT_RANGE, LATENT_RANGE)
    assert torch.equal(drawn[:, 16:], agent.teacher.replayed(obs, agent.similarity.share(), latent))
    generator = torch.Generator().manual_seed(1)
    head = actor_forward(learner.actor.views, learner.actor_input(obs, generator))[0]
    acted = sample_policy(head, torch.randn(2, 4, generator=generator)).action.T
    torch.testing.assert_close(learner.act(obs, torch.Generator().manual_seed(1)), acted)
    assert learner.critics.shapes["weight1"][1] == 8 + 2
    without = SmallRun("mtop-state", {"replay": False}).adapter.agent.learner
    assert without.actor_input(obs, None).shape == (4, 16)


def test_source_rows_can_be_mixed_in_with_the_targets_rewards() -> None:
    run = SmallRun("mtop-state", {"offline_fraction": 0.25})
    offline, rows = run.adapter.agent.offline, sources()[0].dataset.relabel(run.problem.target)
    assert len(offline) == 3 * len(rows)
    assert torch.equal(offline.last(len(rows)).reward, torch.from_numpy(rows.reward_target))
    run.train()
    assert run.metrics[-1]["offline_fraction"] == 0.25
    assert SmallRun("mtop-state", {}).adapter.agent.offline is None


def test_a_kept_policy_acts_as_the_run_did_at_its_end() -> None:
    run, other = SmallRun("mtop-state", {}).train(), SmallRun("mtop-state", {}, seed=9)
    obs = sources()[0].dataset.obs[:5]
    generator = np.random.default_rng(0)
    assert not np.array_equal(other.adapter.act(obs, generator), run.adapter.act(obs, generator))
    other.adapter.restore_policy(run.adapter.policy_state())
    assert np.array_equal(other.adapter.act(obs, generator), run.adapter.act(obs, generator))


@pytest.mark.parametrize(
    "values",
    [
        {"similarity": "equal"},
        {"weight_floor": 1.5},
        {"distillation": -1.0},
        {"similarity_rate": 0.0},
        {"similarity_interval": 0},
        {"offline_fraction": 2.0},
    ],
)
def test_a_setting_out_of_range_is_named(values: dict) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        make_config(MTOPStateConfig, values, "here")


def test_a_problem_without_sources_is_refused() -> None:
    run = SmallRun("mtop-state", {})
    problem = dataclasses.replace(run.problem, sources=())
    with pytest.raises(InputError, match="several source tasks"):
        run.kind(problem, MTOPStateConfig(), Streams(0), "cpu")
