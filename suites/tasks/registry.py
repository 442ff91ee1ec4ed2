"""The task families that there are: built in, registered by hand, or declared by other packages."""

import difflib
import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from suites.tasks.families import Family
from wombet.errors import InputError

ENTRY_POINTS = "wombet.families"
"""Entry-point group: each point loads to a Family, or to a callable that returns one Family or several."""

_families: dict[str, Family] = {}
_read: set[str] = set()
_built_in: set[str] = set()


def families() -> dict[str, Family]:
    """Return all families by name, those of other packages included; raises InputError if one of those is broken."""
    _read_builtin()
    _read_entry_points()
    return dict(_families)


def whole_families() -> tuple[dict[str, Family], list[str]]:
    """Return the families that are whole, by name, and a sentence for every package whose own are broken."""
    complaints: list[str] = []
    _read_builtin()
    _read_entry_points(complaints)
    return dict(_families), complaints


def family(name: str) -> Family:
    """Return the family of that name; raises InputError with the nearest name if there is none."""
    _read_builtin()
    if name not in _families:
        _read_entry_points()
    if name not in _families:
        raise unknown_name("task family", name, _families)
    return _families[name]


def is_built_in(name: str) -> bool:
    """Whether the family of that name is this project's own."""
    _read_builtin()
    return name in _built_in


def register_family(new: Family) -> None:
    """Add a family; raises InputError if its name, its version or its levels cannot be used."""
    _read_builtin()
    _add(new)


def unknown_name(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that does not exist, which says the nearest one that does."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.0)[0]
    return InputError(f"there is no {what} {name!r}; did you mean {nearest!r}? (there are: {', '.join(choices)})")


def _add(new: Family) -> None:
    if not isinstance(new, Family):
        raise InputError(f"only a Family can be registered, and this is a {type(new).__name__}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", new.name):
        raise InputError(
            f"the family name {new.name!r} must be lower-case letters, digits and _, beginning with a letter"
        )
    if new.name in _families:
        raise InputError(f"a task family {new.name!r} is already registered; give the new one another name")
    if "source" not in new.levels or "aligned" in new.levels:
        raise InputError(
            f"the levels of family {new.name!r} must include 'source' and leave out 'aligned', which equals it"
        )
    if type(new.version) is not int or new.version < 1:
        raise InputError(
            f"the version of family {new.name!r} is {new.version!r}; it must be a whole number of at least 1"
        )
    _families[new.name] = new


def _read_builtin() -> None:
    if "built in" in _read:
        return
    from suites.tasks import fixed_base, locomotion

    makers = (
        locomotion.halfcheetah,
        locomotion.hopper,
        locomotion.walker2d,
        locomotion.ant,
        locomotion.swimmer,
        fixed_base.pusher,
        fixed_base.cartpole,
        fixed_base.reacher,
        locomotion.humanoid,
    )
    _read.add("built in")
    for maker in makers:
        made = maker()
        _add(made)
        _built_in.add(made.name)


def _read_entry_points(complaints: list[str] | None = None) -> None:
    """Add the families of other packages; what is wrong with one is raised, or joins the complaints."""
    for point in entry_points(group=ENTRY_POINTS):
        source = f"entry point {point.name} = {point.value}"
        if source in _read:
            continue
        try:
            _add_declared(point, source)
        except InputError as error:
            if complaints is None:
                raise
            complaints.append(str(error))


def _add_declared(point: EntryPoint, source: str) -> None:
    try:
        loaded = point.load()
        found = loaded if isinstance(loaded, Family) else loaded()
        new = [found] if isinstance(found, Family) else list(found)
    except Exception as error:
        raise InputError(f"the {source} of group {ENTRY_POINTS} gives no task family ({error})") from error
    # Marked first: a half-registered point must not clash with itself when it is asked for again.
    _read.add(source)
    for item in new:
        _add(item)
