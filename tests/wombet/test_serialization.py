"""States as bytes: what goes in comes out, equal trees give equal bytes, damage is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wombet.errors import InputError
from wombet.serialization import dumps, load_tree, loads, save_tree


def tree() -> dict:
    generator = np.random.default_rng(0)
    generator.random(3)
    return {
        "array": np.arange(6, dtype=np.float64).reshape(2, 3),
        "empty": np.zeros((0, 4), np.float32),
        "scalar tensor": torch.tensor(2.5),
        "tensor": torch.arange(4),
        "stream": generator.bit_generator.state,
        "torch stream": torch.Generator().manual_seed(3).get_state(),
        "numbers": [1, 2.5, True, None, float("inf"), (1, "two")],
    }


def test_a_tree_comes_back_with_its_kinds() -> None:
    back = loads(dumps(tree()))
    assert np.array_equal(back["array"], tree()["array"])
    assert back["array"].dtype == np.float64
    assert back["empty"].shape == (0, 4)
    assert back["scalar tensor"].shape == ()
    assert torch.equal(back["tensor"], torch.arange(4))
    assert back["numbers"] == [1, 2.5, True, None, float("inf"), (1, "two")]
    restored = np.random.default_rng(9)
    restored.bit_generator.state = back["stream"]
    expected = np.random.default_rng(0)
    expected.random(3)
    assert restored.random() == expected.random()
    assert torch.equal(back["torch stream"], torch.Generator().manual_seed(3).get_state())


def test_equal_trees_give_equal_bytes_and_other_trees_others() -> None:
    other = tree()
    other["array"][0, 0] = 1e-300
    assert dumps(tree()) == dumps(tree()) != dumps(other)


def test_the_order_in_which_a_dict_was_filled_does_not_matter() -> None:
    assert dumps(tree()) == dumps(dict(reversed(tree().items())))


def test_what_comes_back_is_a_copy_that_can_be_written_to() -> None:
    back = loads(dumps(tree()))
    back["array"][0, 0] = 5
    back["tensor"][0] = 5


@pytest.mark.parametrize("value", [object(), {1: 2}, {"f": print}])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_tree(path, tree())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=str(path)):
        load_tree(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged"):
        load_tree(path)
