"""`python -m benchmarks.mixing_signal [--seeds N] [--family NAME] [--out FILE]`: which signal tells a critic that was
not fitted from one that was? The criterion is fixed in docs/mixing-signal.md."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from baselines.quiet import silence_gym
from benchmarks.signal_runs import CHECKPOINTS, CRITICS, Reading, StudyRun, make_dataset, rank_correlation
from wombet.files import write_atomically
from wombet.mixing import SIGNALS
from wombet.process import prepare_process

FAMILIES = ("reacher", "cartpole")
FIRST_JUDGED = 1000  # steps; before, no critic has been fitted
MARGIN = 0.05  # figures nearer than this are not told apart


def separation(readings: list[Reading], signal: str, family: str, bad: str) -> float:
    """Return the AUC: how often the signal of the badly fitted critics lies above that of the learned ones.

    Pairs are of the same family and step, of any two seeds; ties count half.
    """
    wins = []
    for step in judged():
        at = {
            name: [r.signals[signal] for r in readings if (r.family, r.step, r.critic) == (family, step, name)]
            for name in ("learned", bad)
        }
        low, high = np.array(at["learned"]), np.array(at[bad])
        wins.append(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))
    return float(np.mean(wins))


def agreement(readings: list[Reading], signal: str, family: str) -> float:
    """Return the rank correlation of the signal with the true error over all critics, steps and seeds of a family."""
    own = [r for r in readings if r.family == family and r.step in judged()]
    return rank_correlation(*columns([(r.signals[signal], r.error) for r in own]))


def clock(readings: list[Reading], signal: str, family: str) -> float:
    """Return the partial rank correlation of the signal with the step, the true error held fixed; 0 is no clock.

    Over the critics that learn from true rewards ("learned" and "slow"), whose error spans the same range at
    different times.
    """
    own = [r for r in readings if r.family == family and r.critic in ("learned", "slow")]
    z, step, error = columns([(r.signals[signal], float(r.step), r.error) for r in own])
    zs, ze, se = rank_correlation(z, step), rank_correlation(z, error), rank_correlation(step, error)
    return (zs - ze * se) / float(np.sqrt((1 - ze**2) * (1 - se**2)))


def columns(rows: Iterable[tuple[float, ...]]) -> list[np.ndarray]:
    """Return the columns of rows of numbers."""
    return list(np.array(list(rows), np.float64).T)


def judged() -> list[int]:
    """Return the checkpoints that count."""
    return [step for step in CHECKPOINTS if step >= FIRST_JUDGED]


def choose(scores: dict[str, dict[str, float]]) -> str:
    """Return the signal that the criterion picks: separation first, then agreement, then the earliest of SIGNALS."""
    left = list(SIGNALS)
    for figure in ("separation", "agreement"):
        best = max(scores[signal][figure] for signal in left)
        left = [signal for signal in left if scores[signal][figure] >= best - MARGIN]
    return left[0]


def tables(readings: list[Reading]) -> str:
    """Return the figures as Markdown."""
    families = [family for family in FAMILIES if any(r.family == family for r in readings)]
    scores = {}
    lines = ["| signal | family | AUC slow | AUC shuffled | AUC frozen | rank with error | clock |", "|" + "---|" * 7]
    for signal in SIGNALS:
        auc = {f: [separation(readings, signal, f, bad) for bad in CRITICS[1:]] for f in families}
        rank = {f: agreement(readings, signal, f) for f in families}
        for f in families:
            cells = (*auc[f], rank[f], clock(readings, signal, f))
            lines.append(f"| {signal} | {f} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
        scores[signal] = {
            "separation": float(np.mean([auc[f] for f in families])),
            "agreement": float(np.mean([rank[f] for f in families])),
        }
    lines += ["", "| signal | separation | agreement |", "|---|---|---|"]
    lines += [f"| {name} | {s['separation']:.3f} | {s['agreement']:.3f} |" for name, s in scores.items()]
    return "\n".join([*lines, "", f"chosen: {choose(scores)}", "", traces(readings, families)])


def traces(readings: list[Reading], families: list[str]) -> str:
    """Return means over seeds at every checkpoint: true error, rank agreement and signals of every critic."""
    lines = ["| family | critic | figure | " + " | ".join(map(str, CHECKPOINTS)) + " |", "|" + "---|" * 11]
    for family in families:
        for name in CRITICS:
            for figure in ("error", "rank", *SIGNALS):
                cells = []
                for step in CHECKPOINTS:
                    own = [r for r in readings if (r.family, r.critic, r.step) == (family, name, step)]
                    cells.append(np.mean([r.signals[figure] if figure in SIGNALS else getattr(r, figure) for r in own]))
                lines.append(f"| {family} | {name} | {figure} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the study and print its tables; with --out, keep every reading as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixing_signal", description="The mixing-signal study.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    silence_gym()
    prepare_process(1)
    readings: list[Reading] = []
    for family in options.family or FAMILIES:
        dataset = make_dataset(family)
        for seed in range(options.seeds):
            readings += StudyRun(family, seed, dataset).run()
            print(f"{family} seed {seed} done", file=sys.stderr, flush=True)
    if options.out:
        write_atomically(options.out, json.dumps([dataclasses.asdict(r) for r in readings], indent=1))
    print(tables(readings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
