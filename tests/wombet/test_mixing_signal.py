"""What each signal measures, against the definitions in plain numpy."""

import numpy as np
import pytest
import torch

from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.mixing import SIGNALS
from wombet.mixing_signal import SIGNAL_ROWS, SignalMeter
from wombet.replay import ReplayBuffer
from wombet.serialization import dumps, loads


def rows(n: int, seed: int, reward_scale: float = 1.0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "obs": generator.standard_normal((n, 3), np.float32),
        "action": generator.uniform(-1, 1, (n, 2)).astype(np.float32),
        "reward": np.float32(reward_scale) * generator.standard_normal(n, np.float32),
        "next_obs": generator.standard_normal((n, 3), np.float32),
        "terminated": np.ones(n, np.float32),  # the target is then the reward, whatever is drawn
    }


def buffer(n: int, seed: int, reward_scale: float = 1.0) -> ReplayBuffer:
    filled = ReplayBuffer(5000, 3, 2)
    filled.extend(rows(n, seed, reward_scale))
    return filled


def meter(signal: str, n_online: int = 3000, n_offline: int = 50) -> SignalMeter:
    config = LearnerConfig(hidden_width=16, n_critics=3, target_subset=2)
    learner = ActorCritic(3, 2, config, torch.Generator().manual_seed(0))
    online, offline = buffer(n_online, 1), buffer(n_offline, 2, reward_scale=3.0)
    return SignalMeter(signal, learner, online, offline, torch.Generator().manual_seed(4))


def error_of(learner: ActorCritic, batch: Batch) -> np.ndarray:
    """Each row's mean distance of the critics to the reward."""
    return (learner.values(batch.obs, batch.action) - batch.reward).abs().mean(0).numpy()


def test_td_over_spread_is_the_error_and_the_spread_of_the_targets_on_the_newest_rows() -> None:
    own = meter("td_over_spread")
    newest = own.online.last(SIGNAL_ROWS)
    error, scale = own.measure()
    assert len(newest.reward) == SIGNAL_ROWS == 1024
    assert error == pytest.approx(error_of(own.learner, newest).mean(), rel=1e-5)
    assert scale == pytest.approx(newest.reward.numpy().std(), rel=1e-5)


def test_online_over_offline_is_held_against_the_error_on_offline_rows() -> None:
    own = meter("online_over_offline")
    error, scale = own.measure()
    everything = error_of(own.learner, own.offline.sample(np.arange(50)))
    assert error == pytest.approx(error_of(own.learner, own.online.last(SIGNAL_ROWS)).mean(), rel=1e-5)
    assert scale == pytest.approx(everything.mean(), abs=float(5 * everything.std() / SIGNAL_ROWS**0.5))
    assert scale > 2 * error


def test_unseen_over_spread_is_the_error_of_rows_as_they_arrived_since_the_last_measurement() -> None:
    own = meter("unseen_over_spread")
    arrivals = [own.offline.sample(np.array([i])) for i in range(6)]
    expected = [float(error_of(own.learner, row)[0]) for row in arrivals]
    for row in arrivals[:4]:
        own.note(row)
    own.learner.critics.vector.mul_(2)  # what is learnt later does not count
    error, scale = own.measure()
    assert error == pytest.approx(np.mean(expected[:4]), rel=1e-5)
    assert scale == pytest.approx(own.online.last(SIGNAL_ROWS).reward.numpy().std(), rel=1e-5)
    own.learner.critics.vector.div_(2)
    own.note(arrivals[4])
    assert own.measure()[0] == pytest.approx(expected[4], rel=1e-5)


@pytest.mark.parametrize("signal", SIGNALS)
def test_measuring_leaves_training_alone_and_a_restored_meter_goes_on(signal: str) -> None:
    own, other = meter(signal), meter(signal)
    before = dumps(own.learner.state())
    row, earlier = own.offline.sample(np.array([0])), own.offline.sample(np.array([1]))
    own.note(earlier)
    other.restore(loads(dumps(own.state())))
    for one in (own, other):
        one.note(row)
    assert own.measure() == other.measure()
    assert dumps(own.state()) == dumps(other.state())
    assert dumps(own.learner.state()) == before
