"""The ring of transitions, and minibatches with exact numbers of offline and online rows."""

import numpy as np
import pytest
import torch

from wombet.errors import InputError
from wombet.learner import Batch
from wombet.replay import ReplayBuffer, draw_mixed, offline_count
from wombet.serialization import dumps, loads

FRACTIONS = (0, 0.25, 0.3, 0.5, 1)


def transitions(first: int, n: int) -> dict[str, np.ndarray]:
    """Return n transitions whose every entry tells their number, counted from `first`."""
    number = np.arange(first, first + n, dtype=np.float32)
    return {
        "obs": number[:, None] + np.float32([0.0, 0.25]),
        "action": -number[:, None],
        "reward": number * 10,
        "next_obs": number[:, None] + np.float32([0.5, 0.75]),
        "terminated": number % 3 == 0,
        "penalty": number / 2,
    }


def filled(first: int, n: int, capacity: int = 100) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity, 2, 1)
    buffer.extend(transitions(first, n))
    return buffer


def numbers(batch: Batch) -> list[int]:
    """Return which transitions a batch holds, having checked that each row is of one piece."""
    number = batch.obs[:, 0].numpy()
    for name, column in transitions(0, 1).items():
        assert getattr(batch, name).shape[1:] == column.shape[1:]
    expected = [transitions(int(i), 1) for i in number]
    for name in Batch._fields:
        np.testing.assert_array_equal(getattr(batch, name), np.concatenate([e[name] for e in expected]), name)
    return number.astype(int).tolist()


def test_add_and_extend_store_the_same():
    one_by_one, at_once = ReplayBuffer(10, 2, 1), ReplayBuffer(10, 2, 1)
    rows = transitions(0, 7)
    for i in range(7):
        one_by_one.add(*(rows[name][i] for name in Batch._fields))
    at_once.extend(rows)
    assert len(one_by_one) == len(at_once) == 7
    assert numbers(one_by_one.sample(np.arange(7))) == list(range(7))
    assert dumps(one_by_one.state()) == dumps(at_once.state())


def test_penalty_is_zero_unless_given():
    buffer = ReplayBuffer(4, 2, 1)
    buffer.add([1, 2], [0.5], 1.0, [3, 4], True)
    rows = transitions(1, 1)
    del rows["penalty"]
    buffer.extend(rows)
    assert buffer.sample(np.arange(2)).penalty.tolist() == [0, 0]


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_ring_wraps_and_keeps_the_newest(chunk):
    buffer = ReplayBuffer(10, 2, 1)
    for first in range(0, 30, chunk):
        buffer.extend(transitions(first, chunk))
    total = 30 if 30 % chunk == 0 else first + chunk
    assert len(buffer) == 10
    assert sorted(numbers(buffer.sample(np.arange(10)))) == list(range(total - 10, total))
    assert numbers(buffer.last(4)) == list(range(total - 4, total))
    assert numbers(buffer.last(99)) == list(range(total - 10, total))


def test_online_transitions_never_evict_offline_ones():
    offline, online = filled(0, 50, capacity=50), ReplayBuffer(20, 2, 1)
    generator = np.random.default_rng(0)
    seen: set[int] = set()
    for first in range(1000, 1500, 10):
        online.extend(transitions(first, 10))
        seen |= {i for i in numbers(draw_mixed(offline, online, 0.5, 32, generator)) if i < 1000}
    assert seen == set(range(50))
    assert numbers(offline.sample(np.arange(50))) == list(range(50))


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("batch_size", [20, 256])
def test_minibatch_has_the_exact_number_of_offline_rows_first(fraction, batch_size):
    """The count is the product where that is an integer, else one of its two neighbours; offline rows come first."""
    offline, online = filled(0, 50), filled(1000, 70)
    generator = np.random.default_rng(0)
    for _ in range(20):
        drawn = np.array(numbers(draw_mixed(offline, online, fraction, batch_size, generator)))
        count = int((drawn < 1000).sum())
        assert len(drawn) == batch_size
        assert abs(count - fraction * batch_size) < 1
        assert (drawn[:count] < 1000).all()
        if batch_size == 20:
            assert count == round(fraction * 20)


def test_every_row_is_drawn_equally_often():
    offline, online = filled(0, 8), filled(1000, 12)
    generator = np.random.default_rng(0)
    drawn = np.concatenate([numbers(draw_mixed(offline, online, 0.25, 200, generator)) for _ in range(100)])
    for first, n, expected in ((0, 8, 5000 / 8), (1000, 12, 15000 / 12)):
        counts = np.bincount(drawn[(drawn >= first) & (drawn < first + n)] - first, minlength=n)
        assert np.abs(counts - expected).max() < 5 * expected**0.5


def test_stochastic_rounding_has_the_right_mean():
    generator = np.random.default_rng(0)
    counts = np.array([offline_count(0.3, 256, generator) for _ in range(4000)])
    assert set(counts.tolist()) == {76, 77}
    assert counts.mean() == pytest.approx(76.8, abs=5 * 0.4 / 4000**0.5)


@pytest.mark.parametrize(("fraction", "batch_size", "count"), [(0.07, 100, 7), (0.5, 256, 128), (0, 7, 0), (1, 7, 7)])
def test_rounding_draws_nothing_when_there_is_nothing_to_round(fraction, batch_size, count):
    """0.07 * 100 is 7.000000000000001 in floating point and still counts as an integer."""
    generator = np.random.default_rng(0)
    assert offline_count(fraction, batch_size, generator) == count
    assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_an_empty_side_is_replaced_by_the_other():
    some, empty = filled(0, 5), ReplayBuffer(5, 2, 1)
    generator = np.random.default_rng(0)
    for offline, online in ((some, empty), (empty, some), (some, None), (None, some)):
        assert set(numbers(draw_mixed(offline, online, 0.5, 64, generator))) == set(range(5))
    for offline in (None, empty):
        with pytest.raises(InputError, match="neither"):
            draw_mixed(offline, empty, 0.5, 64, generator)


def test_restored_mid_way_equals_never_stopped():
    """Filled rows only are saved; after a restore both rings go on alike, beyond the wrap too."""
    for n in (6, 14):
        buffer, other = filled(0, 0, capacity=10), filled(500, 9, capacity=10)
        for first in range(n):
            buffer.extend(transitions(first, 1))
        state = loads(dumps(buffer.state()))
        assert len(state["rows"]) == min(n, 10)
        other.restore(state)
        for ring in (buffer, other):
            ring.extend(transitions(100, 7))
        assert dumps(buffer.state()) == dumps(other.state())
        assert numbers(other.last(8)) == [n - 1, *range(100, 107)]


def test_same_generator_state_gives_the_same_batch():
    offline, online = filled(0, 50), filled(1000, 70)
    batches = [draw_mixed(offline, online, 0.3, 64, np.random.default_rng(3)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_bad_input_is_refused_and_stores_nothing():
    buffer = filled(0, 3, capacity=10)
    before = dumps(buffer.state())
    good = transitions(0, 4)
    for wrong, message in (
        ({**good, "reward": good["reward"][:2]}, "reward has shape"),
        ({**good, "obs": good["obs"][:, :1]}, "obs has shape"),
        ({**good, "done": good["reward"]}, "done"),
        ({name: good[name] for name in ("obs", "action")}, "must be obs, action, reward"),
        (transitions(0, 11), "capacity 10"),
    ):
        with pytest.raises(InputError, match=message):
            buffer.extend(wrong)
    assert dumps(buffer.state()) == before
    with pytest.raises(InputError, match="capacity is 0"):
        ReplayBuffer(0, 2, 1)
    with pytest.raises(InputError, match=r"fraction is 1\.5"):
        offline_count(1.5, 4, np.random.default_rng(0))
    with pytest.raises(InputError, match="same sizes"):
        ReplayBuffer(2, 2, 1).restore(buffer.state())
    with pytest.raises(InputError, match="add some first"):
        ReplayBuffer(2, 2, 1).draw_indices(1, np.random.default_rng(0))
    other = ReplayBuffer(5, 3, 1)
    other.add([0, 0, 0], [0], 0, [0, 0, 0], False)
    with pytest.raises(InputError, match="same sizes"):
        draw_mixed(buffer, other, 0.5, 4, np.random.default_rng(0))
