"""Exact shares of offline rows in every minibatch of the methods that mix without pretraining."""

from typing import Any

import pytest
import torch

from suites.contract.run import SmallRun
from tests.contract.harness import DATASET


def offline_shares(name: str, **settings: Any) -> list[float]:
    """Offline rows in each minibatch, as a share."""
    run = SmallRun(name, {"utd": 1, **settings})
    agent: Any = run.adapter.agent  # type: ignore[attr-defined]
    known = {row.tobytes() for row in DATASET.obs}
    shares: list[float] = []
    update = agent.learner.update

    def counted(batches: list[Any]) -> Any:
        shares.extend(sum(row.tobytes() in known for row in batch.obs.numpy()) / len(batch.obs) for batch in batches)
        return update(batches)

    agent.learner.update = counted
    run.train()
    return shares


def test_hyq_draws_exactly_its_share_in_every_minibatch() -> None:
    assert set(offline_shares("hy-q")) == {0.5}
    assert set(offline_shares("hy-q", offline_fraction=0.25)) == {0.25}


def test_hyqs_share_can_fall_along_the_online_phase() -> None:
    shares = offline_shares("hy-q", mixing="schedule", batch_size=1000, mixing_maximum=0.2, mixing_minimum=0.01)
    expected = torch.linspace(0.2, 0.01, 61)[11:]
    torch.testing.assert_close(torch.tensor(shares), expected, rtol=0, atol=0.001)


def test_one_common_buffer_draws_offline_rows_by_their_share_of_all_rows() -> None:
    shares = offline_shares("sac-offline-buffer", batch_size=1000)
    expected = torch.tensor([60 / (60 + step) for step in range(11, 61)])
    torch.testing.assert_close(torch.tensor(shares), expected, rtol=0, atol=0.001)


@pytest.mark.parametrize("name", ["hy-q", "sac-offline-buffer"])
def test_they_have_none_of_the_stabilisers(name: str) -> None:
    agent: Any = SmallRun(name, {}).adapter.agent  # type: ignore[attr-defined]
    config = agent.config
    assert (config.n_critics, config.layer_norm, config.target_penalty, config.target_subset) == (2, False, 0.0, 2)
    assert (agent.offline.last(100).penalty == 0).all()
