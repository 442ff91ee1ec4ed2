"""Seed by seed until a group-sequential boundary decides, with the plan and every look kept in the store."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from analysis import paired
from analysis.comparisons import check_methods
from analysis.load import SuiteResults
from analysis.sequential import boundaries
from analysis.tables import Scale, scale_over
from suites.store import Store, read_json
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically

Run = Callable[[int], None]
Load = Callable[[], SuiteResults]


@dataclass(frozen=True)
class Plan:
    """What was fixed before the first look: whom to compare, after which numbers of seeds, and at which error."""

    suite: str
    a: str
    b: str
    looks: tuple[int, ...]
    alpha: float

    @property
    def cap(self) -> int:
        """The largest number of seeds."""
        return self.looks[-1]


@dataclass(frozen=True)
class Look:
    """One look: what was seen with so many seeds, and the bound that |z| had to cross."""

    seeds: int
    differences: int
    units: int
    difference: float
    p: float | None
    z: float | None
    bound: float
    nominal_p: float
    crossed: bool


@dataclass(frozen=True)
class Decision:
    """A plan, the looks taken so far, and the conclusion: `a`, `b`, `undecided at the cap`, or None while open.

    `foreseen` is how many seeds were already finished when the plan was made: beyond the first look, the plan was not
    made blind. All looks are of scores on one `scale`: over several pairs normalised, where the tables' are.
    """

    plan: Plan
    foreseen: int
    scale: Scale
    looks: tuple[Look, ...] = field(default=())
    conclusion: str | None = None


def make_plan(suite: str, a: str, b: str, first: int, step: int, cap: int, alpha: float) -> Plan:
    """Return a plan with looks after `first` seeds, every `step` more, and at `cap`; raises InputError if none fits."""
    if not 2 <= first <= cap or step < 1:
        raise InputError(
            f"the first look is at {first} seeds, the next every {step}, the last at {cap}; "
            "give 2 <= --first <= --cap and --step of at least 1"
        )
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha is {alpha}; give an error probability between 0 and 0.5, such as 0.05")
    return Plan(suite, a, b, (*range(first, cap, step), cap), alpha)


def decision_path(store: Store, plan: Plan) -> Path:
    """Where the looks of a comparison are kept, in whichever order its methods were first named."""
    names = [re.sub(r"[^A-Za-z0-9.-]+", "-", f"{a}-vs-{b}") for a, b in ((plan.a, plan.b), (plan.b, plan.a))]
    own, mirrored = (store.root / "decisions" / plan.suite / f"{name}.json" for name in names)
    return mirrored if mirrored.exists() and not own.exists() else own


def decide(store: Store, plan: Plan, load: Load, run: Run | None) -> Decision:
    """Take the looks that are due, one after the other, until one crosses its bound or the cap is reached.

    `run(n)` must finish the first n seeds of both methods; without it only looks whose seeds are there are taken. Each
    look is written to the store before the next seeds are run, and never taken again. A plan of b and a goes on with
    that of a and b. Raises InputError if the store holds looks of another plan: a plan that changes after a look is
    none.
    """
    results = load()
    check_methods(results, [plan.a, plan.b])
    path = decision_path(store, plan)
    decision = _stored(path, plan) or Decision(plan, _finished(results, plan), scale_over(results, results.pairs))
    bounds = boundaries([seeds / plan.cap for seeds in plan.looks], plan.alpha)
    for index in range(len(decision.looks), len(plan.looks)):
        if decision.conclusion is not None:
            break
        seeds = plan.looks[index]
        if run is not None and _finished(results, plan, seeds) < seeds:
            run(seeds)
            results = load()
        if _finished(results, plan, seeds) < seeds:
            break
        look = _look(results, decision.plan, seeds, decision.scale, float(bounds[index]))
        decision = _after(decision, look)
        write_atomically(path, pretty_json(_plain(decision)))
    return decision


def _finished(results: SuiteResults, plan: Plan, limit: int | None = None) -> int:
    """The number of seeds, counted from 0, that both methods finished on every pair."""
    runs = results.runs[results.runs["usable"].astype(bool)]
    done = set(zip(runs["pair"], runs["method"], runs["seed"], strict=True))
    count = 0
    while (limit is None or count < limit) and all(
        (pair, method, count) in done for pair in results.pairs for method in (plan.a, plan.b)
    ):
        count += 1
    return count


def _look(results: SuiteResults, plan: Plan, seeds: int, scale: Scale, bound: float) -> Look:
    found = paired.paired_differences(results, plan.a, plan.b, results.pairs, seeds, scale)
    assert found is not None
    p = paired.t_test_p(found)
    known = bool(np.isfinite(p))
    nominal = float(2 * scipy.stats.norm.sf(bound))
    z = float(np.sign(found.value) * scipy.stats.norm.isf(max(p, 1e-300) / 2)) if known else None
    return Look(
        seeds=seeds,
        differences=len(found.values),
        units=found.n_units,
        difference=found.value,
        p=p if known else None,
        z=z,
        bound=bound,
        nominal_p=nominal,
        crossed=known and p <= nominal,
    )


def _after(decision: Decision, look: Look) -> Decision:
    conclusion = None
    if look.crossed:
        conclusion = decision.plan.a if look.difference > 0 else decision.plan.b
    elif look.seeds == decision.plan.cap:
        conclusion = "undecided at the cap"
    return replace(decision, looks=(*decision.looks, look), conclusion=conclusion)


def _plain(decision: Decision) -> dict[str, Any]:
    return {"schema": 1, **asdict(decision)}


def _stored(path: Path, plan: Plan) -> Decision | None:
    if not path.exists():
        return None
    problems: list[str] = []
    content = read_json(path, problems)
    if content is None:
        raise InputError(
            f"{path} cannot be read ({'; '.join(problems)}); looks that were taken must not be taken again"
        )
    own = content["plan"]
    stored = Plan(own["suite"], own["a"], own["b"], tuple(own["looks"]), own["alpha"])
    if stored not in (plan, replace(plan, a=plan.b, b=plan.a)):
        raise InputError(
            f"{path} holds looks of another plan (seeds {', '.join(map(str, stored.looks))}, alpha {stored.alpha}); "
            "a plan must not change after a look, so give the same one"
        )
    looks = tuple(Look(**look) for look in content["looks"])
    # Looks that were taken before the scale was kept are of scores as they are.
    return Decision(stored, content["foreseen"], content.get("scale", "score"), looks, content["conclusion"])
