"""The transfer dataset: validated, hashed, stored atomically, relabelled exactly."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from suites.tasks import make_task
from wombet.dataset import TransferDataset, load_card, load_dataset, load_source, part_names
from wombet.errors import InputError


def collect(episodes: int = 3, steps: int = 6) -> TransferDataset:
    """Random episodes of reacher's source task."""
    task = make_task("reacher", horizon=steps)
    env = task.make_env()
    generator = np.random.default_rng(0)
    rows: dict[str, list] = {name: [] for name in ("obs", "action", "next_obs", "truncated", "episode_id")}
    for episode in range(episodes):
        obs, _ = env.reset(seed=episode)
        for _ in range(steps):
            action = generator.uniform(-1, 1, task.action_dim).astype(np.float32)
            next_obs, _, _, truncated, _ = env.step(action)
            for name, value in zip(rows, (obs, action, next_obs, truncated, episode), strict=True):
                rows[name].append(value)
            obs = next_obs
    arrays = {name: np.asarray(values) for name, values in rows.items()}
    reward, terminated = task.relabel(arrays["obs"], arrays["action"], arrays["next_obs"])
    arrays["episode_id"] = arrays["episode_id"].astype(np.int32)
    return TransferDataset(
        **arrays, reward_source=reward, terminated=terminated, uncertainty=generator.random(len(reward), np.float32)
    )


@pytest.fixture(scope="module")
def dataset() -> TransferDataset:
    return collect()


def test_saved_and_loaded_it_is_the_same_and_the_same_rows_give_the_same_bytes(
    dataset: TransferDataset, tmp_path: Path
) -> None:
    dataset.save(tmp_path / "a")
    dataset.save(tmp_path / "b")
    loaded = load_dataset(tmp_path / "a")
    for name, column in dataset.columns().items():
        assert np.array_equal(getattr(loaded, name), column)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 9
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_relabelled_rows_carry_the_targets_reward_and_leave_the_sources(dataset: TransferDataset) -> None:
    target = make_task("reacher", "far")
    relabelled = dataset.relabel(target)
    assert np.array_equal(relabelled.reward_target, target.relabel(dataset.obs, dataset.action, dataset.next_obs)[0])
    assert np.array_equal(relabelled.reward_source, dataset.reward_source)
    assert not np.array_equal(relabelled.reward_target, dataset.reward_source)


def test_returns_are_sums_over_episodes(dataset: TransferDataset) -> None:
    by_hand = [dataset.reward_source[dataset.episode_id == e].astype(np.float64).sum() for e in range(3)]
    assert np.allclose(dataset.episode_sums(dataset.reward_source), by_hand, rtol=1e-12)


@pytest.mark.parametrize("damage", ["truncate", "change", "remove"])
def test_a_damaged_column_is_named(dataset: TransferDataset, tmp_path: Path, damage: str) -> None:
    dataset.save(tmp_path)
    file = tmp_path / "data" / "reward_source.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(bytes(data) if damage == "change" else bytes(data[:-4]))
    with pytest.raises(InputError, match=r"reward_source\.npy"):
        load_dataset(tmp_path)


@pytest.fixture
def stored(dataset: TransferDataset, tmp_path: Path) -> Path:
    """A dataset with two parts for controls and the source rows."""
    card = {"parts": {"accepted": {"episodes": 3}, "source": {"missing_rows": 6}}}
    parts = {"source": collect(2), "unfiltered": collect(3, 5)}
    dataclasses.replace(dataset, card=card).save(tmp_path, parts, collect(4))
    return tmp_path


def test_parts_and_source_rows_are_stored_beside_the_accepted_ones(dataset: TransferDataset, stored: Path) -> None:
    card = load_card(stored)
    assert part_names(card) == ["accepted", "source", "unfiltered"]
    for part, rows in (("accepted", dataset), ("source", collect(2)), ("unfiltered", collect(3, 5))):
        loaded = load_dataset(stored, part)
        assert all(np.array_equal(getattr(loaded, name), column) for name, column in rows.columns().items())
        assert loaded.card == card
        assert card["parts"][part]["rows"] == len(rows)
    assert card["parts"]["source"]["missing_rows"] == 6
    assert set(card) == {"format", "rows", "columns", "sha256", "parts", "source"}
    assert (card["rows"], card["columns"]) == (len(dataset), card["parts"]["accepted"]["columns"])
    assert np.array_equal(load_source(stored).obs, collect(4).obs)


def test_a_part_that_is_not_there_is_answered_with_the_nearest(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no part 'unfilterd'; did you mean 'unfiltered'"):
        load_dataset(stored, "unfilterd")
    with pytest.raises(InputError, match=r"no part 'policy'; .* \(there are: accepted, source, unfiltered\)"):
        load_dataset(stored, "policy")


@pytest.mark.parametrize("place", ["parts/unfiltered", "source"])
def test_damage_to_a_part_is_named_and_leaves_the_others(stored: Path, place: str) -> None:
    (stored / place / "obs.npy").write_bytes(b"")
    with pytest.raises(InputError, match=f"{place}/obs.npy is truncated or was changed"):
        load_source(stored) if place == "source" else load_dataset(stored, "unfiltered")
    load_dataset(stored)
    load_dataset(stored, "source")


def test_a_dataset_without_source_rows_says_so(dataset: TransferDataset, tmp_path: Path) -> None:
    dataset.save(tmp_path)
    with pytest.raises(InputError, match="holds no source rows"):
        load_source(tmp_path)


def test_a_folder_without_a_card_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no card\.json"):
        load_dataset(tmp_path)


def test_rows_of_another_task_are_refused(dataset: TransferDataset) -> None:
    dataset.validate(make_task("reacher"))
    with pytest.raises(InputError, match="belongs to another task"):
        dataset.validate(make_task("reacher", "far"))
    with pytest.raises(InputError, match="same family"):
        dataset.relabel(make_task("cartpole"))


def broken(dataset: TransferDataset, name: str, row: int, value: object) -> TransferDataset:
    column = getattr(dataset, name).copy()
    column[row] = value
    return dataclasses.replace(dataset, **{name: column})


@pytest.mark.parametrize(
    ("name", "row", "value", "sentence"),
    [
        ("next_obs", 2, 7.0, "following row's obs"),
        ("truncated", 5, False, "row 5"),
        ("terminated", 2, True, "row 2"),
        ("terminated", 5, True, "at once"),
        ("obs", 4, np.nan, "not finite in row 4"),
        ("action", 4, 1.5, "in \\[-1, 1\\]"),
        ("uncertainty", 4, -1.0, "negative"),
        ("episode_id", 0, 2, "decreases"),
    ],
)
def test_inconsistent_rows_are_refused_with_a_sentence(
    dataset: TransferDataset, name: str, row: int, value: object, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        broken(dataset, name, row, value).validate()


def test_wrong_types_and_lengths_are_refused(dataset: TransferDataset) -> None:
    with pytest.raises(InputError, match="float64"):
        dataclasses.replace(dataset, reward_source=dataset.reward_source.astype(np.float64)).validate()
    with pytest.raises(InputError, match="shape"):
        dataclasses.replace(dataset, uncertainty=dataset.uncertainty[:-1]).validate()
