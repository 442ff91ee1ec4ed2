"""A dataset's card and diagnosis as a person reads them on a terminal."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Mapping[str, Any]

NAMES = {
    "planner": "planner",
    "agent": "agent, deterministic",
    "agent_stochastic": "agent, stochastic",
    "rows": "the rows themselves",
    "random": "uniform random policy",
}
"""What policies are called where people read, in the order in which they are told."""
COLLECTED = {
    "planner": "planner",
    "agent": "source agent while it learned, its last ten",
    "training_data": "data the model learned from",
    "random": "uniform random actions",
}
"""The same for the episodes of the collection."""

STAGES = ("random", "agent", "plan", "calibration", "generation")
"""Beginnings of the names of stages that take source steps, in their order."""


def print_card(out: "Console", name: str, card: Json, diagnosis: Json | None) -> None:
    """Print a card section by section; parts that it has not are left out."""
    out.print(f"dataset {name}", style="bold", markup=False)
    for line in _provenance(card):
        out.print(f"  {line}", markup=False, soft_wrap=True)
    for table in (_source_table(card), _selection_table(card), _parts_table(card)):
        if table is not None:
            out.print(table)
    if diagnosis is not None:
        print_diagnosis(out, diagnosis)
    elif "planner" in card:
        out.print("  Not diagnosed yet: `wombet data diagnose` measures all this in the real simulator.", markup=False)


def print_diagnosis(out: "Console", diagnosis: Json) -> None:
    """Print a diagnosis: what was measured in the real simulator, with 95 % intervals."""
    steps, starts = diagnosis["simulator_steps"], diagnosis["starts"]
    out.print(
        f"  Diagnosed in the real simulator from {starts['initial']} initial and {starts['visited']} visited states "
        f"({starts['visited_from']}): {steps} steps of a budget of its own, not charged to the dataset.",
        markup=False,
        soft_wrap=True,
    )
    told = (_returns_table, _newest_table, _one_step_table, _closed_loop_table, _bound_table)
    for table in (tell(diagnosis) for tell in told):
        if table is not None:
            out.print(table)
    for line in diagnosis["theory"]["sentences"]:
        out.print(f"  {line}", markup=False, soft_wrap=True)


def _provenance(card: Json) -> Iterator[str]:
    if "planner" not in card:
        yield f"task {card.get('task', '?')}, {card['rows']} rows, sha256 {card['sha256'][:12]}"
        yield from (f"{key}: {value}" for key, value in card.items() if isinstance(value, str | int | float))
        return
    planner, recipe = card["planner"], card.get("recipe", {})
    aids = [
        name for name, used in (("proposals", planner["policy_proposals"]), ("tail", planner["terminal_value"])) if used
    ]
    yield (
        f"task {card['task']}, horizon {card['horizon']}, seed {card['seed']}, profile {recipe.get('profile', '?')}, "
        f"sha256 {card['sha256'][:12]}"
    )
    helped = f"with the agent's {' and '.join(aids)}" if aids else "without an agent's help"
    yield (
        f"{card['collection_mode']} collection; trajectories {card['rollouts']} by the planner {helped}, "
        f"uncertainty penalty {planner['penalty']:.3g}"
    )
    gate, model = card.get("gate"), card["model_reports"][-1]
    yield (
        f"world model: held-out error {model['ensemble_mse']:.3g} (standardised MSE), rank correlation of uncertainty "
        f"and error {_number(model['spearman'])}, 90 % intervals cover {model['coverage_90']:.0%}"
    )
    if gate is not None:
        yield (
            f"model gate {'passed' if gate['passed'] else 'FAILED'}: {gate['imagined']:.3f} reward per step imagined, "
            f"{gate['real']:.3f} real (tolerance {gate['tolerance']:g})"
        )


def _source_table(card: Json) -> "Table | None":
    if "collection" not in card:
        return None
    table = plain_table("source steps by stage", "steps", "episodes", "return", "reward/step")
    stages, comparison = card["collection"]["stages"], card["collection"]["comparison"]
    by_stage = card["source_steps"]["by_stage"]
    for stage in sorted(by_stage, key=_in_order):
        if steps := by_stage[stage]:
            found = stages.get(stage)
            more = (
                (str(found["episodes"]), f"{found['mean_return']:.1f}", f"{found['reward_per_step']:.3f}")
                if found
                else ("", "", "")
            )
            table.add_row(stage, str(steps), *more)
    table.add_row("total", str(card["source_steps"]["total"]), "", "", "", style="bold")
    told = ", ".join(f"{COLLECTED[name]} {comparison[name]:.1f}" for name in COLLECTED if name in comparison)
    table.caption = f"mean return of whole episodes: {told}"
    return table


def _in_order(stage: str) -> tuple[int, str]:
    """Stages as they follow each other; the card's keys are sorted."""
    first = stage.split()[0]
    return (STAGES.index(first) if first in STAGES else len(STAGES), stage)


def _selection_table(card: Json) -> "Table | None":
    if "counts" not in card:
        return None
    counts, thresholds = card["counts"], card["thresholds"]
    table = plain_table("trajectories", "number", "rows", "reward/step", "uncertainty", "steps")
    total, rows = sum(counts["candidates"].values()), counts["candidate_rows"]
    kept, kept_rows = sum(counts["accepted"].values()), counts["accepted_rows"]
    for name, number, n_rows in (("accepted", kept, kept_rows), ("rejected", total - kept, rows - kept_rows)):
        means = card[name]
        told = (
            [f"{means['return_per_step']:.3f}", f"{means['uncertainty']:.3g}", f"{means['steps']:.0f}"]
            if means
            else ["–"] * 3
        )
        table.add_row(name, str(number), str(n_rows), *told)
    venn, floors = counts["venn"], thresholds["return_per_step"]
    by_start = ", ".join(f"{counts['accepted'][kind]} of {n} {kind}" for kind, n in counts["candidates"].items())
    table.caption = (
        f"accepted {counts['acceptance']:.0%} ({by_start}). High return and low uncertainty {venn['both']}, "
        f"high return only {venn['return_only']}, low uncertainty only {venn['uncertainty_only']}, "
        f"neither {venn['neither']}.\nThresholds: reward/step at least "
        + " or ".join(f"{value:.3f} ({kind} start)" for kind, value in floors.items())
        + f", uncertainty at most {thresholds['uncertainty']:.3g}; hard stop {thresholds['hard_stop']:.3g}"
    )
    return table


def _parts_table(card: Json) -> "Table | None":
    parts = {name: part for name, part in card.get("parts", {}).items() if name != "accepted"}
    if not parts:
        return None
    table = plain_table("data for controls", "rows", "reward/step", "uncertainty")
    for name, part in parts.items():
        table.add_row(name, str(part["rows"]), f"{part['reward_per_step']:.3f}", f"{part['uncertainty']:.3g}")
    return table


def _returns_table(diagnosis: Json) -> "Table":
    returns = diagnosis["returns"]
    table = plain_table(
        "true return", f"over {returns['horizon']} steps", "from initial", "from visited", "planner minus this"
    )
    for name, policy in in_order(returns["policies"]).items():
        minus = returns["planner_minus"].get(name)
        kinds = [
            f"{policy['by_start'][kind]:.1f}" if kind in policy["by_start"] else "" for kind in ("initial", "visited")
        ]
        table.add_row(NAMES[name], _interval(policy, 1), *kinds, _interval(minus, 1) if minus else "")
    return table


def _newest_table(diagnosis: Json) -> "Table | None":
    newest = diagnosis["returns"]["newest_rows"]
    if newest is None:
        return None
    table = plain_table("against the newest source rows", "reward/step", "planner minus this")
    found = in_order(newest["reward_per_step"])
    for name, reward in found.items():
        minus = newest["planner_minus"].get(name)
        table.add_row(NAMES[name], _interval(reward, 3), _interval(minus, 3) if minus else "")
    table.caption = (
        f"{newest['pairs']} starts, each the state in which some of the newest {newest['rows']} rows that the model "
        f"learned from begin; all are watched for as long as those rows, at most {newest['steps']} steps"
    )
    return table


def _one_step_table(diagnosis: Json) -> "Table":
    found = diagnosis["one_step"]
    columns = ("rows", "uncertainty", "median error", "95 % error", "reward bias", "|reward bias|")
    table = plain_table("one step, by uncertainty", *columns)
    for place, part in enumerate(found["by_uncertainty"], start=1):
        error, reward = part["error"], part["rewards"]["source"]
        numbers = [f"{part['uncertainty']:.3g}", f"{error['median']:.3g}", f"{error['q95']:.3g}"]
        table.add_row(f"{place}", str(part["n"]), *numbers, f"{reward['bias']:+.4f}", f"{reward['absolute']:.4f}")
    levels = ", ".join(f"{level} {value['bias']:+.4f}" for level, value in found["rewards"].items())
    table.caption = (
        f"error in standard deviations of a step, median {found['error']['median']:.3g}; rank correlation with "
        f"uncertainty {_number(found['spearman'])}. Reward bias by level: {levels}.\n{found['meaning']}"
    )
    return table


def _closed_loop_table(diagnosis: Json) -> "Table":
    found = diagnosis["closed_loop"]
    table = plain_table(
        f"closed loop, {found['steps']} steps, by uncertainty", "starts", "uncertainty", "real return", "imagined"
    )
    for place, part in enumerate(found["by_uncertainty"], start=1):
        table.add_row(
            f"{place}", str(part["n"]), f"{part['uncertainty']:.3g}", f"{part['real']:.2f}", f"{part['imagined']:.2f}"
        )
    table.caption = f"imagined minus real {_interval(found['gap'], 2)}"
    return table


def _bound_table(diagnosis: Json) -> "Table":
    found = diagnosis["lower_bound"]
    columns = (
        "penalty",
        "bound holds",
        "mean slack",
        "planner's true return",
        *(f"open loop {n}" for n in found["open_loop"]),
    )
    table = plain_table("lower bound", *columns)
    for i, row in enumerate(found["closed_loop"]):
        low, high = row["interval"]
        open_loop = (f"{rows[i]['share']:.0%}" for rows in found["open_loop"].values())
        table.add_row(
            f"{row['factor']:g} × calibrated", f"{row['penalty']:.3g}", f"{row['share']:.0%} [{low:.0%}, {high:.0%}]",
            f"{row['mean_slack']:+.2f}", _interval(row["true_return"], 1), *open_loop,
        )  # fmt: skip
    table.caption = (
        f"share of planned trajectories whose discounted true return reaches the penalised model return, "
        f"{found['steps']} steps; a large penalty always makes it hold, so read it with slack and return"
    )
    return table


def plain_table(title: str, *columns: str) -> "Table":
    """Return an empty table whose first column has the table's title, and whose others hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title, box=box.SIMPLE_HEAD, caption_justify="left", caption_style="", header_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def in_order(policies: Json) -> dict[str, Any]:
    """Return policies in the order of NAMES; stored objects are sorted by their keys."""
    return {name: policies[name] for name in NAMES if name in policies}


def _interval(found: Json, digits: int) -> str:
    low, high = found["interval"]
    return f"{found['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
