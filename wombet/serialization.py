"""States as bytes and back, without executing anything: arrays in safetensors, the rest as JSON beside them.

A tree is made of dicts with string keys, lists, tuples, numpy arrays, torch tensors, numbers, strings, booleans and
None. Tensors come back as tensors on the CPU, arrays as arrays, tuples as tuples; equal trees give equal bytes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from wombet.errors import InputError
from wombet.files import canonical_json, write_atomically

Tree = Any


def dumps(tree: Tree) -> bytes:
    """Return the bytes of a tree; raises TypeError for a value that is not one of the kinds named above."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    skeleton = _strip(tree, arrays)
    return save(arrays, metadata={"tree": canonical_json(skeleton)})


def loads(data: bytes) -> Tree:
    """Return the tree that `dumps` wrote; raises InputError if the bytes are not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        skeleton = json.loads(header["__metadata__"]["tree"])
        return _fill(skeleton, load(data))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the state is damaged or not one of ours ({error})") from error


def save_tree(path: Path, tree: Tree) -> None:
    """Write a tree to a file, atomically."""
    write_atomically(path, dumps(tree))


def load_tree(path: Path) -> Tree:
    """Read a tree from a file; raises InputError, naming the file, if it is damaged."""
    try:
        return loads(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _strip(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return {"v": _plain_number(value)}
    if isinstance(value, np.generic):
        return {"v": _plain_number(value.item())}
    if isinstance(value, dict):
        return {"d": {key: _strip(value[key], arrays) for key in sorted(value, key=_string_key)}}
    if isinstance(value, list | tuple):
        return {"l" if isinstance(value, list) else "t": [_strip(item, arrays) for item in value]}
    kind, array = _as_array(value)
    name = f"{len(arrays):06d}"
    arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return {kind: name}


def _as_array(value: Any) -> tuple[str, np.ndarray]:
    if isinstance(value, np.ndarray):
        return "a", value
    import torch

    if isinstance(value, torch.Tensor):
        return "T", value.detach().cpu().numpy()
    raise TypeError(f"a {type(value).__name__} cannot be part of a state")


def _plain_number(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    return value


def _string_key(key: Any) -> str:
    if not isinstance(key, str):
        kind = type(key).__name__
        raise TypeError(f"a state's keys are strings, and {key!r} is of type {kind}; keep a list of pairs instead")
    return key


def _fill(node: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    ((kind, content),) = node.items()
    if kind == "v":
        return float(content["float"]) if isinstance(content, dict) else content
    if kind == "d":
        return {key: _fill(item, arrays) for key, item in content.items()}
    if kind == "l":
        return [_fill(item, arrays) for item in content]
    if kind == "t":
        return tuple(_fill(item, arrays) for item in content)
    if kind == "a":
        return arrays[content].copy()
    if kind == "T":
        import torch

        return torch.from_numpy(arrays[content].copy())
    raise ValueError(f"unknown kind {kind!r}")
