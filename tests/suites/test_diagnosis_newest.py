"""The planner against the newest source rows: like with like, pair by pair."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from suites.datasets import build_dataset
from suites.diagnosis_newest import Pieces, against_newest_rows, newest_pieces, starts_of, watched_rewards
from suites.diagnosis_trials import Laboratory, Trials
from suites.store import Store
from tests.suites import cells
from wombet.dataset import TransferDataset

STARTS = 4


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """The laboratory of a dataset that a source agent collected."""
    store = Store(tmp_path_factory.mktemp("newest"))
    recipe = cells.recipe(cells.guided_generation())
    assert build_dataset(recipe, store).ending == "done"
    return Laboratory(recipe, store.dataset_folder(recipe.id), STARTS)


@pytest.fixture
def episodes() -> Callable[..., TransferDataset]:
    """Makes rows of reward 1, 2, 3 ... in episodes of given lengths, some of which terminate."""

    def make(lengths: list[int], ended: list[int]) -> TransferDataset:
        n = sum(lengths)
        last = np.cumsum(lengths) - 1
        terminated = np.isin(np.arange(n), last[ended])
        return TransferDataset(
            obs=np.zeros((n, 2), np.float32),
            action=np.zeros((n, 1), np.float32),
            next_obs=np.zeros((n, 2), np.float32),
            reward_source=np.arange(1, n + 1, dtype=np.float32),
            terminated=terminated,
            truncated=np.isin(np.arange(n), last) & ~terminated,
            uncertainty=np.zeros(n, np.float32),
            episode_id=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        )

    return make


def test_what_was_collected_after_the_last_fit_is_not_compared_with(laboratory: Laboratory) -> None:
    by_stage = laboratory.dataset.card["source_steps"]["by_stage"]
    assert laboratory.source is not None
    assert laboratory.learned is not None
    assert by_stage["calibration"] == 40
    assert len(laboratory.learned) == len(laboratory.source) - 40
    assert np.array_equal(laboratory.learned.obs, laboratory.source.obs[:-40])


def test_whole_episodes_among_the_newest_rows_are_taken_where_they_are_enough(
    episodes: Callable[..., TransferDataset],
) -> None:
    pieces = newest_pieces(episodes([5, 5, 3, 5, 2], ended=[2]), count=16, horizon=5, least=4)
    assert pieces.length == 5
    assert pieces.row.tolist() == [5, 10, 13, 18]
    assert pieces.earned.tolist() == [6 + 7 + 8 + 9 + 10, 11 + 12 + 13, 14 + 15 + 16 + 17 + 18, 19 + 20]
    # One that fell is watched on, and earns nothing; one that was cut off is watched for as long as it was recorded.
    assert pieces.watched.tolist() == [5, 5, 5, 2]


def test_too_few_episodes_are_cut_into_shorter_pieces(episodes: Callable[..., TransferDataset]) -> None:
    data = episodes([8, 7], ended=[1])
    pieces = newest_pieces(data, count=100, horizon=8, least=4)
    assert pieces.length == 4
    assert pieces.row.tolist() == [0, 4, 8, 12]
    assert pieces.watched.tolist() == [4, 4, 4, 4]
    assert pieces.earned.sum() == data.reward_source.sum()
    assert newest_pieces(data, count=100, horizon=8, least=10**6).length == 1
    assert newest_pieces(data, count=3, horizon=8, least=1).row.tolist() == [8]


def test_every_trial_begins_in_the_recorded_simulator_state_of_its_piece(laboratory: Laboratory) -> None:
    learned = laboratory.learned
    assert learned is not None
    pieces = newest_pieces(learned, 5000, cells.HORIZON, 20)
    starts = starts_of(laboratory, pieces)
    assert np.array_equal(starts.sim_state, learned.sim_state[pieces.row])
    assert np.array_equal(starts.obs, learned.obs[pieces.row])  # reacher has no rates
    assert not starts.noise.any()
    assert set(starts.type.tolist()) == {0, 1}
    assert (starts.type == 0).sum() == len(learned.episode_starts)


def test_replaying_the_recorded_actions_earns_what_the_rows_earned(laboratory: Laboratory) -> None:
    """Planner and rows are told apart by nothing but their actions."""
    learned = laboratory.learned
    assert learned is not None
    pieces = newest_pieces(learned, 5000, cells.HORIZON, 20)
    starts, env = starts_of(laboratory, pieces), laboratory.task.make_env()
    env.reset(seed=0)
    for i, row in enumerate(pieces.row.tolist()):
        env.set_sim_state(starts.sim_state[i])
        earned = sum(env.step(learned.action[row + t])[1] for t in range(pieces.watched[i]))
        assert earned == pytest.approx(pieces.earned[i], abs=1e-4)
    env.close()


def test_trials_are_watched_no_longer_than_their_pieces() -> None:
    table = np.ones((2, 4))
    trials = Trials(table, table, np.array([4, 4]), np.zeros(2, np.bool_), np.zeros(2, np.int64), np.zeros((2, 4, 1)))
    pieces = Pieces(np.zeros(2, np.intp), np.zeros(2), np.array([4, 1]), 4)
    assert watched_rewards(trials, pieces).tolist() == [4, 1]


def test_differences_are_those_of_the_means_and_paired(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    found = against_newest_rows(laboratory)
    assert found is not None
    assert found["pairs"] >= 20
    means = {name: value["mean"] for name, value in found["reward_per_step"].items()}
    assert set(means) == {"planner", "rows", "random", "agent", "agent_stochastic"}
    for name, minus in found["planner_minus"].items():
        assert minus["mean"] == pytest.approx(means["planner"] - means[name], abs=2e-6)
        assert minus["interval"][0] <= minus["mean"] <= minus["interval"][1]
    # A planner that does what the rows did, and 0.5 better in every step, has an interval without width.
    learned = laboratory.learned
    assert learned is not None
    pieces = newest_pieces(learned, 5000, cells.HORIZON, 20)
    rewards = np.zeros((len(pieces.row), pieces.length))
    for i, (row, steps) in enumerate(zip(pieces.row, pieces.watched, strict=True)):
        rewards[i, :steps] = learned.reward_source[row : row + steps] + 0.5
    random = laboratory.policy_trials("random", pieces.length, starts_of(laboratory, pieces))
    better = dataclasses.replace(random, rewards=rewards)
    monkeypatch.setattr(laboratory, "planner_trials", lambda *_: better)
    again = against_newest_rows(laboratory)
    assert again is not None
    assert again["planner_minus"]["rows"]["mean"] == pytest.approx(0.5, abs=1e-5)
    assert again["planner_minus"]["rows"]["interval"] == pytest.approx([0.5, 0.5], abs=1e-5)


def test_without_source_rows_there_is_nothing_to_compare_with(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laboratory, "source", None)
    assert against_newest_rows(laboratory) is None
