"""The one exception that is meant to be read by the person who typed the input."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What was asked for is wrong: the message is one sentence that says what, where, and what would be right."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `names`, capitals aside, or the list of all when none is near."""
    known = sorted(names)
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else f"; known are {', '.join(known)}"
