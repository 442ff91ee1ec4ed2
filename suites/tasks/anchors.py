"""Returns of the random and of the zero policy: measured here, kept in `suites/anchors.toml`, read to scale scores.

python -m suites.tasks.anchors [--families NAME ...] [--episodes N] [--seed N] [--output FILE]
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from suites.tasks.registry import families, family
from suites.tasks.task import Task, make_task
from wombet.errors import InputError
from wombet.files import write_atomically

ANCHORS = Path(__file__).parents[1] / "anchors.toml"
_HEADER = """\
# Returns of the uniformly random and of the zero policy over one horizon; mean and standard deviation over episodes.
# Written by `python -m suites.tasks.anchors`; not edited by hand.
"""


@dataclass(frozen=True)
class Anchor:
    """The returns of two policies that learn nothing, in one task, and what they were measured with."""

    fingerprint: str
    horizon: int
    episodes: int
    seed: int
    random_mean: float
    random_std: float
    zero_mean: float
    zero_std: float
    gymnasium: str
    mujoco: str


def read_anchors(path: Path = ANCHORS) -> dict[str, Anchor]:
    """Return the anchors of a file by task id; raises InputError if the file is missing or is not one of anchors."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Anchor(**row) for name, row in rows.items()}
    except FileNotFoundError as error:
        raise InputError(f"there is no file of anchors {path}; python -m suites.tasks.anchors writes one") from error
    except (tomllib.TOMLDecodeError, TypeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not a file of anchors ({error}); python -m suites.tasks.anchors writes one"
        ) from error


def measure_anchor(task: Task, episodes: int = 50, seed: int = 0) -> Anchor:
    """Return the anchor of a task; the same task, episodes, seed and versions give the same numbers.

    Both policies meet the same initial states. Standard deviations are those of the population. Raises InputError for
    less than one episode.
    """
    if episodes < 1:
        raise InputError(f"anchors of {task.id} were asked for with {episodes} episodes; at least 1 is needed")
    import gymnasium
    import mujoco

    def at_random(generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-1.0, 1.0, task.action_dim).astype(np.float32)

    def at_rest(generator: np.random.Generator) -> np.ndarray:
        return np.zeros(task.action_dim, np.float32)

    random, zero = (_returns(task, policy, episodes, seed) for policy in (at_random, at_rest))
    return Anchor(
        fingerprint=task.fingerprint(),
        horizon=task.horizon,
        episodes=episodes,
        seed=seed,
        random_mean=_rounded(random.mean()),
        random_std=_rounded(random.std()),
        zero_mean=_rounded(zero.mean()),
        zero_std=_rounded(zero.std()),
        gymnasium=gymnasium.__version__,
        mujoco=mujoco.__version__,
    )


def write_anchors(anchors: Mapping[str, Anchor], path: Path = ANCHORS) -> None:
    """Write anchors, sorted by task id, as TOML; equal anchors give equal bytes."""
    tables = []
    for name in sorted(anchors):
        lines = [f"{key} = {_toml(value)}" for key, value in asdict(anchors[name]).items()]
        tables.append("\n".join([f'["{name}"]', *lines]))
    write_atomically(path, _HEADER + "\n" + "\n\n".join(tables) + "\n")


def _returns(task: Task, policy: Callable[[np.random.Generator], np.ndarray], episodes: int, seed: int) -> np.ndarray:
    env = task.make_env()
    totals = np.zeros(episodes)
    for episode in range(episodes):
        resets, actions = np.random.SeedSequence((seed, episode)).spawn(2)
        generator = np.random.default_rng(actions)
        env.reset(seed=int(resets.generate_state(1)[0]))
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(policy(generator))
            totals[episode] += reward
            over = terminated or truncated
    env.close()
    return totals


def _rounded(value: np.floating) -> float:
    return round(float(value), 4)


def _toml(value: str | int | float) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _measure_family(name: str, episodes: int, seed: int) -> dict[str, Anchor]:
    found = {}
    for level in family(name).levels:
        task = make_task(name, level)
        found[task.id] = measure_anchor(task, episodes, seed)
        row = found[task.id]
        print(f"{task.id}: random {row.random_mean:.1f} ± {row.random_std:.1f}, zero {row.zero_mean:.1f}", flush=True)
    # The same task under another name.
    return {**found, make_task(name, "aligned").id: found[make_task(name).id]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the named families, or all, at their own horizons, and write the file; other families' rows stay."""
    parser = argparse.ArgumentParser(prog="python -m suites.tasks.anchors", description=main.__doc__)
    parser.add_argument("--families", nargs="+", metavar="NAME", help="families to measure (all)")
    parser.add_argument("--episodes", type=int, default=50, help="episodes per policy and level (50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of resets and random actions (0)")
    parser.add_argument("--output", type=Path, default=ANCHORS, help="file to write (the one in the package)")
    options = parser.parse_args(arguments)
    try:
        names = [family(name).name for name in options.families or families()]
        anchors = read_anchors(options.output) if options.output.exists() else {}
        for name in names:
            anchors.update(_measure_family(name, options.episodes, options.seed))
            write_anchors(anchors, options.output)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
