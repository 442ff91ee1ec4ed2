"""`wombet check-baseline`: run the adapter contract on a method."""

import time
from typing import Annotated, Any

import typer

from suites.commands.options import JsonOption, console, print_json

SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A setting that makes the method quick and small. Repeatable."),
]


def check_baseline_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered method, one of another package too.")],
    set_: SettingOption = None,
    json: JsonOption = False,
) -> None:
    """Check a method against every clause of the adapter contract, on a tiny task; exit code 1 if it breaks one."""
    from baselines.config import make_config
    from baselines.registry import method
    from suites.contract import CLAUSES, Subject

    settings = _settings(name, set_ or [])
    make_config(method(name).Config, settings, name)
    subject, rows = Subject(name, settings), []
    for clause in CLAUSES:
        rows.append(_checked(clause, subject))
        if not json:
            _print(rows[-1])
    broken = [row for row in rows if row["result"] == "broken"]
    if json:
        print_json({"method": name, "clauses": rows})
    else:
        print(f"{name} keeps the contract." if not broken else f"{name} breaks {len(broken)} of {len(rows)} clauses.")
    raise typer.Exit(1 if broken else 0)


def _settings(name: str, texts: list[str]) -> dict[str, Any]:
    from suites.spec import parse_overrides
    from wombet.errors import InputError

    for text in texts:
        field, equals, _ = text.partition("=")
        if not (equals and field.strip()):
            raise InputError(f"--set {text!r} does not read FIELD=VALUE, as in batch_size=8")
    return parse_overrides([f"{name}.{text}" for text in texts]).get(name, {})


def _checked(clause: Any, subject: Any) -> dict[str, Any]:
    from suites.contract import BrokenClause, NotApplicable

    begun = time.perf_counter()
    result, sentence = "kept", ""
    try:
        clause(subject)
    except NotApplicable as reason:
        result, sentence = "does not apply", str(reason)
    except BrokenClause as reason:
        result, sentence = "broken", str(reason)
    except Exception as error:  # whatever a method raises is a finding about the method
        result, sentence = "broken", f"it raised {type(error).__name__}: {error}"
    return {
        "clause": clause.__name__.replace("_", " "),
        "asks": (clause.__doc__ or "").strip(),
        "result": result,
        "sentence": sentence,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _print(row: dict[str, Any]) -> None:
    from rich.markup import escape

    mark = {"kept": "[green]kept[/]", "broken": "[bold red]BROKEN[/]"}.get(row["result"], "[dim]does not apply[/]")
    asks, reason = escape(row["asks"]), escape(row["sentence"])
    console().print(f"{mark}  {asks.removesuffix('.')}: {reason}" if reason else f"{mark}  {asks}", soft_wrap=True)
