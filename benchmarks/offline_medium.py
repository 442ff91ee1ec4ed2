"""Offline methods on the medium dataset of the tests: does what they learn return at least the dataset's mean?

Longer than the tests can take, because CQL needs more than a thousand updates for it. Small networks and steps of 1e-3
as in the tests; every other setting is the method's own. A score and no speed: means over training seeds.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from baselines.api import Phase
from baselines.config import config_dict, make_config
from baselines.registry import method
from benchmarks.reacher_data import mean_return, medium_dataset, offline_problem
from benchmarks.result import Result
from wombet.dataset import TransferDataset
from wombet.process import prepare_process
from wombet.streams import Streams

METHODS = ("bc", "iql", "cql", "td3+bc", "awac")
UPDATES, SEEDS, EVALUATIONS = 2000, 3, 20
SETTINGS: dict[str, float] = {"hidden_width": 32, "batch_size": 32, "n_action_samples": 2}
SETTINGS |= dict.fromkeys(("actor_lr", "critic_lr", "learning_rate"), 1e-3)


def run() -> list[Result]:
    """Train every method on the same rows, and play what it learned in the task that they come from."""
    prepare_process(1)
    dataset = medium_dataset()
    mean = float(dataset.episode_sums(dataset.reward_source).mean())
    return [outcome(name, [_return(name, dataset, seed) for seed in range(SEEDS)], mean) for name in METHODS]


def outcome(name: str, returns: Sequence[float], mean: float) -> Result:
    """Return the mean of a method's returns, one per training seed, beside the dataset's, which is its bar."""
    figure = fmean(returns)
    what = f"{name} on medium data, {UPDATES} updates, {len(returns)} seeds"
    return Result(what, figure, "return", "the data's mean", mean, figure / mean, "1 or more", figure >= mean)


def _return(name: str, dataset: TransferDataset, seed: int) -> float:
    kind = method(name)
    known = config_dict(kind.Config())
    config: Any = make_config(kind.Config, {key: value for key, value in SETTINGS.items() if key in known}, name)
    learner = kind(offline_problem(dataset, UPDATES), config, Streams(seed).child("method"), "cpu")
    learner.train(Phase.OFFLINE, _no_tick)
    return mean_return(learner.act, EVALUATIONS, seed)


def _no_tick(**progress: object) -> None:
    """Nothing is watched during training."""
