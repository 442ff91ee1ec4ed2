"""Returns of the random and of the zero policy: measured here, kept in `suites/anchors.toml`, read to scale scores.

python -m suites.tasks.anchors [--families NAME ...] [--horizon N] [--episodes N] [--seed N] [--output FILE]
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suites.tasks.measured import read_rows, rounded, row_name, write_rows
from suites.tasks.registry import families, family
from suites.tasks.task import Task, make_task
from wombet.errors import InputError

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
    """Return the anchors of a file by the name of their row; raises InputError if it is missing or not one of anchors.

    A row is named after its task, and where it has another horizon than its family, after that too.
    """
    return read_rows(path, Anchor, "anchors", "python -m suites.tasks.anchors")


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
        random_mean=rounded(random.mean()),
        random_std=rounded(random.std()),
        zero_mean=rounded(zero.mean()),
        zero_std=rounded(zero.std()),
        gymnasium=gymnasium.__version__,
        mujoco=mujoco.__version__,
    )


def write_anchors(anchors: Mapping[str, Anchor], path: Path = ANCHORS) -> None:
    """Write anchors, sorted by name, as TOML; equal anchors give equal bytes."""
    write_rows(path, _HEADER, anchors)


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


def _measure_family(name: str, horizon: int | None, episodes: int, seed: int) -> dict[str, Anchor]:
    found = {}
    for level in family(name).levels:
        task = make_task(name, level, horizon=horizon)
        row = found[row_name(task)] = measure_anchor(task, episodes, seed)
        returns = f"random {row.random_mean:.1f} ± {row.random_std:.1f}, zero {row.zero_mean:.1f}"
        print(f"{row_name(task)}: {returns}", flush=True)
    # The same task under another name.
    aligned, source = (row_name(make_task(name, level, horizon=horizon)) for level in ("aligned", "source"))
    return {**found, aligned: found[source]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the named families, or all, at their own horizon or another, and write the file; other rows stay."""
    parser = argparse.ArgumentParser(prog="python -m suites.tasks.anchors", description=main.__doc__)
    parser.add_argument("--families", nargs="+", metavar="NAME", help="families to measure (all)")
    parser.add_argument("--horizon", type=int, help="steps of an episode (each family's own)")
    parser.add_argument("--episodes", type=int, default=50, help="episodes per policy and level (50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of resets and random actions (0)")
    parser.add_argument("--output", type=Path, default=ANCHORS, help="file to write (the one in the package)")
    options = parser.parse_args(arguments)
    try:
        names = [family(name).name for name in options.families or families()]
        anchors = read_anchors(options.output) if options.output.exists() else {}
        for name in names:
            anchors.update(_measure_family(name, options.horizon, options.episodes, options.seed))
            write_anchors(anchors, options.output)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
