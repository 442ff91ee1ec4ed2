"""`python -m benchmarks.updates_per_second [METHOD ...]`: a table of every method's updates per second at pocket size.

Each phase of each method trains for about a second of CPU time on HalfCheetah's sizes, by the contract, so that what
an adapter adds is in the figure, and online the environment's step too. Beside it stands the library's own update in a
bare loop on a ready minibatch, where a library has one. It compares methods that do different work, so it has no bar.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from baselines.api import NamedSource, Phase, Problem
from baselines.cal_ql import CalQL
from baselines.config import make_config
from baselines.cql import CQLConfig, d3rlpy_cql
from baselines.d3rlpy_method import D3rlpyLearner, Transitions, as_minibatch
from baselines.quiet import silence_gym
from baselines.registry import check_method_name, method, method_names
from benchmarks.offline_update import random_dataset
from benchmarks.peers import fill, random_transitions, sac_of_stable_baselines3
from benchmarks.phase_rates import FAMILY, Watch, measured_problem
from benchmarks.result import interleaved_medians
from suites.spec import load_suite
from suites.tasks import make_task
from wombet.errors import InputError
from wombet.process import prepare_process
from wombet.streams import Streams

HORIZON, SECONDS = 200, 1.0
"""Steps of an episode, and CPU seconds that a phase is measured for once it updates."""
QUICK = {"random_steps": 200, "warmup_steps": 200, "first_burst": 1, "model_steps": 50, "rollout_steps": 256}
"""What comes before the first updates is shortened; it is not in the figures."""


@dataclasses.dataclass(frozen=True)
class Rate:
    """Updates per CPU second of a phase, and of the library's own update, if there is one."""

    method: str
    phase: str
    per_second: float
    library: str = ""
    library_per_second: float = float("nan")

    def line(self) -> str:
        """Return the row of the table."""
        row = f"{self.method:<20} {self.phase:<8} {self.per_second:>9.1f}"
        return f"{row} {self.library_per_second:>9.1f}  {self.library}" if self.library else row


def pocket(name: str) -> dict[str, Any]:
    """Return a method's settings in the pocket suites of the catalogue."""
    fields = {field.name for field in dataclasses.fields(method(name).Config)}
    suites = [load_suite(f"{suite}-pocket") for suite in ("paper-fig3", "paper-fig4", "multi-source")]
    shared = {key: value for suite in suites for key, value in suite.shared.items()}
    own = {key: value for suite in suites for key, value in suite.config.get(name, {}).items()}
    return {key: value for key, value in {**shared, **own, **QUICK}.items() if key in fields}


def rates_of(name: str) -> Iterator[Rate]:
    """Measure every phase of a method that makes updates; raises InputError if it needs more than a dataset."""
    kind = method(name)
    problem = _problem()
    config: Any = make_config(kind.Config, pocket(name), name)
    adapter = kind(problem, config, Streams(0).child("method"), "cpu")
    watch = Watch(problem, SECONDS)
    for phase in kind.capabilities.phases:
        found = watch.measure(adapter, phase)
        if found is not None:
            library = _library(name, phase, adapter, config)
            peer, update = library if library is not None else ("", None)
            per_second = float("nan") if update is None else 1 / interleaved_medians([update], turns=4, per_turn=10)[0]
            yield Rate(name, phase.value, found.updates / found.seconds, peer, per_second)


def _problem() -> Problem:
    data, source = random_dataset(), make_task(FAMILY, horizon=HORIZON)
    rewarded = dataclasses.replace(data, reward_source=np.asarray(data.reward_target))
    sources = tuple(NamedSource(name, source, rewarded) for name in ("first", "second", "third"))
    return measured_problem(data, HORIZON, sources=sources)


def _library(name: str, phase: Phase, adapter: Any, config: Any) -> tuple[str, Callable[[], object]] | None:
    """Return what a library offers for a phase of a method, and its update on a ready minibatch."""
    learner = getattr(adapter, "learner", None)
    if isinstance(adapter, CalQL):
        rows, bounds = _rows(config.batch_size), np.zeros(config.batch_size, np.float32)
        return "d3rlpy, the same algorithm", lambda: adapter.learner.update_on(rows, bounds)
    if isinstance(learner, D3rlpyLearner):
        batch = as_minibatch(_rows(config.batch_size))
        return "d3rlpy, the same algorithm", lambda: learner.algorithm.update(batch)
    if phase is Phase.OFFLINE and name in ("cql-sac", "off2on"):
        sizes = {key: getattr(config, key) for key in ("hidden_width", "batch_size", "n_action_samples")}
        algorithm = d3rlpy_cql(CQLConfig(**sizes)).create(device="cpu:0")
        algorithm.create_impl((_rows(1).obs.shape[1],), _rows(1).action.shape[1])
        batch = as_minibatch(_rows(config.batch_size))
        return "d3rlpy's CQL, one agent", lambda: algorithm.update(batch)
    if name == "sac":
        peer = sac_of_stable_baselines3(config.hidden_width, 20_000)
        assert peer.replay_buffer is not None
        fill(peer.replay_buffer, random_transitions(20_000, np.random.default_rng(0)))
        return "Stable-Baselines3's SAC without LayerNorm", lambda: peer.train(1, config.batch_size)
    return None


def _rows(n: int) -> Transitions:
    dataset = random_dataset()
    reward = np.asarray(dataset.reward_target)[:n]
    return Transitions(dataset.obs[:n], dataset.action[:n], reward, dataset.next_obs[:n], np.zeros(n, np.float32))


def main(arguments: list[str] | None = None) -> int:
    """Print the table: 0 all well, 2 an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.updates_per_second", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="all of the registry, if none are named")
    options = parser.parse_args(arguments)
    silence_gym()
    prepare_process(1)
    try:
        for name in options.methods:
            check_method_name(name)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'method':<20} {'phase':<8} {'updates/s':>9} {'library':>9}  (CPU time of one thread)")
    left_out = []
    for name in options.methods or method_names():
        try:
            for rate in rates_of(name):
                print(rate.line(), flush=True)
        except InputError as error:
            left_out.append(f"{name}: {error}")
    for reason in left_out:
        print(f"not measured: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
