"""One colour, line and marker for every method, the same in every figure and every report."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wombet.files import sha256

GREY = "#767676"
# The colours of Okabe and Ito without yellow, which vanishes on white, and four of Paul Tol's muted scheme.
_COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#332288",
    "#882255",
    "#999933",
    "#44AA99",
)
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
_MARKERS = ("o", "s", "^", "D")
_KNOWN = {
    "wombet": (0, 0),
    "sac": (1, 0),
    "rlpd": (2, 0),
    "wsrl": (3, 0),
    "bc": (4, 0),
    "iql": (5, 0),
    "cql": (6, 0),
    "awac": (7, 0),
    "cal-ql": (8, 0),
    "td3-bc": (9, 0),
    "ppo": (1, 1),
    "td3": (1, 2),
    "mopo": (4, 1),
    "combo": (5, 1),
    "hy-q": (2, 1),
    "off2on": (3, 1),
}
_REFERENCES = {"random": 2, "zero": 1}


@dataclass(frozen=True)
class Style:
    """How a method is drawn; `dashes` is a matplotlib line style."""

    colour: str
    dashes: Any
    marker: str


def method_styles(methods: Iterable[str]) -> dict[str, Style]:
    """Return the style of every method; it depends on the name, and for names not known here on the other unknown ones.

    An unknown name starts at a place given by its hash and moves on while the place is taken, so that no two methods
    look the same before forty are drawn.
    """
    names = set(methods)
    taken = {_KNOWN[name] for name in names if name in _KNOWN}
    places = {name: _KNOWN[name] for name in names if name in _KNOWN}
    free = [(colour, dash) for dash in range(len(_DASHES)) for colour in range(len(_COLOURS))]
    for name in sorted(names - set(_KNOWN) - set(_REFERENCES)):
        start = int(sha256(name)[:8], 16) % len(_COLOURS)
        order = [*free[start:], *free[:start]]
        place = next((place for place in order if place not in taken), order[0])
        taken.add(place)
        places[name] = place
    styles = {name: Style(_COLOURS[colour], _DASHES[dash], _MARKERS[dash]) for name, (colour, dash) in places.items()}
    return styles | {name: Style(GREY, _DASHES[dash], "x") for name, dash in _REFERENCES.items() if name in names}
