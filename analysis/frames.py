"""Frames as plain records and as text for a terminal."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.render import NOTHING, number

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NOT_REACHED = "not reached"


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


def text_of(value: Any, digits: int = 3) -> str:
    """Format a cell for a reader: a dash for nothing, whole numbers as such, others with some digits."""
    plain = _plain(value)
    if plain is None or plain == "":
        return NOTHING
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    if isinstance(plain, int):
        return f"{plain:,}"
    return number(plain, digits) if isinstance(plain, float) else str(plain)


def interval_text(low: Any, high: Any) -> str:
    """Format an interval, or a dash where there is none."""
    return NOTHING if _plain(low) is None else f"[{text_of(low)}, {text_of(high)}]"


def frame_table(frame: pd.DataFrame, title: str) -> "RichTable":
    """Return a frame as a table for a terminal; columns `low` and `high` become one, empty columns are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns: dict[str, list[str]] = {}
    for name in frame.columns:
        if name == "low" and "high" in frame.columns:
            columns["95 % CI"] = [interval_text(*pair) for pair in zip(frame["low"], frame["high"], strict=True)]
        elif name != "high":
            columns[str(name).replace("_", " ")] = [text_of(value) for value in frame[name]]
    kept = {name: texts for name, texts in columns.items() if any(text != NOTHING for text in texts)}
    table = Table(title=Text(title), box=box.SIMPLE, title_justify="left", pad_edge=False)
    for name, texts in kept.items():
        numeric = all(text[:1] in "0123456789−–[n" for text in texts)
        table.add_column(Text(name), justify="right" if numeric else "left")
    for row in zip(*kept.values(), strict=True):
        table.add_row(*[Text(text) for text in row])
    return table
