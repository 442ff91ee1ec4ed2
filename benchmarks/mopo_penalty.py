"""`python -m benchmarks.mopo_penalty [--seeds N] [--updates N]`: is MOPO's penalty worth anything on narrow data?

Data, model, network initialisation and evaluation starts of a seed are the same with and without the penalty, whose
lambda is fixed before training from the model's uncertainty on held-out rows. Prints every seed and a paired interval.
"""

import argparse
import math
import statistics

from scipy.stats import t as student

from baselines.api import Phase
from baselines.mopo import MOPO, MOPOConfig
from benchmarks.reacher_data import NARROW, collect, mean_return, offline_problem
from wombet.dataset import TransferDataset
from wombet.process import prepare_process
from wombet.streams import Streams

SCALES = (0.0, 1.0)
"""Without the penalty; and with lambda = mean |reward| / q95(u)."""
EPISODES, EVALUATIONS = 20, 20
SIZES = {"hidden_width": 64, "batch_size": 128, "rollout_starts": 500, "rollout_interval": 250, "model_steps": 1500}
SIZES |= {"model_members": 5, "model_elites": 3, "model_width": 64, "model_layers": 2}


def train(dataset: TransferDataset, seed: int, updates: int, scale: float) -> tuple[float, float]:
    """Return the mean return of MOPO with a penalty scale, and the lambda that it came to."""
    config = MOPOConfig(**SIZES, penalty_scale=scale)  # type: ignore[arg-type]
    method = MOPO(offline_problem(dataset, updates), config, Streams(seed).child("method"), "cpu")
    method.train(Phase.OFFLINE, _no_tick)
    return mean_return(method.act, EVALUATIONS, seed), method.rollouts().penalty


def paired_interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean difference and Student's 95 % interval of it."""
    n, mean = len(differences), statistics.fmean(differences)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half


def main(arguments: list[str] | None = None) -> None:
    """Train with and without the penalty, seed by seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mopo_penalty", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=3000)
    options = parser.parse_args(arguments)
    prepare_process(1)
    differences = []
    for seed in range(options.seeds):
        dataset = collect(NARROW, EPISODES, seed)
        (without, _), (with_penalty, price) = (train(dataset, seed, options.updates, scale) for scale in SCALES)
        data = float(dataset.episode_sums(dataset.reward_source).mean())
        differences.append(with_penalty - without)
        print(
            f"seed {seed}: data {data:.1f}, lambda 0: {without:.2f}, lambda {price:.3g}: {with_penalty:.2f}", flush=True
        )
    mean, low, high = paired_interval(differences)
    print(f"with minus without: {mean:.2f}, 95 % interval [{low:.2f}, {high:.2f}] over {len(differences)} seeds")


def _no_tick(**progress: object) -> None:
    """Nothing is watched during training."""


if __name__ == "__main__":
    main()
