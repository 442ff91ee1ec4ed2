"""The final policy of a finished run, kept after its checkpoints are gone, so that it can still be watched."""

from pathlib import Path
from typing import Any

from baselines.api import Adapter, SavesPolicy
from suites.adapters import build_adapter
from suites.spec import RunSpec, run_spec_from_json
from suites.store import Store, read_json
from wombet.errors import InputError
from wombet.files import sha256, write_atomically
from wombet.serialization import dumps, loads

FILE = "policy.safetensors"


def save_policy(adapter: Adapter, folder: Path) -> dict[str, Any] | None:
    """Write what the adapter needs to act; returns hash, size and whether that is its whole state, for done.json.

    None, and no file, for a method whose state cannot be had.
    """
    if isinstance(adapter, SavesPolicy):
        state, whole = adapter.policy_state(), False
    elif adapter.capabilities.resumable:
        state, whole = adapter.state(), True
    else:
        return None
    data = dumps(state)
    write_atomically(folder / FILE, data)
    return {"sha256": sha256(data), "bytes": len(data), "whole_state": whole}


def load_policy(folder: Path, store: Store, device: str = "cpu") -> tuple[RunSpec, Adapter]:
    """Return a finished run's spec and an adapter that acts as it did at the run's end.

    Raises InputError if the run is not finished, if it kept no policy or one that was changed, or if the method is
    another version by now.
    """
    content, done = read_json(folder / "spec.json"), read_json(folder / "done.json")
    if content is None or done is None:
        raise InputError(f"{folder} is not the folder of a finished run")
    spec = run_spec_from_json(content)
    kept = done.get("policy")
    if kept is None:
        raise InputError(f"{folder} has no stored policy; run it again in another store to have one")
    path = folder / FILE
    if f"{spec.folder}/{FILE}" in store.left_out and not path.is_file():
        raise InputError(f"{folder} was published without its policy; run it again in a store of its own to have one")
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data) != kept["sha256"]:
        raise InputError(f"{path} is missing or was changed since the run finished")
    adapter, _ = build_adapter(spec, store, device)
    if isinstance(adapter, SavesPolicy) and not kept["whole_state"]:
        adapter.restore_policy(loads(data))
    else:
        adapter.restore(loads(data))
    return spec, adapter
