"""All there is to say of one method: what it is, where it comes from, and its settings with their reasons."""

import dataclasses
import inspect
import re
from typing import Any

from suites.commands.options import console, print_json

_COMMENTED_FIELD = re.compile(r"^\s+(\w+)\s*:[^#\n]*#\s*(.+?)\s*$", re.MULTILINE)


def show_method(name: str, json: bool) -> None:
    """Print a method's card; raises InputError with the nearest name if there is no such method."""
    card = method_card(name)
    if json:
        print_json(card)
        return
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(f"[bold]{name}[/]: {escape(card['about'])}", soft_wrap=True)
    for what in ("kind", "phases", "dataset", "source", "tuned"):
        out.print(f"  {what}: {escape(str(card[what]))}", soft_wrap=True)
    for deviation in card["deviations"]:
        out.print(f"  deviation: {escape(deviation)}", soft_wrap=True)
    table = Table("setting", "default", "about")
    for row in card["settings"]:
        table.add_row(row["setting"], repr(row["default"]), escape(row["about"]))
    if card["settings"]:
        out.print(table)
    print(f"Change a setting with --set {name}.FIELD=VALUE, or under [config.{name}] of a suite file.")


def method_card(name: str) -> dict[str, Any]:
    """Return what a method says of itself, and every field of its Config with default and comment."""
    from baselines.registry import method

    kind = method(name)
    found = kind.capabilities
    about = _comments(kind.Config)
    default = kind.Config()
    return {
        "method": name,
        "about": (inspect.getdoc(kind) or "").split("\n")[0],
        "kind": found.kind,
        "phases": ", ".join(phase.value for phase in found.phases) or "none",
        "dataset": "several" if found.needs_sources else "yes" if found.needs_dataset else "no",
        "source": found.source,
        "tuned": found.tuned,
        "deviations": list(found.deviations),
        "settings": [
            {"setting": field.name, "default": getattr(default, field.name), "about": about.get(field.name, "")}
            for field in dataclasses.fields(kind.Config)
        ],
    }


def _comments(config: type) -> dict[str, str]:
    """The comment beside each field, of the class that is nearest in the line of inheritance."""
    found: dict[str, str] = {}
    for kind in config.__mro__:
        if dataclasses.is_dataclass(kind):
            for field, comment in _COMMENTED_FIELD.findall(inspect.getsource(kind)):
                found.setdefault(field, comment)
    return found
