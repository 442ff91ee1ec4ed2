"""Minari datasets out of a store and into one: every row the same, every label exact, whatever does not fit refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest

from suites.commands import exchange
from suites.exchange import export_dataset
from suites.imported import import_dataset
from suites.plausible import one_step_error
from suites.store import Store
from suites.tasks import make_task, registry
from suites.tasks.task import Task
from tests.suites.recordings import HOPPER_HORIZON, HORIZON, Episode, contents, publish, recorded
from wombet.dataset import TransferDataset, load_dataset
from wombet.errors import InputError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps datasets during a test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture(scope="module")
def close() -> Task:
    return make_task("reacher", "close", "both", HORIZON)


@pytest.fixture(scope="module")
def source() -> Task:
    return make_task("reacher", "source", "both", HORIZON)


@pytest.fixture(scope="module")
def falling() -> Task:
    """A task whose episodes end by termination."""
    return make_task("hopper", "source", "both", HOPPER_HORIZON)


@pytest.fixture
def rows(source: Task) -> TransferDataset:
    """A transfer dataset of real rows with made-up uncertainties and a card."""
    episodes, generator = recorded(source, 3), np.random.default_rng(9)
    joined = {name: np.concatenate([episode[name] for episode in episodes]) for name in episodes[0]}
    dataset = TransferDataset(
        obs=np.concatenate([episode["observations"][:-1] for episode in episodes]),
        action=joined["actions"],
        next_obs=np.concatenate([episode["observations"][1:] for episode in episodes]),
        reward_source=joined["rewards"].astype(np.float32),
        terminated=joined["terminations"],
        truncated=joined["truncations"],
        episode_id=np.repeat(np.arange(3, dtype=np.int32), HORIZON),
        uncertainty=generator.random(3 * HORIZON).astype(np.float32),
        sim_state=joined["sim_state"],
        card={"made": "for a test", "numbers": [1, 2.5, None]},
    )
    dataset.validate(source)
    return dataset


def read_back(name: str) -> dict[str, np.ndarray]:
    """All rows that Minari gives, joined, next observations taken from the following observation."""
    episodes = list(minari.load_dataset(name))
    return {
        "obs": np.concatenate([episode.observations[:-1] for episode in episodes]),
        "next_obs": np.concatenate([episode.observations[1:] for episode in episodes]),
        "action": np.concatenate([episode.actions for episode in episodes]),
        "reward": np.concatenate([episode.rewards for episode in episodes]),
        "terminated": np.concatenate([episode.terminations for episode in episodes]),
        "truncated": np.concatenate([episode.truncations for episode in episodes]),
        "uncertainty": np.concatenate([episode.infos["uncertainty"][1:] for episode in episodes]),
        "sim_state": np.concatenate([episode.infos["sim_state"][:-1] for episode in episodes]),
        "episode_id": np.repeat(np.arange(len(episodes)), [len(episode) for episode in episodes]),
    }


# Export


def test_every_exported_row_is_bit_for_bit_the_stored_one(rows: TransferDataset, source: Task, root: Path) -> None:
    folder = export_dataset(rows, source, "reacher-0123456789ab", root, "wombet/rows-v0")
    assert folder == root / "wombet" / "rows-v0"
    found = read_back("wombet/rows-v0")
    for name, column in {**rows.columns(), "reward": rows.reward_source}.items():
        if name != "reward_source":
            assert np.array_equal(found[name], column), name
            assert name == "episode_id" or found[name].dtype == column.dtype
    metadata = minari.load_dataset("wombet/rows-v0").storage.metadata
    assert metadata["wombet_card"] == rows.card
    assert minari.namespace.list_local_namespaces() == ["wombet"]
    assert list(minari.list_local_datasets()) == ["wombet/rows-v0"]


def test_exported_infos_have_one_entry_more_than_there_are_steps(
    rows: TransferDataset, source: Task, root: Path
) -> None:
    export_dataset(rows, source, "x", root, "rows-v0")
    infos = minari.load_dataset("rows-v0")[0].infos
    assert infos["uncertainty"].shape == (HORIZON + 1,)
    assert np.isnan(infos["uncertainty"][0])
    assert np.isnan(infos["sim_state"][-1]).all()


def test_rewards_can_be_those_of_a_target(rows: TransferDataset, close: Task, root: Path) -> None:
    export_dataset(rows, close, "x", root, "rows-v0")
    expected, _ = close.relabel(rows.obs, rows.action, rows.next_obs)
    assert np.array_equal(read_back("rows-v0")["reward"], expected)
    assert not np.array_equal(expected, rows.reward_source)


def test_the_environment_can_be_recovered_from_an_export(rows: TransferDataset, source: Task, root: Path) -> None:
    export_dataset(rows, source, "x", root, "rows-v0")
    env = minari.load_dataset("rows-v0").recover_environment()
    env.reset(seed=0)
    assert env.unwrapped.task == source


def test_nothing_is_overwritten(rows: TransferDataset, source: Task, root: Path) -> None:
    export_dataset(rows, source, "x", root, "rows-v0")
    before = contents(root)
    with pytest.raises(InputError, match=r"rows-v0 exists, and nothing is overwritten; choose another --minari-name"):
        export_dataset(rows, source, "x", root, "rows-v0")
    assert contents(root) == before


@pytest.mark.parametrize("name", ["rows", "../rows-v0", "/rows-v0", "a/../rows-v0", "rows-v", "ro ws-v0", ""])
def test_a_name_that_minari_cannot_take_is_refused(rows: TransferDataset, source: Task, root: Path, name: str) -> None:
    with pytest.raises(InputError, match="Minari cannot take the name"):
        export_dataset(rows, source, "x", root, name)
    assert not root.exists()


def test_an_export_that_fails_leaves_no_dataset(
    rows: TransferDataset, source: Task, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("suites.exchange._sync", fail)
    with pytest.raises(OSError, match="no space left"):
        export_dataset(rows, source, "x", root, "rows-v0")
    assert list(root.iterdir()) == []


# Import


def test_imported_rows_are_the_recorded_ones_with_the_sources_rewards(
    close: Task, source: Task, tmp_path: Path
) -> None:
    episodes = recorded(close, 3)
    found = import_dataset(
        publish("theirs-v0", episodes, close), "reacher", Store(tmp_path / "store"), level="close", horizon=HORIZON
    )
    dataset = load_dataset(tmp_path / "store" / "datasets" / found.recipe.id)
    assert np.array_equal(dataset.obs, np.concatenate([episode["observations"][:-1] for episode in episodes]))
    assert np.array_equal(dataset.next_obs, np.concatenate([episode["observations"][1:] for episode in episodes]))
    assert np.array_equal(dataset.action, np.concatenate([episode["actions"] for episode in episodes]))
    assert np.array_equal(dataset.truncated, np.concatenate([episode["truncations"] for episode in episodes]))
    assert not dataset.uncertainty.any()
    rewards = np.concatenate([replayed_rewards(episode, source) for episode in episodes])
    assert np.array_equal(dataset.reward_source, rewards)
    origin = found.card["imported"]
    originals = np.concatenate([episode["rewards"] for episode in episodes]).astype(np.float32)
    assert origin["rewards"] == {
        "replaced_by": "reacher/source",
        "differ": {"reacher/source": int((originals != rewards).sum()), "reacher/close": 0},
    }
    assert origin["rewards"]["differ"]["reacher/source"] > 0
    assert found.card["source_steps"]["total"] == 3 * HORIZON
    assert origin["name"] == "theirs-v0"
    assert origin["one_step_error"] < 1e-3


def replayed_rewards(episode: Episode, task: Task) -> np.ndarray:
    """What an environment of `task` pays along an episode of another task of the family."""
    env = task.make_env()
    env.set_sim_state(episode["sim_state"][0])
    return np.array([env.step(action)[1] for action in episode["actions"]], np.float32)


def test_an_export_is_imported_again_with_the_same_rows(
    rows: TransferDataset, source: Task, root: Path, tmp_path: Path
) -> None:
    export_dataset(rows, source, "x", root, "rows-v0")
    found = import_dataset(str(root / "rows-v0"), "reacher", Store(tmp_path / "store"), horizon=HORIZON)
    again = load_dataset(tmp_path / "store" / "datasets" / found.recipe.id)
    for name in ("obs", "action", "next_obs", "reward_source", "terminated", "truncated", "episode_id"):
        assert np.array_equal(getattr(again, name), getattr(rows, name)), name
    assert found.card["imported"]["rewards"]["differ"] == {"reacher/source": 0}


def test_ends_without_a_flag_are_settled_and_counted(falling: Task, tmp_path: Path) -> None:
    whole, forgot, cut, both = recorded(falling, 4)
    assert all(episode["terminations"][-1] for episode in (whole, forgot, cut, both))
    forgot["terminations"][-1] = False
    cut = {name: values[:-2] for name, values in cut.items()}
    both["truncations"][-1] = True
    name = publish("ends-v0", [whole, forgot, cut, both], falling)
    found = import_dataset(name, "hopper", Store(tmp_path / "store"), horizon=HOPPER_HORIZON)
    assert found.card["imported"]["ends"] == {"without_flag": 2, "without_flag_terminated": 1, "with_both": 1}
    dataset = load_dataset(tmp_path / "store" / "datasets" / found.recipe.id)
    last = np.append(dataset.episode_starts[1:], len(dataset)) - 1
    assert dataset.terminated[last].tolist() == [True, True, False, True]
    assert dataset.truncated[last].tolist() == [False, False, True, False]
    assert len(dataset) == sum(len(episode["actions"]) for episode in (whole, forgot, cut, both))


def spoil_action(episode: Episode) -> Episode:
    episode["actions"][3, 0] = 1.5
    return episode


def spoil_observation(episode: Episode) -> Episode:
    episode["observations"][3, 0] = np.nan
    return episode


def absurd(value: float, entry: int, at: int) -> Callable[[Episode], Episode]:
    def spoil(episode: Episode) -> Episode:
        episode["observations"][at, entry] = value
        return episode

    return spoil


def shorter(column: str) -> Callable[[Episode], Episode]:
    return lambda episode: {**episode, column: episode[column][:-1]}


def spoil_end(episode: Episode) -> Episode:
    episode["truncations"][3] = True
    return episode


def invent_termination(episode: Episode) -> Episode:
    episode["terminations"][-1] = True
    return episode


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_action, r"episode 1 .* has an action of 1.5; actions lie within \[-1, 1\]"),
        (spoil_observation, "episode 1 .* has observations that are not finite numbers"),
        (spoil_end, "episode 1 .* goes on after step 3, where it ended"),
        (invent_termination, "episode 1 .* ends by termination at step 19, and in reacher/source it does not"),
        (absurd(1e30, 0, 3), r"step 3 of episode 1 .* begins with 1e\+30 in entry 0 of the observation, where half"),
        (absurd(-1e6, 4, HORIZON), r"step 19 of episode 1 .* ends with -1e\+06 in entry 4 .*; leave that episode out"),
        (shorter("observations"), r"observations of shape \(20, 8\); with 20 steps they have \(21, 8\)"),
        (shorter("actions"), r"actions of shape \(19, 2\); with 20 steps they have \(20, 2\)"),
        (shorter("rewards"), r"rewards of shape \(19,\); with 20 steps they have \(20,\)"),
        (shorter("truncations"), r"truncations of shape \(19,\); with 20 steps they have \(20,\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(
    close: Task, tmp_path: Path, spoil: Callable[[Episode], Episode], sentence: str
) -> None:
    first, second = recorded(close, 2)
    name = publish("bad-v0", [first, spoil(second)], close)
    with pytest.raises(InputError, match=sentence) as caught:
        import_dataset(name, "reacher", Store(tmp_path / "store"), horizon=HORIZON)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_data_of_a_task_with_other_terminations_are_refused(falling: Task, tmp_path: Path) -> None:
    (episode,) = recorded(falling, 1)
    episode["terminations"][-1], episode["truncations"][-1] = False, True
    with pytest.raises(InputError, match=r"does not end by termination at step .*, and in hopper/source it does"):
        import_dataset(publish("other-v0", [episode], falling), "hopper", Store(tmp_path), horizon=HOPPER_HORIZON)


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("hopper", {}, "observations of family hopper are 12 numbers;"),
        ("reacher", {"action_space": gym.spaces.Box(-2, 2, (2,), np.float32)}, r"are 2 numbers within \[-1, 1\]"),
        ("reacher", {"action_space": gym.spaces.Discrete(2)}, "the dataset's action space is Discrete"),
        ("racher", {}, "did you mean 'reacher'"),
    ],
)
def test_spaces_of_another_family_are_refused(
    close: Task, tmp_path: Path, family: str, changes: dict[str, Any], sentence: str
) -> None:
    name = publish("spaces-v0", recorded(close, 1), close, **changes)
    with pytest.raises(InputError, match=sentence):
        import_dataset(name, family, Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("main_data.hdf5", lambda data: data[: len(data) // 2]),
        ("main_data.hdf5", lambda data: b"heap".join(data.rsplit(b"HEAP", 1))),
        ("metadata.json", lambda data: data[:-5]),
        ("metadata.json", lambda data: json.dumps({**json.loads(data), "minari_version": "9.9"}).encode()),
        ("metadata.json", lambda data: data.replace(b"action_space", b"action_spade")),
    ],
)
def test_a_damaged_dataset_is_refused(
    close: Task, root: Path, tmp_path: Path, file: str, change: Callable[[bytes], bytes]
) -> None:
    publish("damaged-v0", recorded(close, 2), close)
    path = root / "damaged-v0" / "data" / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match="cannot be read as a Minari dataset") as caught:
        import_dataset("damaged-v0", "reacher", Store(tmp_path / "store"), horizon=HORIZON)
    assert "\n" not in str(caught.value)


def test_actions_that_are_texts_are_refused(close: Task, root: Path, tmp_path: Path) -> None:
    publish("texts-v0", recorded(close, 2), close)
    with h5py.File(root / "texts-v0" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1"]["actions"]
        file["episode_1"].create_dataset("actions", data=np.array([b"left"] * HORIZON))
    with pytest.raises(InputError, match=r"^episode 1 of the Minari dataset has actions that are not numbers"):
        import_dataset("texts-v0", "reacher", Store(tmp_path / "store"), horizon=HORIZON)


def test_no_environment_is_made_to_learn_a_datasets_spaces(
    rows: TransferDataset, source: Task, root: Path, tmp_path: Path
) -> None:
    path = export_dataset(rows, source, "x", root, "rows-v0") / "data" / "metadata.json"
    metadata = json.loads(path.read_bytes())
    assert "suites.tasks.env:TaskEnv" in metadata["env_spec"]
    del metadata["observation_space"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"cannot be read as a Minari dataset .*observation_space"):
        import_dataset("rows-v0", "reacher", Store(tmp_path / "store"), horizon=HORIZON)


def test_a_dataset_that_is_not_there_is_not_downloaded(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match=r"no Minari dataset 'D4RL/pen/human-v2', .* `minari download"):
        import_dataset("D4RL/pen/human-v2", "reacher", Store(tmp_path / "store"))
    assert not root.exists()


def test_observations_of_another_meaning_show_in_the_one_step_error(rows: TransferDataset, source: Task) -> None:
    assert one_step_error(rows, source) < 1e-3
    reversed_ = dataclasses.replace(rows, obs=rows.obs[:, ::-1].copy(), next_obs=rows.next_obs[:, ::-1].copy())
    assert one_step_error(reversed_, source) > exchange.SUSPICIOUS_ERROR


def test_one_row_that_changes_much_does_not_hide_observations_of_another_meaning(
    rows: TransferDataset, source: Task
) -> None:
    obs, next_obs = rows.obs[:, ::-1].copy(), rows.next_obs[:, ::-1].copy()
    next_obs[7], obs[8] = 900, 900
    assert one_step_error(dataclasses.replace(rows, obs=obs, next_obs=next_obs), source) > exchange.SUSPICIOUS_ERROR


def test_a_row_that_the_reward_or_the_simulator_cannot_take_is_named(
    close: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = recorded(close, 2)
    name = publish("bad-v0", [first, second], close)
    singular = second["observations"][4, 6]

    def unpaid(obs: Any, action: Any, next_obs: Any, **parameters: Any) -> Any:
        return np.where(obs[..., 6] == singular, np.nan, 0.0)

    def stateless(self: object, obs: Any) -> Any:
        return np.where((np.asarray(obs)[..., 6:7] == singular), np.nan, np.zeros((*np.shape(obs)[:-1], 8)))

    definition = make_task("reacher").definition
    with monkeypatch.context() as patched:
        patched.setitem(registry._families, "reacher", dataclasses.replace(definition, reward=unpaid))
        with pytest.raises(InputError, match=r"^step 4 of episode 1 .* has a reward of nan in reacher/source"):
            import_dataset(name, "reacher", Store(tmp_path / "store"), horizon=HORIZON)
    monkeypatch.setattr(type(definition.observation), "sim_state", stateless)
    with pytest.raises(InputError, match=r"^step 4 of episode 1 .* has no finite state in the simulator of reacher"):
        import_dataset(name, "reacher", Store(tmp_path / "store"), horizon=HORIZON)
    assert not (tmp_path / "store").exists()
