"""The verb `compare`."""

from typing import Annotated

import typer

from analysis.commands.report import DEFAULT_RESAMPLES
from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption

DEFAULT_MARGIN = 0.02


def compare_command(
    methods: Annotated[list[str], typer.Argument(metavar="A B ...", help="Methods of the suite; two or more.")],
    suite: Annotated[str, typer.Option("--suite", help="A suite that was run, or the path of its TOML file.")],
    store: StoreOption = DEFAULT_STORE,
    margin: Annotated[
        float, typer.Option("--margin", help="Difference of scores below which methods count as equivalent.")
    ] = DEFAULT_MARGIN,
    target_steps: Annotated[
        int | None,
        typer.Option("--target-steps", min=0, help="Compare at equal target steps, at most so many; not at the end."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Error probability over all comparisons of a kind.")] = 0.05,
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap resamples.")] = DEFAULT_RESAMPLES,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="A setting that the suite was run with. Repeatable."),
    ] = None,
) -> None:
    """Compare methods pair by pair and seed by seed, with intervals and p-values controlled over the whole table.

    Runs with one seed met the same data and initial states, so differences are taken within seeds: of final scores, or,
    with --target-steps, of those at the last number of target steps by then at which all of the methods were evaluated
    (printed, since methods are not evaluated at the same steps). p-values are those of a sign-flip test, adjusted by
    Holm's method over all pairs of methods in the same scope; where the independent seeds or datasets cannot reach
    --alpha there is none, but "too few seeds". `detectable` is the smallest true difference that such a test would find
    four times in five.
    """
    from analysis.bootstrap import check_resamples
    from analysis.comparisons import check_methods, compare, tally
    from analysis.curves import equal_target_steps, stopped_at
    from analysis.frames import frame_table, records
    from analysis.load import load_suite
    from suites.commands.options import console, print_json, stored_name
    from suites.store import Store

    check_resamples(resamples)
    place = Store(store)
    results = load_suite(place, stored_name(suite, set_, place))
    taken = None
    if target_steps is not None:
        taken = equal_target_steps(results, check_methods(results, methods), target_steps)
        results = stopped_at(results, taken)
    table = compare(results, methods, margin=margin, alpha=alpha, resamples=resamples)
    if json:
        told = {"suite": results.manifest["name"], "target_steps": taken, "comparisons": records(table)}
        print_json({**told, "tally": records(tally(table))})
        return
    when = "" if taken is None else f", at {_steps(taken)} target steps"
    shown = table.drop(columns=["p_equivalence", "margin", "correlation"])
    for scope, rows in shown.groupby("scope", sort=False):
        if scope == "family" and rows["group"].nunique() == 1:
            continue
        title = {"all": "over all pairs", "family": "by task family", "pair": "by task pair"}[str(scope)]
        console().print(frame_table(rows.drop(columns=["scope"]), f"a - b, {title}{when}"))
    console().print(frame_table(tally(table), "verdicts over task families"))


def _steps(taken: dict[str, int]) -> str:
    if len(set(taken.values())) == 1:
        return f"{next(iter(taken.values())):,}"
    return ", ".join(f"{steps:,} ({pair})" for pair, steps in taken.items())
