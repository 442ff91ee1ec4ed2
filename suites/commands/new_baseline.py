"""`wombet new-baseline`: write a package with an adapter that runs as it stands, and its test."""

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from wombet.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_baseline_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the method, as in my-method.")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to write it.", show_default="./NAME")] = None,
) -> None:
    """Write a package with a baseline that already works: an adapter, its registry line, a test and a small suite."""
    from baselines.registry import method_names
    from suites.baseline_stub import stub_files
    from wombet.files import write_atomically

    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a method: use lower-case letters, digits and hyphens, as in my-method")
    if name in method_names():
        raise InputError(f"there is a method {name!r} already; choose another name")
    _check_module(name)
    place = folder or Path(name)
    files = stub_files(name)
    for path in files:
        if (place / path).exists():
            raise InputError(f"{place / path} exists, and nothing is overwritten; name another place with --folder")
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place / path, content.encode())
    python = Path(sys.executable)
    print(f"Wrote {', '.join(files)} to {place}. Next:")
    print(f"  {python} -m pip install --no-deps -e {place}")
    print(f"  {python.parent / 'wombet'} check-baseline {name}")
    print(f"  {python.parent / 'wombet'} run {place / 'suite.toml'}")


def _check_module(name: str) -> None:
    """Raise InputError if the module of that name could not be imported, or would hide another one."""
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise InputError(f"{name!r} is a word of Python's own, so that no module can have it; choose another name")
    if module in sys.stdlib_module_names or find_spec(module) is not None:
        raise InputError(f"{name!r} would hide the installed module {module}; choose another name, as in my-{name}")
