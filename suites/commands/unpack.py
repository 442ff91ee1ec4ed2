"""`wombet unpack`: a store from published results."""

from pathlib import Path
from typing import Annotated

import typer

from suites.commands.options import console


def unpack_command(
    published: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of published results: results/SUITE.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="New or empty folder for the store.")],
) -> None:
    """Make a store of published results, for every verb that takes --store.

    Weights and the rows of datasets are not in it. `wombet run SUITE --store STORE` carries out the runs that are
    missing and no others; the datasets that these need are built again, and have to come out as published.
    """
    from suites.archive import unpack

    index = unpack(published, store)
    suite, finished, planned = index["suite"], index["finished"], index["planned"]
    print(f"{store}: {finished} of {planned} runs of suite {suite} are finished")
    verb = "report" if finished == planned else "run"
    console().print(f"`wombet {verb} {suite} --store {store}` goes on from here", markup=False, soft_wrap=True)
