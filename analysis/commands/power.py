"""The verb `power`."""

from typing import Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption


def power_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite that was run, or the path of its TOML file.")],
    difference: Annotated[
        float, typer.Option("--difference", help="The true difference of scores that shall be found.")
    ],
    store: StoreOption = DEFAULT_STORE,
    methods: Annotated[
        list[str] | None, typer.Option("--methods", help="Only comparisons among these. Repeatable.")
    ] = None,
    power: Annotated[float, typer.Option("--power", help="How often it shall be found.")] = 0.8,
    alpha: Annotated[float, typer.Option("--alpha", help="Error probability of one comparison.")] = 0.05,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="A setting that the suite was run with. Repeatable."),
    ] = None,
) -> None:
    """Say how many seeds a comparison needs to find a difference, from the variances of the stored runs.

    Few seeds know a variance badly: `seeds cautious` is the number for the upper end of an 80 % interval of it.
    """
    from analysis.frames import frame_table, records
    from analysis.load import load_suite
    from analysis.power import power_table
    from suites.commands.options import console, print_json, stored_name
    from suites.store import Store

    place = Store(store)
    results = load_suite(place, stored_name(suite, set_, place))
    table = power_table(results, difference, methods, power=power, alpha=alpha)
    if json:
        print_json({"suite": results.manifest["name"], "difference": difference, "comparisons": records(table)})
        return
    title = f"seeds per pair to find a difference of {difference:g} with power {power:g} at alpha {alpha:g}"
    console().print(frame_table(table, title))
