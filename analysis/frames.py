"""Frames as plain records and as text for a terminal."""

import csv
import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.render import NOTHING, count, number

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NOT_REACHED = "not reached"
HEADINGS = {
    "p_holm": "p (Holm)",
    "iqm": "IQM",
    "iqm_with_failures": "IQM with failures",
    "cpu_s": "CPU-s",
    "cpu_hours": "CPU hours",
    "cpu_s_per_run": "CPU-s per run",
    "mean_q": "mean Q",
    "estimated_return": "critics' estimate at the first steps",
    "discounted_return": "discounted return (Monte Carlo)",
    "w1_below_u": "W1 below u",
    "bound_13": "bound (13)",
}
"""Headings that are not the column's name with spaces."""


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values for JSON: None for what is missing, `not reached` for what is infinite."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isinf(value):
        return NOT_REACHED
    return value


def csv_of(frame: pd.DataFrame) -> str:
    """Return a frame as CSV with 12 significant digits; missing values are empty, infinite ones say `inf`."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.12g")


def exact_csv_of(frame: pd.DataFrame) -> str:
    """Return a long frame of plain values as CSV with all digits, as pandas does, in less than half its time."""
    names = io.StringIO()
    csv.writer(names, lineterminator="\n").writerow(frame.columns)
    columns = [_field_texts(frame[name]) for name in frame.columns]
    return names.getvalue() + "".join([f"{line}\n" for line in map(",".join, zip(*columns, strict=True))])


def _field_texts(column: "pd.Series[Any]") -> Iterable[str]:
    """The fields of a column; where values recur, each is made into text once."""
    if column.dtype == np.float64:
        # As bits, because 0.0 and -0.0 are equal and have different texts.
        codes, found = pd.factorize(column.to_numpy().view(np.int64))
        texts = ["" if math.isnan(value) else repr(value) for value in found.view(np.float64).tolist()]
    else:
        codes, values = pd.factorize(column)
        texts = [_field(value) for value in values.tolist()]
        if column.dtype == object and not all(isinstance(value, str) for value in values):
            return ["" if pd.isna(value) else _field(value) for value in column]
    return np.array([*texts, ""], dtype=object)[codes].tolist()


def _field(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([value, ""])
    return text.getvalue()[:-2]


def text_of(value: Any, digits: int = 3) -> str:
    """Format a cell for a reader: a dash for nothing, whole and large numbers as such, others with some digits."""
    plain = _plain(value)
    if plain is None or plain == "":
        return NOTHING
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    if isinstance(plain, int):
        return f"{plain:,}"
    if not isinstance(plain, float):
        return str(plain)
    if 0 < abs(plain) < 0.5 * 10**-digits:
        return f"{plain:.1e}".replace("-", "−")
    large = abs(plain) >= 1000 or (abs(plain) >= 10 and plain.is_integer())
    return count(plain).replace("-", "−") if large else number(plain, digits)


def interval_text(low: Any, high: Any) -> str:
    """Format an interval, or a dash where there is none."""
    return NOTHING if _plain(low) is None else f"[{text_of(low)}, {text_of(high)}]"


def _texts(column: "pd.Series[Any]") -> list[str]:
    """Format a column; one of whole numbers alone has no digits after the point."""
    plain = [_plain(value) for value in column]
    numbers = [value for value in plain if isinstance(value, float)]
    whole = bool(numbers) and all(value.is_integer() for value in numbers)
    return [count(value).replace("-", "−") if whole and isinstance(value, float) else text_of(value) for value in plain]


def text_columns(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return a frame's columns as texts by heading; `low` and `high` become one, empty columns are left out."""
    columns: dict[str, list[str]] = {}
    for name in frame.columns:
        if name == "low" and "high" in frame.columns:
            columns["95 % CI"] = [interval_text(*pair) for pair in zip(frame["low"], frame["high"], strict=True)]
        elif name != "high":
            columns[HEADINGS.get(str(name), str(name).replace("_", " "))] = _texts(frame[name])
    return {name: texts for name, texts in columns.items() if any(text != NOTHING for text in texts)}


def frame_table(frame: pd.DataFrame, title: str) -> "RichTable":
    """Return a frame as a table for a terminal, its columns as `text_columns` gives them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = text_columns(frame)
    table = Table(title=Text(title), box=box.SIMPLE, title_justify="left", pad_edge=False)
    for name, texts in columns.items():
        numeric = all(text[:1] in "0123456789−–[n" for text in texts)
        table.add_column(Text(name), justify="right" if numeric else "left")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*[Text(text) for text in row])
    return table
