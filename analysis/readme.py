"""What a reader finds on the way to published results: their folder's README, and a block of the project's own."""

import os
import re
from pathlib import Path
from typing import Any

from analysis import summary
from analysis.commands.report import DEFAULT_RESAMPLES
from analysis.findings import seed_list
from analysis.load import SuiteResults, load_suite
from analysis.panels import suite_form
from analysis.render import main_part, markdown_table, markdown_text
from analysis.rerun import compare_command, rerun_frame, suite_words
from analysis.tables import Table, suite_tables
from suites.archive import ARCHIVE, INDEX, opened, read_index
from wombet.errors import InputError
from wombet.files import write_atomically

FIGURE = "figure.svg"
BEGIN, END = "<!-- wombet results: {} -->", "<!-- wombet results: end -->"
_BLOCK = re.compile(
    r"<!-- wombet results: (?!end)(\S+) -->\n(?:(?!<!-- wombet results: ).)*<!-- wombet results: end -->", re.S
)
_STATES = {"todo": "not run", "running": "unfinished", "interrupted": "unfinished", "done": "unusable"}
_FORMS = {
    "curves": "score over target steps, interquartile means with 95 % intervals",
    "ablation": "final scores, interquartile means with 95 % intervals, and a dot for each seed",
    "zero-shot": "scores before any target step, interquartile means with 95 % intervals, and a dot for each seed",
}


def missing_cells(results: SuiteResults) -> list[str]:
    """Name the planned runs that no statistic rests on, by task pair, method and reason, in the suite's order."""
    holes = results.runs[~results.runs["usable"].astype(bool)]
    found = []
    for pair in results.pairs:
        for method in results.methods:
            own = holes[(holes["pair"] == pair) & (holes["method"] == method)]
            for state, rows in own.groupby(own["state"].map(lambda state: _STATES.get(state, state))):
                found.append(f"{pair}, {method}: {seed_list(rows['seed'])} {state}")
    return found


def has_figure(results: SuiteResults) -> bool:
    """Whether there is a finished run to draw."""
    return bool(results.runs["usable"].astype(bool).any())


def results_readme(
    results: SuiteResults, tables: list[Table], place: str, index: dict[str, Any], beside: list[str]
) -> str:
    """Return the README of published results: tables, missing cells, and commands that repeat and continue them.

    `place` is where they are published, and `beside` names the files that are there besides archive, index and README.
    """
    manifest, missing = results.manifest, missing_cells(results)
    lines = [f"# {markdown_text(manifest['title'])}", "", markdown_text(manifest["description"]), ""]
    lines += [f"{markdown_text(line)}\n" for line in _summary(results, tables[0])]
    lines += [f"**Missing:** {markdown_text('; '.join(missing))}.", ""] if missing else []
    lines += [_picture(results, FIGURE), ""] if FIGURE in beside else []
    for table in tables:
        lines += [f"## {markdown_text(table.title)}", "", _main_table(table)]
    return "\n".join([*lines, *_again(results, place), *_files(manifest, place, index, beside)])


def readme_block(published: Path, root: Path) -> str:
    """Return the block of a README in the folder `root`, marks included, that published results generate."""
    suite, link = str(read_index(published)["suite"]), Path(os.path.relpath(published, root)).as_posix()
    with opened(published) as store:
        results = load_suite(store, suite)
    table = suite_tables(results, 0, DEFAULT_RESAMPLES)[0]
    lines = [BEGIN.format(suite), f"**{markdown_text(results.manifest['title'])}** (`{suite}`), {table.title}:", ""]
    lines += [_main_table(table), *[f"{markdown_text(line)}\n" for line in _summary(results, table)]]
    lines += [_picture(results, f"{link}/{FIGURE}"), ""] if has_figure(results) else []
    lines += [
        f"All tables, the report, every run behind them, and how to run one again: [{link}]({link}/README.md).",
        END,
    ]
    return "\n".join(lines)


def readme_blocks(readme: Path) -> dict[str, str]:
    """Return the blocks of a README, with their marks, by the suite that each names.

    Raises InputError if there is no such file, or it has two blocks of one suite.
    """
    if not readme.is_file():
        raise InputError(f"there is no file {readme}")
    blocks: dict[str, str] = {}
    for found in _BLOCK.finditer(readme.read_text(encoding="utf-8")):
        if found.group(1) in blocks:
            raise InputError(f"{readme} has two blocks of suite {found.group(1)}; it can have one of each")
        blocks[found.group(1)] = found.group(0)
    return blocks


def readme_block_of(readme: Path, suite: str) -> str:
    """Return the block that a README has for a suite, with its marks; raises InputError if it has none."""
    blocks = readme_blocks(readme)
    if suite not in blocks:
        has = f"; it has blocks of {', '.join(blocks)}" if blocks else ""
        marks = f"{BEGIN.format(suite)} and, on a line below it, {END}"
        raise InputError(f"{readme} has no block of suite {suite}{has}; write {marks} where its table belongs")
    return blocks[suite]


def rewrite_readme(readme: Path, published: Path) -> bool:
    """Put a published suite's table and figure between its marks in a README; return whether that changed it.

    Raises InputError if the README has no marks of this suite.
    """
    before = readme_block_of(readme, str(read_index(published)["suite"]))
    block = readme_block(published, readme.parent)
    if block != before:
        write_atomically(readme, readme.read_text(encoding="utf-8").replace(before, block))
    return block != before


def _summary(results: SuiteResults, table: Table) -> list[str]:
    done, planned = int(results.runs["usable"].astype(bool).sum()), len(results.runs)
    held = f"All {planned}" if done == planned else f"{done} of {planned}"
    return [*summary.headline(table), f"{held} planned runs are finished."]


def _picture(results: SuiteResults, path: str) -> str:
    caption = f"{results.manifest['title']}: {_FORMS[suite_form(results)]}"
    return f"![{markdown_text(caption)}]({path})"


def _main_table(table: Table) -> str:
    columns, lines = main_part(table)
    return markdown_table([column.heading for column in columns], lines)


def _again(results: SuiteResults, place: str) -> list[str]:
    frame = rerun_frame(results)
    if frame.empty:
        return []
    lines = ["| pair | method | command |", "| --- | --- | --- |"]
    for row in frame.to_dict("records"):
        pair, method = (markdown_text(str(row[key])) for key in ("pair", "method"))
        command = str(row["command"]).replace("|", r"\|")
        lines.append(f"| {pair} | {method} | `{command}` |")
    return [
        "## Any cell again",
        "",
        "The command beside a method carries out the first finished run of its cell again, in a new store, and "
        f"`{compare_command(place)}` compares it with the stored one, row by row.",
        "",
        *lines,
        "",
    ]


def _files(manifest: dict[str, Any], place: str, index: dict[str, Any], beside: list[str]) -> list[str]:
    told = {
        "report.html": "the whole report, one file for a browser",
        "results.csv": "the tables above as numbers",
        FIGURE: "the figure above",
    }
    lines = ["## Files", "", *[f"- `{file}`: {told[file]}" for file in beside]]
    lines += [f"- `{ARCHIVE}`, `{INDEX}`: every record of every run, packed ({index['archive']['bytes']:,} bytes)", ""]
    if "report.html" not in beside:
        lines += ["The report is too large to be kept here; these commands build it.", ""]
    lines += ["```sh", f"wombet unpack {place} unpacked", f"wombet report {manifest['name']} --store unpacked"]
    if index["finished"] < index["planned"]:
        lines.append(f"wombet run {suite_words(manifest)} --store unpacked  # what is missing, and nothing else")
    return [*lines, "```", ""]
