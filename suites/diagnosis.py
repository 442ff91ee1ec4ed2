"""The diagnosis of a dataset artefact: its data, model and planner measured in the real simulator.

It spends simulator steps of its own, which the dataset is not charged with, and changes neither data nor card.
"""

from pathlib import Path
from typing import Any

import numpy as np

from suites.diagnosis_model import closed_loop, lower_bound, one_step_truth
from suites.diagnosis_returns import compared_returns
from suites.diagnosis_theory import theory_figures
from suites.diagnosis_trials import Laboratory
from suites.resampling import rounded
from suites.spec import DatasetRecipe
from suites.store import Store, read_json
from wombet.dataset import load_card
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically

FILE = "diagnosis.json"
FORMAT = 2
STARTS = 24
"""Paired starts by default: enough to tell apart policies whose returns differ by half their spread over starts."""


def diagnose_dataset(
    recipe: DatasetRecipe, store: Store, starts: int = STARTS, again: bool = False
) -> tuple[dict[str, Any], bool]:
    """Measure a finished dataset and write `diagnosis.json` beside its card; returns it, and whether it is new.

    One that is there is returned as it is, unless `again`. The same artefact, number of starts and machine give the
    same bytes. Raises InputError for fewer than 2 starts, or where there is no finished dataset or no model in it.
    """
    if starts < 2:
        raise InputError(f"starts is {starts}; it must be at least 2, one initial and one visited state")
    folder = store.dataset_folder(recipe.id)
    card = load_card(folder)
    stored = None if again else load_diagnosis(folder)
    if stored is not None:
        return stored, False
    laboratory = Laboratory(recipe, folder, starts)
    measured = _measure(laboratory)
    identity = {"format": FORMAT, "dataset": recipe.id, "sha256": card["sha256"]}
    found = {**identity, **measured, "summary": _summary(card, measured)}
    write_atomically(folder / FILE, pretty_json(found))
    return found, True


def load_diagnosis(folder: Path) -> dict[str, Any] | None:
    """Return the diagnosis of a dataset's folder, or None; raises InputError if it is damaged or of other data."""
    path, problems = folder / FILE, list[str]()
    found = read_json(path, problems)
    if found is None and not problems:
        return None
    if found is None or found.get("format") != FORMAT or found.get("sha256") != load_card(folder)["sha256"]:
        raise InputError(f"{path} is damaged or of other data; `wombet data diagnose SUITE --again` makes it anew")
    return found


def _measure(laboratory: Laboratory) -> dict[str, Any]:
    horizon, length = laboratory.task.horizon, laboratory.recipe_config.trajectory_steps
    planner = laboratory.planner_trials(laboratory.recipe_factor, horizon)
    own = planner.cut(length)
    imagined = laboratory.imagined_trials(laboratory.recipe_factor, length)
    rows, truth = laboratory.checked_rows()
    kinds = laboratory.starts.type
    sections = {
        "returns": compared_returns(laboratory, planner),
        "one_step": one_step_truth(laboratory, rows, truth),
        "closed_loop": closed_loop(laboratory, own, imagined),
        "lower_bound": lower_bound(laboratory, length, own),
        "theory": theory_figures(laboratory, rows, truth, planner, imagined),
    }
    return {
        **sections,
        "starts": {
            "initial": int(np.sum(kinds == 0)),
            "visited": int(np.sum(kinds == 1)),
            "visited_from": "of the source data" if laboratory.source is not None else "of the accepted trajectories",
        },
        "simulator_steps": laboratory.meter.count,
        "charged_to_dataset": 0,
    }


def _summary(card: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """The figures by which datasets of several families are compared; rewards are per step.

    `planner`, `random`, `data` and `planner_minus` are None or empty where the artefact keeps no source rows.
    """
    newest, one_step = measured["returns"]["newest_rows"], measured["one_step"]
    mean_return = card["collection"]["comparison"]["training_data"]
    return {
        "collection": card["collection_mode"],
        "rollouts": card["rollouts"],
        "source_steps": card["source_steps"]["total"],
        **{name: None if newest is None else newest["reward_per_step"][name]["mean"] for name in ("planner", "random")},
        "data": None if newest is None else rounded(mean_return / card["horizon"]),
        "planner_minus": {} if newest is None else newest["planner_minus"],
        "one_step_error": one_step["error"]["median"],
        "reward_bias": one_step["rewards"]["source"]["bias"],
        "gate": card["gate"],
    }
