"""d3rlpy's updates behind the contract: the same numbers as d3rlpy by itself, and an independent check of BC."""

import numpy as np
import pytest
import torch
from tests.contract.harness import DATASET

from baselines.d3rlpy_method import D3rlpyLearner, import_d3rlpy, minibatch
from wombet.serialization import dumps, loads

d3rlpy = import_d3rlpy()


def learner(seed: int = 0, policy_type: str = "deterministic") -> D3rlpyLearner:
    encoder = d3rlpy.models.VectorEncoderFactory([16, 16])
    config = d3rlpy.algos.BCConfig(learning_rate=1e-3, encoder_factory=encoder, policy_type=policy_type)
    return D3rlpyLearner(config.create(device="cpu:0"), 8, 2, seed)


def batches(n: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(len(DATASET), size=32) for i in range(n)]


def test_its_updates_are_those_of_d3rlpy_used_directly() -> None:
    ours = learner(seed=4)
    torch.manual_seed(4)
    encoder = d3rlpy.models.VectorEncoderFactory([16, 16])
    theirs = d3rlpy.algos.BCConfig(learning_rate=1e-3, encoder_factory=encoder).create(device="cpu:0")
    theirs.create_impl((8,), 2)
    for rows in batches(10):
        assert ours.update(DATASET, rows) == theirs.update(minibatch(DATASET, rows))
    assert np.array_equal(ours.act(DATASET.obs), theirs.predict(DATASET.obs))


def test_behaviour_cloning_is_regression_by_adam() -> None:
    ours = learner()
    hidden = [torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU()]
    network = torch.nn.Sequential(*hidden, torch.nn.Linear(16, 2), torch.nn.Tanh())
    tensors = list(ours.algorithm.impl.modules.imitator.state_dict().values())
    with torch.no_grad():
        for own, theirs in zip(network.parameters(), tensors, strict=True):
            own.copy_(theirs)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for rows in batches(20):
        ours.update(DATASET, rows)
        optimiser.zero_grad()
        predicted = network(torch.from_numpy(DATASET.obs[rows]))
        torch.nn.functional.mse_loss(predicted, torch.from_numpy(DATASET.action[rows])).backward()
        optimiser.step()
    expected = network(torch.from_numpy(DATASET.obs)).detach().numpy()
    assert np.abs(ours.act(DATASET.obs) - expected).max() < 1e-5


def test_minibatches_hold_the_target_labels_and_the_true_next_observation_at_a_time_limit() -> None:
    rows = np.flatnonzero(DATASET.truncated)
    batch = minibatch(DATASET, rows)
    assert np.array_equal(batch.rewards[:, 0], DATASET.reward_target[rows])
    assert np.array_equal(batch.next_observations, DATASET.next_obs[rows])
    assert not batch.terminals.any()


@pytest.mark.parametrize("policy_type", ["deterministic", "stochastic"])
def test_restored_it_goes_on_as_if_never_stopped_and_leaves_the_global_stream_alone(policy_type: str) -> None:
    whole, stopped = learner(policy_type=policy_type), learner(policy_type=policy_type)
    before = torch.get_rng_state()
    for i, rows in enumerate(batches(12)):
        if i == 5:
            state = loads(dumps(stopped.state()))
            stopped = learner(seed=77, policy_type=policy_type)
            stopped.restore(state)
        whole.update(DATASET, rows)
        stopped.update(DATASET, rows)
    assert dumps(whole.state()) == dumps(stopped.state())
    assert torch.equal(torch.get_rng_state(), before)
