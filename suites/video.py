"""A film of a finished run's final policy in its target task, in an episode of the run's own last evaluation."""

import io
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.api import Adapter
from suites.problem import check_actions
from suites.spec import RunSpec
from suites.store import Store, read_rows
from suites.tasks.native import any_task
from wombet.errors import InputError
from wombet.streams import Streams

KINDS = (".gif", ".mp4")
MOST_PER_SECOND = 25
"""Frames per second at most; of a faster simulation every so many are kept."""
SIZES = (64, 480)

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """Frames (size, size, 3), how many are shown per second, and the return and length of the episode.

    `recorded` is the return that the last evaluation stored for the same episode, if it had so many.
    """

    frames: list[Frame]
    per_second: float
    total: float
    steps: int
    recorded: float | None


def find_run(name: str, store: Store) -> tuple[Path, Store]:
    """Return a run's folder and its store; `name` is the folder's path, or in the store its relative path or run id.

    Raises InputError if there is none, or more than one of the id.
    """
    path = Path(name)
    if (path / "spec.json").is_file():
        found = path.resolve()
        if found.parents[2].name != "runs":
            raise InputError(f"{path} is not the folder of a run in a store (STORE/runs/PAIR/METHOD/RUN)")
        return found, Store(found.parents[3])
    store.require()
    if (store.run_folder(name) / "spec.json").is_file():
        return store.run_folder(name), store
    matches = [folder for folder in sorted((store.root / "runs").glob("*/*/*")) if folder.name.endswith(f"-{name}")]
    if len(matches) == 1:
        return matches[0], store
    raise InputError(
        f"the store {store.root} has no run {name!r}; give a run's folder, such as a report lists under provenance"
    )


def check_video(path: Path, size: int) -> None:
    """Raise InputError for a file that cannot be written as a film, or a size out of range."""
    if path.suffix not in KINDS:
        raise InputError(f"{path} ends in {path.suffix or 'nothing'!r}; a video ends in {' or '.join(KINDS)}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"--size is {size}; it must be from {SIZES[0]} to {SIZES[1]} pixels")
    if path.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise InputError(
            f"{path} needs a video encoder that is not installed; `pip install imageio-ffmpeg`, or write a .gif"
        )


def film(spec: RunSpec, adapter: Adapter, folder: Path, episode: int, size: int) -> Film:
    """Play an episode of the last evaluation again and return its film.

    It begins in the same state; a policy that draws, or one that was evaluated on several episodes at once, may differ
    from the recorded return. Raises InputError if nothing can be drawn on this machine, MethodError for bad actions.
    """
    from PIL import Image

    rows = read_rows(folder / "evals.jsonl")
    streams = Streams(spec.seed).child("evaluation")
    generator = streams.numpy("acting", rows[-1]["evaluation"])
    pair = spec.pair
    task = any_task(pair.family, pair.level, pair.shift, pair.horizon)
    env = task.make_env(render_mode="rgb_array")
    try:
        obs = env.reset(seed=streams.integer("reset", episode))[0]
        rate = 1 / float(env.dt)
        stride = math.ceil(rate / MOST_PER_SECOND)
        frames, total, steps, over = [_drawn(env)], 0.0, 0, False
        while not over:
            action = adapter.act(obs[None], generator)
            check_actions(spec.method, action, (1, task.action_dim))
            obs, reward, terminated, truncated, _ = env.step(action[0])
            total, steps, over = total + reward, steps + 1, terminated or truncated
            if steps % stride == 0 or over:
                frames.append(_drawn(env))
    finally:
        env.close()
    small = [np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.LANCZOS)) for frame in frames]
    returns = rows[-1]["returns"]
    return Film(small, rate / stride, total, steps, returns[episode] if episode < len(returns) else None)


def encoded(made: Film, kind: str) -> bytes:
    """Return a film as the bytes of a .gif, which repeats, or an .mp4."""
    import imageio.v3 as iio

    buffer = io.BytesIO()
    how: dict[str, Any] = (
        {"duration": 1000 / made.per_second, "loop": 0} if kind == ".gif" else {"fps": made.per_second}
    )
    iio.imwrite(buffer, made.frames, extension=kind, **how)
    return buffer.getvalue()


def _drawn(env: Any) -> Frame:
    """Draw the state off screen; without a display, through EGL unless MUJOCO_GL says otherwise."""
    if not any(os.environ.get(name) for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")):
        os.environ["MUJOCO_GL"] = "egl"
    try:
        return np.asarray(env.render(), np.uint8)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"this machine cannot draw a simulation with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} ({reason[:200]}); "
            "install libegl1, or libosmesa6 and set MUJOCO_GL=osmesa"
        ) from error
