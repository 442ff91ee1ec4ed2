"""Tables as text: Markdown, CSV, LaTeX (booktabs) and the terminal; numbers are formatted in one place."""

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from analysis.bootstrap import Estimate
from analysis.tables import Row, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NOTHING = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≈": r"$\approx$",
    " ": " ",
}


Part = Literal["results", "costs"]


@dataclass(frozen=True)
class Column:
    """A heading, its explanation for the reader, which of the two printed tables holds it (None: both), and whether
    it is among those that are seen first."""

    heading: str
    meaning: str
    part: Part | None
    first: bool


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with a true minus sign, or a dash for none."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def count(value: float | None) -> str:
    """Format steps or seconds: whole, with thousands separated."""
    return NOTHING if value is None else f"{value:,.0f}"


def interval(estimate: Estimate | None) -> str:
    """Format an estimate as `0.612 [0.580, 0.640]`; without the name IQM where nothing was trimmed."""
    if estimate is None:
        return NOTHING
    text = number(estimate.value)
    if estimate.label.startswith("mean (n="):
        text += f" (mean of {estimate.n_scores})" if estimate.n_scores > 1 else " (one seed)"
    if estimate.low is None:
        return text
    return f"{text} [{number(estimate.low)}, {number(estimate.high)}]"


def coverage(estimate: Estimate | None) -> str:
    """Format what a nominal 95 % interval is expected to cover; an upper bound where runs share datasets."""
    if estimate is None or estimate.expected_coverage is None:
        return NOTHING
    share = f"{100 * estimate.expected_coverage:.0f} %"
    if estimate.units == estimate.seeds:
        return f"≈ {share}"
    return f"< {share} ({estimate.units} dataset{'s' if estimate.units > 1 else ''})"


def columns(table: Table) -> list[Column]:
    """Return the columns of a table, in the order of `cells`."""
    reference = table.reference or "reference"
    steps = NOTHING if table.equal_steps is None else f"{table.equal_steps:,}"
    scores = "normalised scores" if table.scale == "normalised" else "scores"
    unequal = len({row.target_steps for row in table.rows if row.target_steps}) > 1
    return [
        Column("method", "the row's name in the suite", None, True),
        Column("seeds", "finished runs, of those planned", "results", True),
        Column("failed", "runs that failed or whose records are unusable", "results", True),
        Column(
            _final_heading(table), f"the primary metric: summary of final {scores}, and its interval", "results", True
        ),
        Column("coverage", "how often a nominal 95 % interval from so few seeds holds the true value", "results", True),
        Column(f"P(> {reference})", f"probability that a run ends above a run of {reference}", "results", True),
        Column("mean", f"mean of the final {scores}", "results", False),
        Column("median", "median of the final scores; over several pairs, of the pairs' means", "results", False),
        Column("gap", "optimality gap: mean shortfall of the final scores from 1", "results", False),
        Column(f"at {steps} steps", "the same summary at one number of target steps for all", "costs", unequal),
        Column("return", "mean return of the final evaluation", "costs", False),
        Column("source steps", "steps in the source task per run, the shared dataset's included", "costs", unequal),
        Column("target steps", "steps in the target task per run", "costs", unequal),
        Column("CPU-s", "CPU seconds per run, without the making of the shared dataset", "costs", False),
    ]


def _final_heading(table: Table) -> str:
    found = [row.final for row in table.rows if row.final is not None]
    name = "mean (n < 4)" if found and all(final.label != "IQM" for final in found) else "IQM"
    return f"{name} [95 % CI]" if any(final.has_interval for final in found) else name


def cells(table: Table, row: Row) -> list[str]:
    """Return the texts of a row, in the order of `columns`."""
    seeds = f"{row.finished}/{row.planned}"
    if 0 < len(row.pairs) < table.n_pairs:
        seeds += f" on {len(row.pairs)} of {table.n_pairs} pairs"
    return [
        row.method,
        seeds,
        str(row.failed),
        interval(row.final),
        coverage(row.final),
        "reference" if row.method == table.reference else _probability(row.improvement),
        number(row.mean),
        number(row.median),
        number(row.optimality_gap),
        interval(row.at_equal_steps),
        number(row.mean_return, 1),
        count(row.source_steps),
        count(row.target_steps),
        count(row.cpu_s),
    ]


def part(table: Table, name: Part) -> tuple[list[Column], list[list[str]]]:
    """Return the columns of one part of a table and its lines of cells; columns with nothing in them are left out."""
    return _chosen(table, [column.part in (None, name) for column in columns(table)])


def main_part(table: Table) -> tuple[list[Column], list[list[str]]]:
    """Return the columns of a table that are seen first, where there is little room, and its lines of cells.

    Scores at the same number of target steps, and these numbers, are among them where methods took different ones.
    """
    return _chosen(table, [column.first for column in columns(table)])


def _chosen(table: Table, wanted: list[bool]) -> tuple[list[Column], list[list[str]]]:
    heads, lines = columns(table), [cells(table, row) for row in table.rows]
    filled = [heads[index].part is None or any(line[index] != NOTHING for line in lines) for index in range(len(heads))]
    kept = [index for index in range(len(heads)) if wanted[index] and filled[index]]
    return [heads[index] for index in kept], [[line[index] for index in kept] for line in lines]


def _probability(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    text = number(estimate.value, 2)
    return text if estimate.low is None else f"{text} [{number(estimate.low, 2)}, {number(estimate.high, 2)}]"


def markdown_text(text: str) -> str:
    """Escape what Markdown and the HTML inside it would take for markup."""
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;"), ("*", "\\*"), ("`", "\\`")):
        text = text.replace(old, new)
    return text.replace("\n", " ")


def markdown_table(heads: list[str], lines: list[list[str]]) -> str:
    """Return headings and lines of texts as a Markdown table, all but the first column to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "".join(f"| {' | '.join(map(markdown_text, line))} |\n" for line in [heads, rule, *lines])


def latex_tabular(heads: list[str], body: list[list[str]]) -> str:
    """Return headings and lines of texts as a LaTeX tabular that needs the package booktabs."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule", _latex_line(heads), r"\midrule"]
    return "\n".join([*lines, *map(_latex_line, body), r"\bottomrule", r"\end{tabular}", ""])


def _latex_line(texts: list[str]) -> str:
    return " & ".join("".join(_LATEX.get(letter, letter) for letter in text) for text in texts) + r" \\"


def flat(table: Table, row: Row) -> dict[str, Any]:
    """Return a row as plain numbers for CSV and JSON, to 12 significant digits; None where there is none."""
    values = _values(table, row)
    return {name: float(f"{value:.12g}") if isinstance(value, float) else value for name, value in values.items()}


def _values(table: Table, row: Row) -> dict[str, Any]:
    return {
        "table": table.pair or "all",
        "scale": table.scale,
        "method": row.method,
        "kind": row.kind,
        "seeds_planned": row.planned,
        "seeds_finished": row.finished,
        "failed": row.failed,
        "missing": row.missing,
        "pairs": len(row.pairs),
        **_flat_estimate("final", row.final),
        "final_statistic": row.final.label if row.final else None,
        "final_scores": row.final.n_scores if row.final else None,
        "final_scores_kept": row.final.kept if row.final else None,
        "final_independent_units": row.final.units if row.final else None,
        "final_expected_coverage": row.final.expected_coverage if row.final else None,
        "mean": row.mean,
        "median": row.median,
        "optimality_gap": row.optimality_gap,
        "equal_target_steps": table.equal_steps,
        **_flat_estimate("at_equal_steps", row.at_equal_steps),
        "reference": table.reference,
        **_flat_estimate("probability_above_reference", row.improvement),
        "mean_return": row.mean_return,
        "source_steps": row.source_steps,
        "target_steps": row.target_steps,
        "cpu_s": row.cpu_s,
    }


def _flat_estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def csv_text(records: list[dict[str, Any]]) -> str:
    """Return records of the same keys as CSV; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def terminal_table(table: Table) -> "RichTable":
    """Return the main columns of a table for a terminal."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    heads, body = main_part(table)
    result = RichTable(title=Text(table.title), box=box.SIMPLE, title_justify="left", pad_edge=False)
    for index, column in enumerate(heads):
        result.add_column(Text(column.heading), justify="right" if index else "left", no_wrap=True)
    for line in body:
        result.add_row(*map(Text, line))
    return result
