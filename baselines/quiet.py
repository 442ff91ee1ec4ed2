"""Imports without the notice that the unmaintained package `gym` prints wherever it is found."""

import sys
import types


def silence_gym() -> None:
    """Keep `gym`, which d3rlpy and Stable-Baselines3 import where it is installed, from printing its notice."""
    if "gym" in sys.modules:
        return
    notices = types.ModuleType("gym_notices.notices")
    notices.notices = {}  # type: ignore[attr-defined]
    package = types.ModuleType("gym_notices")
    package.notices = notices  # type: ignore[attr-defined]
    sys.modules.setdefault("gym_notices", package)
    sys.modules.setdefault("gym_notices.notices", notices)
