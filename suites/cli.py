"""The program `wombet`: finds its verbs by entry point, and turns bad input into one sentence and exit code 2."""

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from wombet.errors import InputError

COMMANDS = "wombet.commands"
ORDER = (
    *("list", "plan", "data", "run", "status", "retry", "check"),
    *("report", "figure", "compare", "power", "decide", "export", "render"),
    *("publish", "unpack"),
    *("new-baseline", "check-baseline"),
)

HELP = """Compare methods that move experience from a source task to a target task.

`wombet run quickstart` runs a whole comparison and ends with its table; `wombet list suites` shows the others.
"""


def build_program() -> typer.Typer:
    """Return the program with every verb that is installed, those of other packages too."""
    program = typer.Typer(
        name="wombet", help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    for point in sorted(entry_points(group=COMMANDS), key=_position):
        verb = _load(point)
        if isinstance(verb, typer.Typer):
            program.add_typer(verb, name=point.name)
        else:
            program.command(name=point.name)(verb)
    return program


def main() -> None:
    """Run the program; exit codes: 0 all well, 1 some runs failed or are not done, 2 the input is wrong."""
    try:
        build_program()()
    except InputError as error:
        print(f"wombet: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"wombet: {error.strerror or error}: {error.filename}", file=sys.stderr)
        sys.exit(2)


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        complaint = f"the verb {point.name!r} of {point.value} cannot be loaded: {error}"

    def broken() -> None:
        """Cannot be loaded; the other verbs work."""
        raise InputError(complaint)

    return broken


def _position(point: EntryPoint) -> tuple[int, str]:
    return (ORDER.index(point.name) if point.name in ORDER else len(ORDER), point.name)
