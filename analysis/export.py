"""A suite's results in the formats of others: tidy Parquet and CSV, marl-eval's JSON, and arrays for rliable."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.aggregates import scores_of
from analysis.curves import evaluation_points
from analysis.frames import csv_of
from analysis.load import SuiteResults
from analysis.statistics import Array
from wombet.files import canonical_json, pretty_json, write_atomically

METRIC = "mean_episode_return"
_NESTED = ["versions", "problems", "notes"]


def episode_frame(results: SuiteResults) -> pd.DataFrame:
    """Return one row per evaluated episode: the evaluation's columns, the episode's number and its return."""
    rows = results.evaluations
    counts = rows["episodes"].to_numpy(dtype=np.int64)
    keys = ["pair", "method", "seed", "run_id", "usable", "evaluation", "source_steps", "target_steps", "updates"]
    frame = rows.loc[rows.index.repeat(counts), keys].reset_index(drop=True)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return frame.assign(episode=np.arange(counts.sum()) - starts, episode_return=results.returns)


def tidy_frames(results: SuiteResults) -> dict[str, pd.DataFrame]:
    """Return the frames `runs`, `evaluations` and `episodes`; nested values of runs are JSON texts."""
    runs = results.runs.assign(**{name: [canonical_json(value) for value in results.runs[name]] for name in _NESTED})
    return {"runs": runs, "evaluations": results.evaluations, "episodes": episode_frame(results)}


def marl_eval(results: SuiteResults) -> dict[str, Any]:
    """Return results in the raw form of marl-eval: family, pair, method, run, step.

    Its `absolute_metrics` are those of the last evaluation, never of the best. Usable runs only; marl-eval itself
    presumes as many runs and evaluations everywhere, and nothing is cut here to make it so.
    """
    content: dict[str, Any] = {}
    for entry in results.manifest["pairs"]:
        for method in results.methods:
            points = evaluation_points(results.history(entry["id"], method))
            for seed, rows in points.groupby("seed"):
                steps: dict[str, Any] = {}
                for number, (index, row) in enumerate(rows.iterrows()):
                    returns = results.episode_returns(int(str(index))).tolist()
                    steps[f"step_{number}"] = {"step_count": int(row["target_steps"]), METRIC: returns}
                steps["absolute_metrics"] = {METRIC: returns}
                task = content.setdefault(str(entry.get("family")), {}).setdefault(entry["id"], {})
                task.setdefault(method, {})[f"seed_{seed}"] = steps
    return content


def rliable_scores(results: SuiteResults, column: str = "score") -> tuple[dict[str, Array], dict[str, str]]:
    """Return final scores as rliable takes them, method to (runs, pairs), and why any method is left out of that.

    Left out are methods without scores on some pair or with unequal numbers of seeds, which rliable cannot hold.
    """
    arrays, left_out = {}, {}
    for method in results.methods:
        scores = scores_of(results, results.pairs, method, column)
        sizes = {own.task: own.values.size for own in scores}
        if len(sizes) < len(results.pairs):
            missing = [pair for pair in results.pairs if pair not in sizes]
            left_out[method] = f"no finished run on {', '.join(missing)}"
        elif len(set(sizes.values())) > 1:
            left_out[method] = "unequal seeds: " + ", ".join(f"{name} {size}" for name, size in sizes.items())
        else:
            arrays[method] = np.stack([own.values for own in scores], axis=1)
    return arrays, left_out


def export(results: SuiteResults, out: Path) -> tuple[list[Path], dict[str, str]]:
    """Write all formats into a folder; returns the files and the methods that rliable's arrays leave out, with why."""
    written = []

    def write(name: str, data: bytes | str) -> None:
        write_atomically(out / name, data)
        written.append(out / name)

    for name, frame in tidy_frames(results).items():
        write(f"{name}.csv", csv_of(frame))
        write(f"{name}.parquet", frame.to_parquet(index=False))
    write("marl-eval.json", pretty_json(marl_eval(results)))
    arrays, left_out = rliable_scores(results)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write("rliable.npz", buffer.getvalue())
    write("rliable.json", pretty_json({"pairs": results.pairs, "methods": list(arrays), "left_out": left_out}))
    return written, left_out
