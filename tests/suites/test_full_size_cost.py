"""What the prediction of a cluster's hours counts, and that the page tells of the suites that there are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baselines.api import Phase
from benchmarks.full_size_cost.__main__ import full_suites, main
from benchmarks.full_size_cost.apart import apart
from benchmarks.full_size_cost.generation import GenerationCost, PlanningCost, dataset_seconds, iteration_seconds
from benchmarks.full_size_cost.methods import MethodCost, key_of, kind_of, measure
from benchmarks.full_size_cost.predict import Rates, SuiteCost, run_cost, suite_cost
from benchmarks.full_size_cost.table import COMMAND, TOTAL, counts, markdown
from benchmarks.offline_update import random_dataset
from benchmarks.page import END, replaced
from benchmarks.phase_rates import Watch, measured_problem
from suites.contract.problem import HORIZON, build
from suites.datasets import config_of
from suites.matrix import build_matrix
from suites.spec import RunSpec, load_suite, parse_suite
from wombet.planner import Planner
from wombet.profiles import profile
from wombet.world_model import WorldModel

PAGE = Path(__file__).parent.parent.parent / "docs" / "slurm.md"
SUITE = {
    "name": "two-rows",
    "title": "t",
    "description": "d",
    "seeds": 2,
    "n_datasets": 2,
    "methods": ["sac", "wsrl", "rlpd", "zero"],
    "pairs": [{"family": "halfcheetah", "level": "close", "horizon": 200}],
    "data": {"profile": "quick"},
    "budgets": {"target_steps": 3000, "offline_updates": 700},
    "evaluation": {"count": 4, "episodes": 5},
}


def runs_of(**changes: Any) -> list[RunSpec]:
    return build_matrix(parse_suite({**SUITE, **changes}, "test")).runs


def row(runs: list[RunSpec], name: str) -> RunSpec:
    return next(run for run in runs if run.row == name)


def known(runs: list[RunSpec], **seconds: dict[str, float]) -> Rates:
    """Rates that were not measured: those of each phase, and a thousandth of a second per step of an evaluation."""
    rates = Rates()
    for run in runs:
        rates.methods[key_of(run)] = MethodCost(seconds.get(run.row, {}), 0.0, 1e-3, 300.0, 1000, 5000, 100)
    return rates


def with_parts(rates: Rates, cost: GenerationCost) -> Rates:
    rates.of_generation = lambda config: cost  # type: ignore[method-assign]
    return rates


@pytest.fixture(scope="module")
def catalogue() -> dict[str, list[RunSpec]]:
    return {name: build_matrix(load_suite(name)).runs for name in full_suites()}


def test_the_pages_table_names_the_full_suites_and_has_their_cells_and_datasets(
    catalogue: dict[str, list[RunSpec]],
) -> None:
    expected = {
        name: (len(runs), len({recipe.id for run in runs for recipe in run.recipes}))
        for name, runs in catalogue.items()
    }
    together = {run.folder: run for runs in catalogue.values() for run in runs}
    recipes = {recipe.id for run in together.values() for recipe in run.recipes}
    assert counts(PAGE.read_text()) == {**expected, TOTAL: (len(together), len(recipes))}


def test_the_page_queues_every_full_suite_once(catalogue: dict[str, list[RunSpec]]) -> None:
    (loop,) = re.findall(r"^for suite in (.*?); do", PAGE.read_text(), re.MULTILINE)
    assert sorted(loop.split()) == sorted(catalogue)


def test_a_run_is_its_units_and_its_evaluations() -> None:
    runs = runs_of()
    rates = known(runs, sac={"online": 0.5}, wsrl={"offline": 0.25, "online": 2.0})
    episodes = 4 * 5 * 200 * 1e-3
    assert run_cost(row(runs, "sac"), rates).seconds == pytest.approx(3000 * 0.5 + episodes)
    # A run that switches is evaluated once more, a step after the switch.
    assert run_cost(row(runs, "wsrl"), rates).seconds == pytest.approx(700 * 0.25 + 3000 * 2 + episodes * 5 / 4)
    assert run_cost(row(runs, "zero"), rates).seconds == pytest.approx(episodes / 4)


def test_a_run_is_not_called_cheap_because_a_phase_was_not_measured() -> None:
    runs = runs_of()
    with pytest.raises(RuntimeError, match="no update was measured in the offline phase"):
        run_cost(row(runs, "wsrl"), known(runs, wsrl={"online": 1.0}))


def test_iterations_pay_for_making_data_again() -> None:
    changes = {
        "methods": ["twice", "thrice"],
        "variants": {
            name: {"method": "wombet-iterated", "config": {"iterations": n}}
            for name, n in (("twice", 2), ("thrice", 3))
        },
    }
    runs = runs_of(**changes)
    cost = GenerationCost(0.0, 0.01, PlanningCost(0.1, 0.0))
    rates = with_parts(known(runs, twice={"online": 1.0}, thrice={"online": 1.0}), cost)
    recipe = row(runs, "twice").dataset
    assert recipe is not None
    more = run_cost(row(runs, "thrice"), rates).seconds - run_cost(row(runs, "twice"), rates).seconds
    assert more == pytest.approx(iteration_seconds(config_of(recipe), cost))


def test_what_two_suites_share_is_counted_once() -> None:
    runs, others = runs_of(), runs_of(name="another", methods=["sac", "wsrl"], seeds=1)
    rates = with_parts(
        known(runs, sac={"online": 1.0}, rlpd={"online": 1.0}, wsrl={"offline": 1.0, "online": 1.0}),
        GenerationCost(0.1, 0.0, PlanningCost(0.0, 0.0)),
    )
    alone, together = suite_cost("alone", runs, rates), suite_cost("together", [*runs, *others], rates)
    assert (alone.cells, alone.datasets) == (8, 2)
    assert (together.cells, together.datasets, together.hours) == (8, 2, alone.hours)
    assert alone.hours == pytest.approx(
        2 * sum(run_cost(row(runs, name), rates).seconds for name in SUITE["methods"]) / 3600 + sum(alone.dataset_hours)
    )


def test_a_suite_takes_its_share_of_the_cores_or_its_longest_run_after_its_dataset() -> None:
    cost = SuiteCost("s", 1, 1, (1.0, 30.0), (2.0, 3.0), 6000.0, 0, 0, 0, 0)
    assert cost.wall_hours(100) == 60
    assert cost.wall_hours(400) == 33


def test_a_recipes_counts_are_what_a_build_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in a build, with costs of one per unit of one part and none of the others."""
    done = {"planned": 0, "fitted": 0}
    plan, fit = Planner.plan, WorldModel.fit

    def planned(self: Any, obs: Any) -> Any:
        done["planned"] += self.n_episodes
        return plan(self, obs)

    def fitted(self: Any, *args: Any, **more: Any) -> Any:
        report = fit(self, *args, **more)
        done["fitted"] += report["steps"]
        return report

    monkeypatch.setattr(Planner, "plan", planned)
    monkeypatch.setattr(WorldModel, "fit", fitted)
    _, left = build.__wrapped__()
    config = left.config

    def units(*cost: float) -> float:
        agent, fit_step, decision = cost
        return dataset_seconds(config, GenerationCost(agent, fit_step, PlanningCost(decision, 0.0)))

    assert units(1, 0, 0) == config.agent_steps == 2 * HORIZON
    assert units(0, 1, 0) == done["fitted"]
    # Imagined trajectories may end early, and the last plan of an odd number of steps is not used up.
    assert units(0, 0, 1) == pytest.approx(done["planned"], rel=0.25)


def test_a_build_with_an_early_pool_has_one_fit_more() -> None:
    config = profile("halfcheetah", "full", "guided", "imagined", 1000)
    cost = GenerationCost(0.0, 1.0, PlanningCost(0.0, 0.0))
    early = type(config)(**{**vars(config), "early_fraction": 0.5})
    assert dataset_seconds(early, cost) - dataset_seconds(config, cost) == config.world_model.max_steps


class Scripted:
    """Steps, and updates in some ticks, as a script says."""

    def __init__(self, env: Any, script: list[tuple[int, int]]) -> None:
        self.env, self.script = env, script

    def train(self, phase: Phase, tick: Callable[..., None]) -> None:
        for steps, updates in self.script:
            for _ in range(steps):
                _ = self.env.observation
                self.env.step(self.env.action_space.sample() * 0)
            tick(updates=updates)


def test_the_watch_counts_from_the_first_update_and_leaves_bursts_out() -> None:
    problem = measured_problem(random_dataset(1000), 200)
    # Three steps of warm-up, a burst of five updates without a step, then two updates a step.
    script = [(1, 0), (1, 0), (1, 0), *((0, n) for n in range(1, 6)), (1, 7), (1, 9), (1, 11)]
    found = Watch(problem, 60.0).measure(Scripted(problem.target_env, script), Phase.ONLINE)
    assert found is not None
    assert (found.updates, found.units) == (4, 2)


def test_methods_are_measured_at_their_own_settings_with_whatever_they_need() -> None:
    """`sac-continued` goes on from a source agent, which the measured problem has to have."""
    config = {"sac-continued": {"layer_norm": True}, "bc": {"hidden_width": 16}}
    budgets = {"target_steps": 3000, "offline_updates": 700}
    runs = runs_of(methods=["sac-continued", "bc"], config=config, shared={"hidden_width": 128}, budgets=budgets)
    dataset = random_dataset(3000)
    online, offline = (measure(kind_of(row(runs, name)), dataset, 0.05) for name in ("sac-continued", "bc"))
    assert set(online.seconds) == {"online"}
    assert set(offline.seconds) == {"offline"}
    assert 0 < offline.seconds["offline"] < online.seconds["online"] < 1
    assert min(online.evaluation, offline.evaluation) > 0
    assert offline.policy_bytes < online.policy_bytes


def test_work_apart_gives_back_its_result_or_says_why_not() -> None:
    assert apart(lambda: {"a": 1}) == {"a": 1}
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        apart(lambda: 1 // 0)


def test_a_table_takes_the_place_of_the_one_there_was() -> None:
    cost = SuiteCost("some-suite", 1234, 5, (1.0, 30.0), (2.0, 3.0), 6000.0, 900, 9000, 5e9, 0)
    page = f"before\n<!-- {COMMAND} -->\nold\n{END}\nafter\n"
    new = replaced(page, markdown([cost]))
    assert "old" not in new
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert counts(new) == {"some-suite": (1234, 5)}
    with pytest.raises(ValueError, match="no markers"):
        replaced("a page", markdown([cost]))


def test_an_unknown_suite_is_named_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper-fig22"]) == 2
    assert "did you mean" in capsys.readouterr().err
