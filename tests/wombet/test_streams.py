"""Named random streams: reproducible, independent of what else is drawn, different for every name and seed."""

import numpy as np
import torch

from wombet.streams import Streams


def test_the_same_seed_and_name_give_the_same_numbers_whatever_else_was_drawn() -> None:
    first = Streams(3).child("method")
    first.numpy("other").random(100)
    assert np.array_equal(first.numpy("a").random(5), Streams(3, "method").numpy("a").random(5))
    assert torch.equal(
        torch.rand(5, generator=first.torch("a")), torch.rand(5, generator=Streams(3, "method").torch("a"))
    )


def test_names_and_seeds_do_not_share_numbers() -> None:
    draws = {
        Streams(seed, *path).integer(*name)
        for seed in range(50)
        for path in ((), ("x",), ("y",))
        for name in (("a",), ("b",), ("a", 1), ("a", 2))
    }
    assert len(draws) == 50 * 3 * 4


def test_a_stream_is_uncorrelated_with_its_neighbours() -> None:
    draws = np.stack([Streams(0).numpy("episode", i).standard_normal(2000) for i in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
    assert np.abs(draws.mean()) < 5 / np.sqrt(40000)


def test_integers_serve_as_seeds() -> None:
    values = [Streams(0).integer("reset", i) for i in range(1000)]
    assert min(values) >= 0
    assert max(values) < 2**63
    assert abs(np.mean(np.array(values) / 2**63) - 0.5) < 0.05
