"""The source file of an adapter from another package, so that runs of code that has changed since are named."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.registry import method
from suites.spec import RunSpec
from suites.store import Store, read_list
from wombet.errors import InputError
from wombet.files import sha256_of_file


def adapter_source(name: str) -> dict[str, Any]:
    """Return the module and the file's hash of a method of another package; nothing for one of this project's own.

    The version in an adapter's capabilities says when results change. While an adapter is being written nobody raises
    it, and its finished runs would pass for those of the new code.
    """
    try:
        adapter = method(name)
    except InputError:  # told by whoever needs the adapter
        return {}
    if adapter.__module__.split(".")[0] == "baselines":
        return {}
    path = getattr(sys.modules.get(adapter.__module__), "__file__", None)
    return {} if path is None else {"adapter": {"module": adapter.__module__, "sha256": sha256_of_file(Path(path))}}


def changed_since(runs: Sequence[RunSpec], store: Store) -> dict[str, int]:
    """Return by row how many of these runs were finished with another source file of their adapter than now."""
    now = {name: adapter_source(name).get("adapter") for name in {run.method for run in runs}}
    changed = Counter[str]()
    for run in runs:
        folder = store.run_folder(run.folder)
        if now[run.method] is None or not (folder / "done.json").is_file():
            continue
        attempts = read_list(folder / "provenance.json")
        then = attempts[-1].get("adapter") if attempts else None
        changed[run.row] += then is not None and then != now[run.method]
    return {row: count for row, count in changed.items() if count}
