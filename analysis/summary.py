"""Sentences computed from the numbers: what a reader with one minute should take away."""

from collections.abc import Mapping

import pandas as pd

from analysis.anchors import FROM_SCRATCH
from analysis.bootstrap import Estimate
from analysis.findings import Finding
from analysis.frames import interval_text, text_of
from analysis.render import count, interval, number
from analysis.tables import Row, Table

_MOST_INTERVALS_NAMED = 6


def summary_sentences(tables: list[Table], findings: tuple[Finding, ...]) -> list[str]:
    """Return the summary of a report: the first table's headline, and what the report rests on."""
    return [*headline(tables[0]), completeness(tables, findings)]


def page_sentences(
    tables: list[Table], numbers: Mapping[str, pd.DataFrame], findings: tuple[Finding, ...]
) -> list[str]:
    """Return the summary of a page: the headline, what the tests and the budgets say, and what it all rests on."""
    further = [sentence for sentence in (_tested(numbers), _budget(numbers)) if sentence]
    return [*headline(tables[0]), *further, completeness(tables, findings)]


def _tested(numbers: Mapping[str, pd.DataFrame]) -> str:
    if "comparisons" not in numbers:
        return ""
    frame = numbers["comparisons"]
    whole = frame[frame["scope"] == ("all" if (frame["scope"] == "all").any() else "pair")]
    counts = whole["verdict"].value_counts()
    separated, unknown = int(counts.get("win", 0) + counts.get("loss", 0)), int(counts.get("too few seeds", 0))
    if unknown == len(whole):
        return "There are too few independent seeds for a test of the paired differences."
    small = int(counts.get("equivalent", 0))
    said = f"{separated} of {len(whole)} paired differences stand after correction for all of them"
    return f"{said}{f', and {small} are shown to be small' if small else ''}."


def _budget(numbers: Mapping[str, pd.DataFrame]) -> str:
    if "budget" not in numbers:
        return ""
    rows = numbers["budget"][numbers["budget"]["baseline"] == FROM_SCRATCH].to_dict("records")
    if not rows:
        return ""
    method, reached = rows[0]["method"], [row for row in rows if row["ratio"] <= 1]
    if len(rows) > 1:
        return (
            f"Within the target steps of {FROM_SCRATCH}, {method} reached its final score on {len(reached)} of "
            f"{len(rows)} task pairs."
        )
    if not reached:
        return f"{method} did not reach the final score of {FROM_SCRATCH} within its target steps."
    share = f"{text_of(rows[0]['ratio'], 2)} {interval_text(rows[0]['low'], rows[0]['high'])}".removesuffix(" –")
    return (
        f"To reach the final score of {FROM_SCRATCH}, {method} took {int(rows[0]['steps']):,} of its "
        f"{int(rows[0]['baseline_steps']):,} target steps ({share}), source steps not counted."
    )


def headline(table: Table) -> list[str]:
    """Say in one or two sentences which methods' intervals lie above or below the reference method's."""
    rows = [row for row in table.rows if row.final is not None]
    reference = next((row for row in rows if row.method == table.reference), None)
    scale = ", normalised scores" if table.scale == "normalised" else ""
    where = f"{table.title if table.pair else _over(table, rows, reference)}{scale}, final evaluation"
    if not rows:
        return [f"{where}: no run has finished, so there is nothing to compare."]
    if reference is None:
        return [f"{where}: {_spread(rows)}.", "The suite has no finished run of sac to compare with."]
    if not reference.final or not reference.final.has_interval:
        return [f"{where}: {_spread(rows)}.", _too_few(reference)]
    return _against(where, reference, [row for row in rows if row is not reference])


def _over(table: Table, rows: list[Row], reference: Row | None) -> str:
    """Say over how many pairs: those of the reference, or of all rows where there is none."""
    pairs = set(reference.pairs) if reference else {pair for row in rows for pair in row.pairs}
    return f"Over {len(pairs)}{'' if len(pairs) == table.n_pairs else f' of {table.n_pairs}'} task pairs"


def _spread(rows: list[Row]) -> str:
    if len({row.pairs for row in rows}) > 1:
        return "the methods have finished runs on different pairs, so that only the tables of single pairs compare them"
    by_score = sorted(rows, key=lambda row: row.final.value if row.final else 0.0)
    ends = [by_score[0]] if len(by_score) == 1 else [by_score[-1], by_score[0]]
    named = " to ".join(f"{number(row.final.value) if row.final else ''} ({row.method})" for row in ends)
    return f"final scores go from {named}" if len(ends) > 1 else f"the one final score is {named}"


def _too_few(reference: Row) -> str:
    seeds = reference.final.seeds if reference.final else 0
    return (
        f"With {seeds} finished seed{'s' if seeds != 1 else ''} of {reference.method} there is no interval "
        "(5 are needed), so no difference is claimed."
    )


def _against(where: str, reference: Row, others: list[Row]) -> list[str]:
    groups: dict[str, list[Row]] = {"above": [], "below": [], "overlapping": [], "unknown": [], "elsewhere": []}
    for row in others:
        groups[_side(row.final, reference.final) if row.pairs == reference.pairs else "elsewhere"].append(row)
    name, separated = f"{reference.method} ({interval(reference.final)})", [*groups["above"], *groups["below"]]
    if not separated:
        first = f"{where}: no method's interval excludes that of {name}."
    else:
        short = len(separated) > _MOST_INTERVALS_NAMED
        parts = [_side_clause(side, groups[side], short) for side in ("above", "below") if groups[side]]
        first = f"{where}, against the interval of {name}: {'; '.join(parts)}."
    rest = []
    if groups["overlapping"] and separated:
        rest.append(f"Not separated from {reference.method}: {join([row.method for row in groups['overlapping']])}.")
    if groups["unknown"]:
        rest.append(f"Too few finished seeds for an interval: {join([row.method for row in groups['unknown']])}.")
    if groups["elsewhere"]:
        rest.append(
            f"Not compared, because their finished runs are not on the pairs of {reference.method}: "
            f"{join([row.method for row in groups['elsewhere']])}."
        )
    rest += _unequal_steps([reference, *others])
    return [first, *([" ".join(rest)] if rest else [])]


def _unequal_steps(rows: list[Row]) -> list[str]:
    """A sentence on who took how many target steps, where those who took any did not all take as many."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        if row.target_steps:
            methods.setdefault(count(row.target_steps), []).append(row.method)
    told = "; ".join(f"{steps} by {join(names)}" for steps, names in methods.items())
    return [f"Target steps differ: {told}."] if len(methods) > 1 else []


def _side(ours: Estimate | None, theirs: Estimate | None) -> str:
    if ours is None or theirs is None or None in (ours.low, ours.high, theirs.low, theirs.high):
        return "unknown"
    if ours.low > theirs.high:  # type: ignore[operator]
        return "above"
    return "below" if ours.high < theirs.low else "overlapping"  # type: ignore[operator]


def _side_clause(side: str, rows: list[Row], short: bool) -> str:
    named = [row.method if short else f"{row.method} {interval(row.final)}" for row in rows]
    return f"wholly {side} {'lies that' if len(rows) == 1 else 'lie those'} of {join(named)}"


def completeness(tables: list[Table], findings: tuple[Finding, ...]) -> str:
    """Say how many of the planned runs the report rests on and how many findings there are."""
    pairs = [table for table in tables if table.pair is not None]
    rows = [row for table in pairs for row in table.rows]
    planned, finished = sum(row.planned for row in rows), sum(row.finished for row in rows)
    failed, missing = sum(row.failed for row in rows), sum(row.missing for row in rows)
    if finished == planned:
        text = f"All {planned} planned runs are finished."
    else:
        holes = [f"{failed} failed" if failed else "", f"{missing} not finished" if missing else ""]
        text = f"{finished} of {planned} planned runs are finished ({', '.join(filter(None, holes))})."
    return text if not findings else f"{text} {len(findings)} finding{'s' if len(findings) != 1 else ''} below."


def join(words: list[str]) -> str:
    """Join words with commas and a final `and`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
