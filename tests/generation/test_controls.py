"""The data of controls: same format, same count, and each of them what its name says."""

import numpy as np
import pytest
import torch
from small_recipes import builder, guided_config, nothing, small_config

from suites.tasks.task import make_task
from wombet.controls import CONTROLS, MATCHED, RULES, PolicyPilot, matched_parts, policy_rollouts, taken
from wombet.dataset import TransferDataset
from wombet.generation import Generated
from wombet.rollouts import Rollouts, Starts


def silent(**_: object) -> None:
    """A tick that nobody watches."""


@pytest.fixture(scope="module")
def guided() -> Generated:
    return builder(guided_config()).run(silent)


def rows_of(data: TransferDataset) -> set[bytes]:
    return {row.tobytes() for row in np.hstack([data.obs, data.action, data.next_obs])}


def test_every_part_has_as_many_rows_as_the_accepted_one_and_is_the_source_tasks(guided: Generated):
    assert tuple(guided.parts) == (*CONTROLS, *MATCHED)
    for name, part in guided.parts.items():
        assert len(part) == len(guided.dataset) or name in MATCHED
        part.validate(make_task("reacher", horizon=20))


def test_the_card_lists_the_parts_with_their_figures(guided: Generated):
    entries = guided.card["parts"]
    assert set(entries) == {"accepted", *CONTROLS, *MATCHED}
    for name, part in (("accepted", guided.dataset), *guided.parts.items()):
        assert entries[name]["rows"] == len(part)
        assert entries[name]["missing_rows"] == 0
        assert entries[name]["episodes"] == part.truncated.sum() + part.terminated.sum()
        assert entries[name]["reward_per_step"] == pytest.approx(part.reward_source.mean(), abs=1e-5)
        assert entries[name]["uncertainty"] == pytest.approx(part.uncertainty.mean(), abs=1e-5)


def test_without_an_agent_there_is_no_policy_to_roll_out():
    assert set(builder(small_config()).run(silent).parts) == {"unfiltered", "source", *MATCHED}


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_the_filter_are_compared_on_one_pool_at_the_same_number(rule: str):
    changes = {"matched_fraction": 0.5, "early_fraction": 0.5}
    generated = builder(small_config(**changes)).run(silent)
    part = generated.parts[f"matched-{rule}"]
    assert generated.card["parts"][f"matched-{rule}"]["episodes"] == len(part.episode_starts) == 6
    same = builder(small_config(filter_rule=rule, selection="matched", **changes)).run(silent)
    for name, column in same.dataset.columns().items():
        assert np.array_equal(column, part.columns()[name]), name


def test_with_fewer_usable_candidates_than_the_rules_are_to_keep_they_keep_them_all():
    rollouts = Rollouts(episodes(3, 2), np.array([3, 2, 0, 0]), np.zeros(4, np.int64))
    parts = matched_parts(rollouts, 0.9, np.random.default_rng(0))
    assert [len(part) for part in parts.values()] == [5] * 4


def test_unfiltered_trajectories_come_from_the_candidates_whatever_the_filter_says():
    built = builder(small_config())
    generated = built.run(silent)
    candidates = TransferDataset(**built.state()["products"]["candidates"]["columns"])
    assert rows_of(generated.parts["unfiltered"]) <= rows_of(candidates)
    assert not rows_of(generated.parts["unfiltered"]) <= rows_of(generated.dataset)


def test_the_source_part_is_the_newest_whole_episodes_and_one_that_is_cut():
    generated = builder(small_config()).run(silent)
    source, part = generated.source, generated.parts["source"]
    lengths = np.diff([*source.episode_starts, len(source)])
    count = len(part.episode_starts)
    assert np.array_equal(np.diff([*part.episode_starts, len(part)])[1:], lengths[len(lengths) - count + 1 :])
    tail = len(part) - (part.episode_starts[1] if count > 1 else len(part))
    assert np.array_equal(part.obs[len(part) - tail :], source.obs[len(source) - tail :])
    first = source.episode_starts[len(lengths) - count]
    cut = len(part) - tail
    assert np.array_equal(part.obs[:cut], source.obs[first : first + cut])
    assert part.truncated[cut - 1]
    assert np.array_equal(part.uncertainty[cut:], source.uncertainty[len(source) - tail :])


def episodes(*lengths: int, terminated: tuple[int, ...] = ()) -> TransferDataset:
    """Episodes whose obs are the row's number."""
    n, ends = sum(lengths), np.cumsum(lengths) - 1
    ids = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    last = np.isin(np.arange(n), ends)
    over = np.isin(ids, terminated) & last
    column = np.arange(n, dtype=np.float32)[:, None]
    zeros = np.zeros(n, np.float32)
    return TransferDataset(column, column * 0, column + 1, zeros, over, last & ~over, ids, zeros)


@pytest.mark.parametrize(
    ("order", "count", "rows"),
    [
        ((2, 1, 0), 4, (3, 6, 7, 8)),
        ((2, 1, 0), 3, (6, 7, 8)),
        ((0, 2, 1), 5, (0, 1, 2, 6, 7)),
        ((1, 0, 2), 1, (3,)),
        ((1, 0, 2), 99, tuple(range(9))),
    ],
)
def test_rows_are_taken_by_whole_episodes_until_there_are_enough(order, count, rows):
    data = episodes(3, 3, 3, terminated=(1,))
    part = taken(data, np.array(order), count)
    part.validate()
    assert part.obs[:, 0].tolist() == list(rows)
    assert part.episode_id[0] == 0
    assert len(part.episode_starts) == part.episode_id[-1] + 1
    assert (part.terminated == (part.obs[:, 0] == 5)).all()
    assert np.array_equal(data.truncated, episodes(3, 3, 3, terminated=(1,)).truncated)


def test_parts_that_cannot_be_filled_say_how_many_rows_are_missing():
    config = small_config("executed", filter_rule="none", n_trajectories=60, trajectory_steps=20, source_steps=1390)
    generated = builder(config).run(silent)
    entry = generated.card["parts"]["source"]
    assert entry["rows"] == len(generated.source) == 190
    assert entry["missing_rows"] == 1200 - 190
    assert generated.card["parts"]["unfiltered"]["missing_rows"] == 0


class Shifted:
    """A policy whose actions tell of the observation and of the generator."""

    def act(self, obs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.rand(len(obs), 2, generator=generator)
        return (obs[:, :2] + noise).clamp(-1, 1)


def test_a_policy_is_rolled_out_from_the_candidates_starts_without_noise_of_the_planner(reacher):
    starts = reacher.starts(6, noise=0.5)
    pilot = PolicyPilot(reacher.model, Shifted(), torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    arguments = (reacher.task, starts, 5, np.inf, np.random.default_rng(2), nothing)
    rollouts = policy_rollouts(pilot, *arguments)
    assert (rollouts.steps == 5).all()
    first = rollouts.data.episode_starts
    assert np.array_equal(rollouts.data.obs[first], starts.obs)
    drawn = torch.rand(6, 2, generator=torch.Generator().manual_seed(3)).numpy()
    assert np.allclose(rollouts.data.action[first], np.clip(starts.obs[:, :2] + drawn, -1, 1), atol=1e-6)
    rollouts.data.validate(reacher.task)


def test_a_policys_rollouts_end_at_the_hard_stop(reacher):
    def roll(hard_stop: float):
        pilot = PolicyPilot(reacher.model, Shifted(), torch.Generator().manual_seed(3))  # type: ignore[arg-type]
        starts: Starts = reacher.starts(6)
        return policy_rollouts(pilot, reacher.task, starts, 5, hard_stop, np.random.default_rng(2), nothing)

    bound = float(np.median(roll(np.inf).data.uncertainty))
    assert roll(bound).data.uncertainty.max() <= bound
    assert roll(bound).steps.sum() < 30
