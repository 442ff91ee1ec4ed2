"""One table over the datasets of a suite: what each cost, and what its planner and its rows are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Json = Mapping[str, Any]

OPPONENTS = {"rows": "newest rows", "agent": "agent", "agent_stochastic": "stochastic agent"}
"""Whom the planner is compared with, and what they are called above a column."""


def summary_table(diagnoses: Mapping[str, Json]) -> "Table":
    """Return a table with a row per diagnosed dataset; rewards are per step, differences with 95 % paired intervals."""
    from suites.commands.data_card import plain_table

    table = plain_table(
        "dataset",
        *("steps", "random", "data", "planner"),
        *(f"minus {name}" for name in OPPONENTS.values()),
        *("error", "bias"),
    )
    table.columns[0].justify = "left"
    for name, diagnosis in diagnoses.items():
        row = diagnosis["summary"]
        table.add_row(
            f"{name.split('-')[0]}, {row['collection']}, {row['rollouts']}",
            f"{row['source_steps']}",
            *(_mean(row[name]) for name in ("random", "data", "planner")),
            *(_difference(row["planner_minus"].get(other)) for other in OPPONENTS),
            f"{row['one_step_error']:.2f}",
            f"{row['reward_bias']:+.3f}",
        )
    table.caption = (
        "steps: real ones of the source task. random, data, planner: reward per step there, of uniform random actions, "
        "of all episodes that the\nmodel learned from, and of the planner in closed loop. minus: planner less another, "
        "from the same states over the same steps, with the\n95 % paired interval; newest rows are the last 5000 that "
        "the model learned from. error, bias: of accepted rows against one simulated\nstep, the median in standard "
        "deviations of a step and in source reward; executed rows are real, and these are the model's on them."
    )
    return table


def _mean(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(found: Json | None) -> str:
    if found is None:
        return "–"
    low, high = found["interval"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"
