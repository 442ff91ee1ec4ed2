"""One update of every offline method, batch assembly included, against d3rlpy's own update on such a batch."""

import dataclasses

import numpy as np

from baselines.d3rlpy_method import Transitions, as_minibatch
from baselines.offline_method import OfflineMethod
from baselines.registry import method
from benchmarks.reacher_data import offline_problem
from benchmarks.result import Result, interleaved_medians
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.process import prepare_process
from wombet.streams import Streams

ROWS, EPISODE, CEILING = 20_000, 1000, 1.03
PUBLISHED = ("bc", "iql", "cql", "td3+bc", "awac")
POCKET = ("iql", "cql")


def run() -> list[Result]:
    """Measure published and pocket sizes in float32 on one thread on HalfCheetah's 18 observations and 6 actions."""
    prepare_process(1)
    dataset = random_dataset()
    large = [_measure(name, dataset, {"hidden_width": 256, "batch_size": 256}) for name in PUBLISHED]
    small = {"hidden_width": 128, "batch_size": 128}
    return large + [_measure(name, dataset, {**small, "n_action_samples": 4}) for name in POCKET]


def random_dataset(rows: int = ROWS) -> TransferDataset:
    """Return `rows` rows of random numbers in the shape of HalfCheetah's, as one that never ends."""
    task, generator = make_task("halfcheetah", "close"), np.random.default_rng(0)
    obs = generator.standard_normal((rows, task.obs_dim)).astype(np.float32)
    truncated = np.arange(1, rows + 1) % EPISODE == 0
    return TransferDataset(
        obs=obs,
        action=generator.uniform(-1, 1, (rows, task.action_dim)).astype(np.float32),
        next_obs=np.roll(obs, -1, 0),
        reward_source=np.zeros(rows, np.float32),
        terminated=np.zeros(rows, np.bool_),
        truncated=truncated,
        episode_id=(np.arange(rows) // EPISODE).astype(np.int32),
        uncertainty=np.zeros(rows, np.float32),
    ).relabel(task)


def _measure(name: str, dataset: TransferDataset, sizes: dict[str, int]) -> Result:
    ours, theirs = _built(name, dataset, sizes), _built(name, dataset, sizes)
    algorithm, generator = theirs.learner.algorithm, np.random.default_rng(0)
    size = theirs.config.batch_size

    def library() -> None:
        rows = generator.integers(len(dataset), size=size)
        assert dataset.reward_target is not None
        assert dataset.terminated_target is not None
        terminated = dataset.terminated_target[rows].astype(np.float32)
        reward, next_obs = dataset.reward_target[rows], dataset.next_obs[rows]
        batch = Transitions(dataset.obs[rows], dataset.action[rows], reward, next_obs, terminated)
        algorithm.update(as_minibatch(batch))

    own, bare = interleaved_medians((lambda: ours.learner.update_on(ours.batch()), library), turns=6, per_turn=8)
    width = sizes["hidden_width"]
    samples = f", {ours.config.n_action_samples} sampled actions" if hasattr(ours.config, "n_action_samples") else ""
    return Result(
        what=f"{name} update ({width}x{width}, batch {size}{samples}, obs 18, act 6, one thread, float32, CPU time)",
        figure=own * 1e3,
        unit="ms",
        peer="d3rlpy's update() in a bare loop",
        peer_figure=bare * 1e3,
        ratio=bare / own,
        bar=f"at most {CEILING} times the peer's time",
        passed=own <= CEILING * bare,
    )


def _built(name: str, dataset: TransferDataset, sizes: dict[str, int]) -> OfflineMethod:
    kind = method(name)
    fields = {field.name for field in dataclasses.fields(kind.Config)}
    config = kind.Config(**{field: value for field, value in sizes.items() if field in fields})
    built = kind(offline_problem(dataset, 0, "halfcheetah"), config, Streams(0).child("method"), "cpu")
    assert isinstance(built, OfflineMethod)
    return built
