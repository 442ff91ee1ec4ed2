"""The verb `publish`. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, SetOption, StoreOption


def publish_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite that was run, or the path of its TOML file.")],
    store: StoreOption = DEFAULT_STORE,
    to: Annotated[Path, typer.Option("--to", help="Folder in which the suite's folder is made.")] = Path("results"),
    readme: Annotated[
        Path | None,
        typer.Option(
            "--readme", metavar="FILE", help="Also put table and figure between the suite's marks in this file."
        ),
    ] = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Publish a suite's results: a packed store, the report built from it, and tables to read, in results/SUITE.

    All that a report needs and the provenance of every attempt is packed, without weights, replay and the rows of
    datasets; the same runs give the same bytes. A suite with missing cells is published too, and names them.
    `wombet unpack` turns the folder into a store again.
    """
    from wombet.resources import keep_freed_memory, set_threads

    set_threads(1)
    keep_freed_memory()
    from analysis.publication import publish
    from analysis.readme import readme_block_of, rewrite_readme
    from suites.commands.options import print_json, stored_name
    from suites.store import Store

    place = Store(store)
    chosen = stored_name(suite, set_, place)
    if readme is not None:
        readme_block_of(readme, chosen)
    made = publish(place, chosen, to)
    changed = readme is not None and rewrite_readme(readme, made.folder)
    if json:
        told = {"folder": str(made.folder), "index": made.index, "missing": made.missing, "bytes": made.sizes}
        print_json({**told, "readme_changed": changed})
        return
    for name, size in made.sizes.items():
        print(f"{made.folder / name}: {size:,} bytes")
    for hole in made.missing:
        print(f"missing: {hole}")
    if readme is not None:
        print(f"{readme}: {'its block was written' if changed else 'its block is as it was'}")
