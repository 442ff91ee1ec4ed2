"""One table over the datasets of a suite: what each cost, and what its planner and its rows are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Json = Mapping[str, Any]

OPPONENTS = {"random": "random", "rows": "newest rows", "agent": "agent", "agent_stochastic": "stochastic agent"}
"""Whom the planner is compared with, and what they are called above a column."""


def summary_table(diagnoses: Mapping[str, Json]) -> "Table":
    """Return a table with a row per diagnosed dataset; rewards are per step, differences with 95 % paired intervals."""
    from suites.commands.data_card import plain_table

    table = plain_table(
        "dataset", "source steps", "planner", "data", *(f"− {name}" for name in OPPONENTS.values()), "error", "bias"
    )
    table.columns[0].justify = "left"
    for name, diagnosis in diagnoses.items():
        row = diagnosis["summary"]
        table.add_row(
            f"{name.split('-')[0]}, {row['collection']}, {row['rollouts']}",
            f"{row['source_steps']}",
            _mean(row["planner"]),
            _mean(row["data"]),
            *(_difference(row["planner_minus"].get(other)) for other in OPPONENTS),
            f"{row['one_step_error']:.2f}",
            f"{row['reward_bias']:+.3f}",
        )
    table.caption = (
        "Reward per step in the real source task. planner: closed loop; − …: planner minus this, from the same states "
        "over the same steps, 95 % paired interval.\nnewest rows: the last 5000 that the model learned from; data: the "
        "mean of all of these. error, bias: of accepted rows against one simulated step, in standard deviations of a "
        "step\n(median) and in source reward; of executed rows, which are real, those of the model's mean on them."
    )
    return table


def _mean(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(found: Json | None) -> str:
    if found is None:
        return "–"
    low, high = found["interval"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"
