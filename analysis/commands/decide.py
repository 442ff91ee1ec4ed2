"""The verb `decide`."""

import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption

if TYPE_CHECKING:
    from analysis.decide import Decision, Plan, Run
    from suites.store import Store


def decide_command(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A suite of the catalogue, or the path of a TOML file.")
    ],
    a: Annotated[str, typer.Argument(metavar="A", help="A method of the suite.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The method it is compared with.")],
    store: StoreOption = DEFAULT_STORE,
    first: Annotated[int, typer.Option("--first", help="Seeds at the first look.")] = 5,
    step: Annotated[int, typer.Option("--step", help="Seeds from one look to the next.")] = 1,
    cap: Annotated[
        int | None, typer.Option("--cap", help="Seeds at the last look.", show_default="all of the suite")
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Error probability over all looks together.")] = 0.05,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Run the seeds that a look lacks.")] = True,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="Change a method's setting. Repeatable."),
    ] = None,
) -> None:
    """Add seeds until a comparison of two methods is decided, or a cap is reached.

    Looking again and again at growing results finds differences that are not there, unless the bounds allow for it:
    these are O'Brien and Fleming's, by an error-spending function. The plan and every look are kept in the store, and a
    plan cannot be changed once a look was taken. Exit code 1 if seeds are missing for the next look.
    """
    from analysis.decide import decide, make_plan
    from analysis.load import load_suite
    from suites.commands.options import manifest_name, print_json
    from suites.store import Store

    place = Store(store)
    name = manifest_name(suite, set_, place)
    known = name in place.manifests()
    seeds = int(place.manifest(name)["seeds"]) if known else _seeds_of(suite)
    cap = seeds if cap is None else cap
    plan = make_plan(name, a, b, first, step, cap, alpha)
    if cap > seeds:
        from wombet.errors import InputError

        raise InputError(f"--cap is {cap}, but suite {name} has {seeds} seeds; raise its `seeds` or lower --cap")
    runner = _runner(suite, plan, place, set_)
    if run and not known:
        runner(plan.looks[0])
    decision = decide(place, plan, lambda: load_suite(place, name), runner if run else None)
    if json:
        print_json(asdict(decision))
    else:
        _print(decision)
    raise typer.Exit(0 if decision.conclusion else 1)


def _seeds_of(suite: str) -> int:
    from suites.spec import load_suite

    return load_suite(suite).seeds


def _runner(suite: str, plan: "Plan", store: "Store", set_: list[str] | None) -> "Run":
    """`wombet run` in a process of its own, for both methods and the first seeds; its output goes to standard error."""

    def run(seeds: int) -> None:
        chosen = ["--methods", plan.a, "--methods", plan.b, "--seeds", str(seeds), "--store", str(store.root)]
        settings = [part for text in set_ or [] for part in ("--set", text)]
        program = [sys.executable, "-c", "from suites.cli import main; main()"]
        done = subprocess.run(
            [*program, "run", suite, *chosen, *settings, "--no-report"], stdout=sys.stderr, check=False
        )
        if done.returncode not in (0, 1):
            raise typer.Exit(done.returncode)

    return run


def _print(decision: "Decision") -> None:
    import pandas as pd

    from analysis.frames import frame_table
    from suites.commands.options import console

    plan, place = decision.plan, console()
    columns = ["seeds", "units", "difference", "p", "nominal_p", "crossed"]
    rows = [[getattr(look, name) for name in columns] for look in decision.looks]
    frame = pd.DataFrame(rows, columns=columns).rename(columns={"nominal_p": "needed p"})
    for name in ("p", "needed p"):
        frame[name] = [None if value is None else f"{value:.2g}" for value in frame[name]]
    of = " of normalised scores" if decision.scale == "normalised" else ""
    place.print(frame_table(frame, f"{plan.a} - {plan.b}{of}, looks at {', '.join(map(str, plan.looks))} seeds"))
    if decision.foreseen >= plan.looks[0]:
        place.print(
            f"{decision.foreseen} seeds were already finished when this plan was made, so it was not made blind.",
            highlight=False,
        )
    if decision.conclusion is None:
        place.print(f"Open: seeds for the next look are missing (cap {plan.cap}).", highlight=False)
    elif decision.conclusion in (plan.a, plan.b):
        place.print(
            f"Decided: {decision.conclusion} scores higher (alpha {plan.alpha:g} over all looks).", highlight=False
        )
    else:
        place.print(f"Undecided at the cap of {plan.cap} seeds.", highlight=False)
