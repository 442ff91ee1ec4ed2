"""Transfer datasets as Minari datasets and back: rows and files, without a store."""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suites.plausible import check_labels, check_sizes, place
from suites.tasks.task import Task
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.files import canonical_json, sha256, sync_folder, write_atomically

if TYPE_CHECKING:
    from minari import EpisodeData, MinariDataset
    from minari.data_collector import EpisodeBuffer

NAME = re.compile(r"([-_\w]+/)*[-_\w]+-v\d+")
CARD_KEY = "wombet_card"
"""Entry of the Minari metadata that holds the transfer dataset's card."""

COLUMNS: dict[str, type[np.generic]] = {
    "observations": np.float32,
    "actions": np.float32,
    "rewards": np.float64,
    "terminations": np.bool_,
    "truncations": np.bool_,
}
"""What an episode has of a Minari dataset, and as what it is read."""

DESCRIPTION = (
    "Rows of the transfer dataset {id} with the rewards of {task}. infos/uncertainty[t + 1] is the epistemic "
    "uncertainty of step t (entry 0 is NaN, as a reset has none); infos/sim_state[t], where there is one, is "
    "(qpos, qvel) at observation t (the last is NaN)."
)


@dataclass(frozen=True)
class Ends:
    """How the episodes of a foreign dataset ended, where that had to be settled.

    `without_flag` episodes had neither flag: `without_flag_terminated` of them end in a terminal state of the task, and
    the others are marked truncated. `with_both` had both flags, which is here a termination.
    """

    without_flag: int
    without_flag_terminated: int
    with_both: int


def minari_root() -> Path:
    """Return the folder in which Minari keeps datasets by name."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given) if given else Path.home() / ".minari" / "datasets"


def content_digits(dataset: TransferDataset, horizon: int, source_fingerprint: str) -> str:
    """Return 12 hexadecimal digits that change with every stored row, and with the source task the rows are read as."""
    columns = {
        name: [list(column.shape), sha256(np.ascontiguousarray(column).tobytes())]
        for name, column in dataset.columns().items()
    }
    content = {"columns": columns, "horizon": horizon, "source_fingerprint": source_fingerprint}
    return sha256(canonical_json(content))[:12]


def check_free(root: Path, name: str) -> Path:
    """Return the folder that a dataset would have; raises InputError for a name that is taken or cannot be one."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"Minari cannot take the name {name!r}; a name is letters, digits, - and _, with a version at its end and "
            f"/ between namespaces, as in wombet/reacher-v0"
        )
    folder = root / name
    if folder.exists():
        raise InputError(f"{folder} exists, and nothing is overwritten; choose another --minari-name or --out")
    return folder


def export_dataset(dataset: TransferDataset, task: Task, dataset_id: str, root: Path, name: str) -> Path:
    """Write every row, labelled by `task`, as the Minari dataset `name` under `root`; returns its folder.

    The folder appears whole or not at all. Observations of an episode of T steps are (T + 1, obs_dim), the last
    next_obs included. Raises InputError for a name that Minari cannot take, and for one that is taken.
    """
    # Minari's storage adds up file sizes wrongly under a relative path, and then fails.
    root = root.absolute()
    folder = check_free(root, name)
    labelled = dataset.relabel(task)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        made = staging / "made"
        (made / "data").mkdir(parents=True)
        _write(made / "data", labelled, task, dataset_id, name)
        for path in (made / "data").iterdir():
            _sync(path)
        sync_folder(made / "data")
        # Not os.replace on a taken name: renaming onto a folder with content fails, so nothing is ever overwritten.
        os.rename(made, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _declare_namespaces(root, name)
    return folder


def open_minari(where: str) -> "MinariDataset":
    """Open a Minari dataset by its folder or by its local name, without downloading anything.

    Raises InputError if there is none, or if it cannot be read.
    """
    from minari import MinariDataset

    found = [Path(where) / "data", Path(where), minari_root() / where / "data"]
    data = next((path for path in found if (path / "metadata.json").is_file()), None)
    if data is None:
        raise InputError(
            f"there is no Minari dataset {where!r}, neither as a folder nor by name in {minari_root()}; "
            f"`minari download {where}` fetches a published one"
        )
    try:
        metadata = json.loads((data / "metadata.json").read_bytes())
        # Without them Minari would make the environment that the file names, to ask it.
        _ = metadata["observation_space"], metadata["action_space"]
        return MinariDataset(data)
    except Exception as error:
        raise _unreadable(data, error) from error


def rows_of(minari: "MinariDataset", source: Task) -> tuple[TransferDataset, NDArray[np.float64], Ends]:
    """Return a Minari dataset's rows with `source`'s rewards, the original rewards (N,), and how episodes ended.

    Uncertainties are zero and there are no simulator states. Raises InputError, naming the episode, unless every row
    fits the family: shapes, finite numbers of plausible size, actions in [-1, 1], flags at the end of an episode only,
    and terminations that are the task's.
    """
    _check_space("observation", minari.observation_space, source.obs_dim, None, source)
    _check_space("action", minari.action_space, source.action_dim, 1.0, source)
    parts = [_episode_rows(episode, source) for episode in _episodes(minari)]
    if not parts:
        raise InputError(f"the Minari dataset {minari.id} has no episodes")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    steps = np.array([len(part["action"]) for part in parts])
    check_sizes(joined["obs"], joined["next_obs"], steps)
    reward, terminal = source.relabel(joined["obs"], joined["action"], joined["next_obs"])
    check_labels(reward, source, steps)
    terminated, truncated, ends = _settle_ends(joined["terminated"], joined["truncated"], terminal, steps)
    _check_terminations(terminated, terminal, steps, source)
    dataset = TransferDataset(
        obs=joined["obs"],
        action=joined["action"],
        next_obs=joined["next_obs"],
        reward_source=reward,
        terminated=terminated,
        truncated=truncated,
        episode_id=np.repeat(np.arange(len(steps), dtype=np.int32), steps),
        uncertainty=np.zeros(len(reward), np.float32),
    )
    return dataset, joined["reward"], ends


def _declare_namespaces(root: Path, name: str) -> None:
    """Minari lists a folder as a namespace by this file."""
    for parent in list(Path(name).parents)[:-1]:
        path = root / parent / "namespace_metadata.json"
        if not path.exists():
            write_atomically(path, "{}")


def _write(folder: Path, labelled: TransferDataset, task: Task, dataset_id: str, name: str) -> None:
    from minari.dataset.minari_storage import MinariStorage

    # The storage itself rather than `create_dataset_from_buffers`, which can only write in place.
    env = task.make_env()
    storage = MinariStorage.new(folder, env.observation_space, env.action_space, env.spec)
    env.close()
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": version("minari"),
            "algorithm_name": "wombet",
            "description": DESCRIPTION.format(id=dataset_id, task=task.id),
            "requirements": [f"{package}=={version(package)}" for package in ("wombet", "mujoco")],
            CARD_KEY: labelled.card,
        }
    )
    storage.update_episodes(_buffers(labelled))


def _buffers(labelled: TransferDataset) -> "Iterator[EpisodeBuffer]":
    from minari.data_collector import EpisodeBuffer

    reward, terminated = labelled.reward_target, labelled.terminated_target
    assert reward is not None
    assert terminated is not None
    for first, end in pairwise([*labelled.episode_starts.tolist(), len(labelled)]):
        rows = slice(first, end)
        infos = {"uncertainty": np.concatenate([[np.float32(np.nan)], labelled.uncertainty[rows]])}
        if labelled.sim_state is not None:
            states = labelled.sim_state[rows]
            infos["sim_state"] = np.concatenate([states, np.full_like(states[:1], np.nan)])
        yield EpisodeBuffer(
            observations=np.concatenate([labelled.obs[rows], labelled.next_obs[end - 1 : end]]),
            actions=labelled.action[rows],
            rewards=reward[rows],
            terminations=terminated[rows],
            truncations=labelled.truncated[rows],
            infos=infos,
        )


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _check_space(what: str, space: Any, size: int, bound: float | None, task: Task) -> None:
    from gymnasium.spaces import Box

    fits = isinstance(space, Box) and space.shape == (size,)
    # Other bounds are other units: 0.4 of an action space of 0.4 is full torque, and 0.4 here is not.
    fits = fits and (bound is None or bool(np.all(space.low == -bound) and np.all(space.high == bound)))
    if not fits:
        within = "" if bound is None else f" within [-{bound:g}, {bound:g}]"
        shown = " ".join(str(space).split())
        raise InputError(
            f"the dataset's {what} space is {shown}, and {what}s of family {task.family} are {size} numbers{within}; "
            f"record the data in this family's environment, or choose another --family"
        )


def _episodes(minari: "MinariDataset") -> "Iterator[EpisodeData]":
    try:
        yield from minari.iterate_episodes()
    except Exception as error:  # h5py has many names for one damaged file
        raise _unreadable(Path(minari.storage.data_path), error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or "no reason given"
    return InputError(f"{path} cannot be read as a Minari dataset ({type(error).__name__}: {reason})")


def _episode_rows(episode: "EpisodeData", task: Task) -> dict[str, NDArray[Any]]:
    where = f"episode {episode.id} of the Minari dataset"
    columns = {name: _numbers(getattr(episode, name), kind, name, where) for name, kind in COLUMNS.items()}
    observations, actions, rewards, terminated, truncated = columns.values()
    steps = _steps(columns)
    entries = {"observations": (steps + 1, task.obs_dim), "actions": (steps, task.action_dim)}
    for name, values in columns.items():
        wanted = entries.get(name, (steps,))
        if values.shape != wanted:
            raise InputError(f"{where} has {name} of shape {values.shape}; with {steps} steps they have {wanted}")
        # Rewards are replaced, so that theirs are not looked at.
        if name in ("observations", "actions") and not np.isfinite(values).all():
            raise InputError(f"{where} has {name} that are not finite numbers; leave that episode out")
    if np.abs(actions).max(initial=0) > 1:
        raise InputError(f"{where} has an action of {np.abs(actions).max():g}; actions lie within [-1, 1]")
    inner = np.flatnonzero((terminated | truncated)[:-1])
    if len(inner):
        raise InputError(f"{where} goes on after step {inner[0]}, where it ended; split it into two episodes there")
    return {
        "obs": observations[:-1],
        "action": actions,
        "next_obs": observations[1:],
        "reward": rewards,
        "terminated": terminated,
        "truncated": truncated,
    }


def _numbers(values: Any, kind: type[np.generic], name: str, where: str) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            return np.asarray(values, kind)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} has {name} that are not numbers; store them as numbers") from error


def _steps(columns: dict[str, NDArray[Any]]) -> int:
    """How many steps an episode has by most of its columns, so that the one that disagrees is named."""
    told = Counter(len(np.atleast_1d(values)) - (name == "observations") for name, values in columns.items())
    return told.most_common(1)[0][0]


def _settle_ends(
    terminated: NDArray[np.bool_], truncated: NDArray[np.bool_], terminal: NDArray[np.bool_], steps: NDArray[np.int_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Ends]:
    last = np.zeros(len(terminal), bool)
    last[np.cumsum(steps) - 1] = True
    open_end = last & ~terminated & ~truncated
    ends = Ends(
        without_flag=int(open_end.sum()),
        without_flag_terminated=int((open_end & terminal).sum()),
        with_both=int((terminated & truncated).sum()),
    )
    settled = terminated | (open_end & terminal)
    return settled, (truncated | open_end) & ~settled, ends


def _check_terminations(
    terminated: NDArray[np.bool_], terminal: NDArray[np.bool_], steps: NDArray[np.int_], source: Task
) -> None:
    wrong = np.flatnonzero(terminated != terminal)
    if not len(wrong):
        return
    row = int(wrong[0])
    episode, step = place(row, steps)
    found, right = ("ends", "does not") if terminated[row] else ("does not end", "does")
    raise InputError(
        f"episode {episode} of the Minari dataset {found} by termination at step {step}, and in {source.id} it "
        f"{right}; these are data of another task"
    )
