"""The one exception that is meant to be read by the person who typed the input."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What was asked for is wrong: the message is one sentence that says what, where, and what would be right."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `names`, or the list of all when none is near."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
