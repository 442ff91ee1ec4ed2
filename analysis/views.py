"""Tables as a reader meets them: headings, cells of text, and for every row the runs behind it; HTML takes them so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import render
from analysis.frames import text_columns
from analysis.load import SuiteResults
from analysis.tables import Table

_NUMBER = re.compile(r"[≈<\[ ]*[−-]?\d|not reached$")
MOST_ROWS = 400
"""A table with more rows is cut on the page, which says so; its CSV is whole."""


@dataclass(frozen=True)
class Link:
    """A way to the list of runs behind a row: the list's id on the page, and how many runs it has."""

    anchor: str
    runs: int


@dataclass(frozen=True)
class ViewRow:
    """A row's texts, the method whose colour it bears (None for none), and the runs behind it."""

    texts: tuple[str, ...]
    method: str | None
    links: tuple[Link, ...]


@dataclass(frozen=True)
class View:
    """A table: the stem of its files, title, what it says, headings with their meanings, and rows.

    `more` says what the page leaves out, and is empty where that is nothing. `frame` has the numbers, where the table
    was made from a frame.
    """

    name: str
    title: str
    about: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[ViewRow, ...]
    more: str = ""
    frame: pd.DataFrame | None = None

    @property
    def words(self) -> list[bool]:
        """Per column, whether it holds words and not numbers."""
        return [_mostly_words([row.texts[column] for row in self.rows]) for column in range(len(self.heads))]

    @property
    def linked(self) -> bool:
        """Whether some row leads to its runs."""
        return any(row.links for row in self.rows)


class Anchors:
    """The ids of the lists of runs on the page: one for each pair and method, one for each method, one per dataset."""

    def __init__(self, results: SuiteResults) -> None:
        self.results = results
        self._pairs = {pair: index for index, pair in enumerate(results.pairs)}
        self._methods = {method: index for index, method in enumerate(results.methods)}
        fed = results.runs[results.runs["dataset"].notna()]
        self.datasets = sorted(set(fed["dataset"]))
        self._fed = fed[fed["usable"].astype(bool)]["dataset"].value_counts()

    def cell(self, pair: str, method: str) -> str:
        """Id of the list of a cell's runs."""
        return f"runs-{self._pairs[pair]}-{self._methods[method]}"

    def method(self, method: str) -> str:
        """Id of the list of a method's cells."""
        return f"runs-of-{self._methods[method]}"

    def dataset(self, name: str) -> str:
        """Id of the list of the runs that a dataset fed."""
        return f"fed-by-{self.datasets.index(name)}"

    def links(self, row: Mapping[str, Any]) -> tuple[Link, ...]:
        """Return where the runs behind a row of a frame are listed, from the pair, methods or dataset that it names."""
        if row.get("dataset") in self.datasets:
            name = str(row["dataset"])
            return (Link(self.dataset(name), int(self._fed.get(name, 0))),)
        pair = row.get("pair", row.get("group") if row.get("scope") == "pair" else None)
        named = [row[key] for key in ("method", "a", "b", "baseline") if row.get(key) in self._methods]
        return tuple(self._link(None if pair not in self._pairs else str(pair), str(method)) for method in named)

    def _link(self, pair: str | None, method: str) -> Link:
        if pair is not None:
            return Link(self.cell(pair, method), len(self.results.usable(pair, method)))
        runs = sum(len(self.results.usable(one, method)) for one in self.results.pairs)
        return Link(self.method(method), runs)


def frame_view(
    frame: pd.DataFrame,
    name: str,
    title: str,
    about: str,
    anchors: Anchors,
    columns: tuple[str, ...] = (),
) -> View:
    """Return a frame as a table of some of its columns (all if empty); `low` and `high` become one interval."""
    shown = frame.head(MOST_ROWS)
    kept = shown[[column for column in columns if column in shown]] if columns else shown
    texts = text_columns(kept)
    rows = []
    for index, row in enumerate(shown.to_dict("records")):
        named = {str(key): value for key, value in row.items()}
        method = named.get("method")
        rows.append(
            ViewRow(
                tuple(column[index] for column in texts.values()),
                str(method) if method in anchors.results.methods else None,
                anchors.links(named),
            )
        )
    more = ""
    if len(frame) > len(shown):
        more = f"The first {len(shown)} of {len(frame):,} rows; all are in tables/{name}.csv."
    return View(name, title, about, tuple((head, "") for head in texts), tuple(rows), more, frame)


def table_view(table: Table, part: render.Part, stem: str, anchors: Anchors) -> View:
    """Return one part of a result table."""
    columns, lines = render.part(table, part)
    rows = [
        ViewRow(tuple(line), row.method, anchors.links({"method": row.method, "pair": table.pair}))
        for row, line in zip(table.rows, lines, strict=True)
    ]
    heads = tuple((column.heading, column.meaning) for column in columns)
    title = "Results" if part == "results" else "Costs"
    return View(stem if part == "results" else f"{stem}-costs", title, "", heads, tuple(rows))


def _mostly_words(texts: list[str]) -> bool:
    told = [text for text in texts if text != render.NOTHING]
    return 2 * sum(not _NUMBER.match(text) for text in told) > len(told)


def markdown(view: View) -> str:
    """Return a table in Markdown, without the links to its runs."""
    body = render.markdown_table([head for head, _ in view.heads], [list(row.texts) for row in view.rows])
    return f"{body}\n{view.more}\n" if view.more else body


def latex(view: View) -> str:
    """Return a table as a LaTeX tabular that needs the package booktabs."""
    return render.latex_tabular([head for head, _ in view.heads], [list(row.texts) for row in view.rows])
