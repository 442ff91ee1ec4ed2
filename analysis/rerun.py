"""The commands that run a cell of a table again, and that compare it with what is stored."""

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from analysis.load import SuiteResults
from analysis.sections import Section
from analysis.views import Anchors, frame_view

FRESH = "check"
"""The store that the commands fill."""
COLUMNS = ["pair", "method", "command"]


def rerun_frame(results: SuiteResults) -> pd.DataFrame:
    """Return, for every pair and method with a finished run, the command that carries out its first one again."""
    rows = []
    for pair in results.pairs:
        for method in results.methods:
            seeds = results.usable(pair, method)["seed"]
            if len(seeds):
                rows.append([pair, method, rerun_command(results.manifest, pair, method, int(seeds.min()) + 1)])
    return pd.DataFrame(rows, columns=COLUMNS)


def rerun_command(manifest: Mapping[str, Any], pair: str, method: str, seeds: int) -> str:
    """Return the command that carries out a cell's first seeds in a new store, with the settings of the suite."""
    chosen = ["--tasks", pair, "--methods", method, "--seeds", str(seeds)]
    return f"wombet run {suite_words(manifest)} {shlex.join(chosen)} --store {FRESH} --no-report"


def suite_words(manifest: Mapping[str, Any]) -> str:
    """Return how a command names the suite and what was set for it.

    A suite that is not in the catalogue is named by a file, which the reader has to have.
    """
    name = str(manifest.get("suite", {}).get("name") or str(manifest["name"]).partition("@")[0])
    known = files("suites").joinpath("catalog", f"{name}.toml").is_file()
    words = [name if known else f"{name}.toml"]
    for row, settings in manifest.get("overrides", {}).items():
        for field, value in settings.items():
            words += ["--set", f"{row}.{field}={_toml(value)}"]
    return shlex.join(words)


def compare_command(place: str | None) -> str:
    """Return the command that compares such a run with the stored one; `place` is None where that is not published."""
    return f"wombet check {FRESH} --against {shlex.quote(place) if place else 'STORE'}"


def rerun_section(results: SuiteResults, anchors: Anchors, place: str | None) -> Section:
    """The commands as a part of the report, beside every pair and method."""
    frame = rerun_frame(results)
    if frame.empty:
        return Section("again", "Any cell again", (), (), ())
    about = "The first finished run of each, in a new store named check."
    where = "" if place else ", where STORE is the store that this report was made from"
    said = (
        "Settings and seed decide a run, so anyone can carry out a single one again: the command beside it also builds "
        f"the dataset that it is fed. {compare_command(place)} then compares evaluations, training rows, dataset and "
        f"final weights with the stored ones{where}; clocks and machines do not count. Other versions or processors "
        "may change the last digits.",
    )
    return Section("again", "Any cell again", said, (frame_view(frame, "commands", "Commands", about, anchors),), ())


def _toml(value: Any) -> str:
    """A value as TOML text, as --set takes it; JSON but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)
