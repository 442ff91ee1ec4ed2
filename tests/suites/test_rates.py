"""What things are expected to take, from what such things took."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from suites.rates import Rates, TimeLeft, Work, makespan
from suites.spec import RunSpec
from suites.store import Store
from tests.suites import cells
from tests.suites.conftest import Program
from wombet.files import pretty_json


def finished(store: Store, spec: RunSpec, *attempts: tuple[float, float]) -> None:
    """A finished run whose attempts took (CPU, wall) seconds."""
    folder = store.run_folder(spec.folder)
    folder.mkdir(parents=True)
    costs = [{"cost": {"cpu_s": cpu_s, "wall_s": wall_s}} for cpu_s, wall_s in attempts]
    for name, content in (("spec", spec.to_json()), ("done", {}), ("provenance", [{}, *costs])):
        (folder / f"{name}.json").write_text(pretty_json(content))


def elsewhere(spec: RunSpec) -> RunSpec:
    return dataclasses.replace(spec, pair=dataclasses.replace(spec.pair, id="other"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_run_takes_what_runs_with_its_settings_took_per_step_all_attempts_together(store: Store) -> None:
    finished(store, cells.cell("sac", target_steps=100), (4.0, 5.0), (2.0, 3.0))
    finished(store, cells.cell("sac", target_steps=300, seed=1), (14.0, 16.0))
    estimate = Rates.of_store(store).estimate("run", cells.cell("sac", target_steps=1000, seed=2).to_json())
    assert estimate is not None
    assert (estimate.cpu_s, estimate.wall_s) == (pytest.approx(50.0), pytest.approx(60.0))
    assert estimate.basis == "the same settings on this pair"


def test_the_closest_kind_that_is_known_counts(store: Store) -> None:
    wanted = cells.cell("sac", target_steps=100)
    steps = (
        (elsewhere(cells.cell("sac", target_steps=100, utd=2)), 1.0, "other settings on other pairs"),
        (cells.cell("sac", target_steps=100, utd=3), 2.0, "other settings on this pair"),
        (elsewhere(wanted), 4.0, "the same settings on other pairs"),
        (cells.cell("sac", target_steps=100, seed=1), 8.0, "the same settings on this pair"),
    )
    for spec, seconds, basis in steps:
        finished(store, spec, (seconds, seconds))
        estimate = Rates.of_store(store).estimate("run", wanted.to_json())
        assert estimate is not None
        assert estimate.basis == basis
    assert estimate.cpu_s == pytest.approx(8.0)


def test_what_has_no_finished_relative_is_unknown(store: Store) -> None:
    finished(store, cells.cell("sac"), (1.0, 1.0))
    unfinished = cells.cell("rlpd")
    finished(store, unfinished, (1.0, 1.0))
    (store.run_folder(unfinished.folder) / "done.json").unlink()
    rates = Rates.of_store(store)
    assert rates.estimate("run", unfinished.to_json()) is None
    assert rates.estimate("dataset", dataclasses.asdict(cells.recipe())) is None


def test_runs_of_stores_that_kept_no_attempts_costs_count_by_their_training(store: Store) -> None:
    spec = cells.cell("sac", target_steps=100)
    finished(store, spec)
    (store.run_folder(spec.folder) / "costs.jsonl").write_text('{"cpu_s": 1.0, "wall_s": 2.0}\n')
    estimate = Rates.of_store(store).estimate("run", spec.to_json(), share=0.5)
    assert estimate is not None
    assert (estimate.cpu_s, estimate.wall_s) == (0.5, 1.0)


def test_a_dataset_takes_what_the_same_recipe_took_with_another_seed(built_store: Store) -> None:
    estimate = Rates.of_store(built_store).estimate("dataset", dataclasses.asdict(cells.recipe(dataset_seed=1)))
    assert estimate is not None
    assert estimate.basis == "the same recipe with another seed"
    assert 0 < estimate.cpu_s < 120


@pytest.mark.parametrize(
    ("works", "workers", "seconds"),
    [
        ([], 2, 0.0),
        ([Work("a", 3), Work("b", 1), Work("c", 1)], 1, 5.0),
        ([Work("a", 3), Work("b", 1), Work("c", 1)], 2, 3.0),
        ([Work("data", 2), Work("a", 1, "data"), Work("b", 1, "data"), Work("c", 5)], 3, 5.0),
        ([Work("data", 2), Work("a", 4, "data"), Work("b", 4, "data")], 2, 6.0),
        ([Work("a", 4, "data that is there")], 2, 4.0),
    ],
)
def test_the_end_follows_from_workers_and_what_waits_for_what(works: list[Work], workers: int, seconds: float) -> None:
    assert makespan(works, workers) == seconds


def test_the_time_left_weighs_jobs_by_what_they_take(store: Store) -> None:
    short, long = cells.cell("zero"), cells.cell("sac", target_steps=1000)
    finished(store, dataclasses.replace(short, seed=9), (1.0, 1.0))
    finished(store, dataclasses.replace(long, seed=9), (99.0, 99.0))
    left = TimeLeft(Rates.of_store(store), [("a", "run", short.to_json()), ("b", "run", long.to_json())])
    assert left.seconds(1) == pytest.approx(100.0)
    left.ended("a", None)
    assert left.seconds(1) == pytest.approx(99.0)
    left.progress("b", 0.5, None)
    assert left.seconds(1) == pytest.approx(49.5)
    left.progress("b", 0.5, 20.0)
    assert left.seconds(4) == pytest.approx(20.0)
    left.ended("b", None)
    assert left.seconds(1) == 0.0


def test_nothing_is_guessed_before_a_job_of_the_kind_is_finished_and_then_it_is_learnt(store: Store) -> None:
    specs = [cells.cell("sac", seed=seed) for seed in range(3)]
    jobs: list[tuple[str, str, Any]] = [(spec.folder, "run", spec.to_json()) for spec in specs]
    left = TimeLeft(Rates.of_store(store), jobs)
    assert left.seconds(1) is None
    finished(store, specs[0], (5.0, 6.0))
    left.ended(specs[0].folder, store.run_folder(specs[0].folder))
    assert left.seconds(1) == pytest.approx(12.0)


def test_a_plan_tells_known_and_unknown_costs_apart(wombet: Program, store: Store) -> None:
    import json

    from suites.matrix import build_matrix
    from suites.spec import load_suite

    runs = {(run.row, run.seed): run for run in build_matrix(load_suite("smoke")).runs}
    finished(store, runs["sac", 0], (36.0, 72.0))
    cost = json.loads(wombet("plan", "smoke", "--store", store.root, "--workers", 1, "--json")[1])["cost"]
    assert (cost["core_hours"], cost["hours_to_the_end"]) == (0.01, 0.02)
    assert cost["known_from"] == {"the same settings on this pair": 1}
    assert cost["unknown"] == {"datasets": 1, "zero": 2, "random": 2, "bc": 2, "rlpd": 2, "wombet": 2}
    out = wombet("plan", "smoke", "--store", store.root)[1]
    assert "0.01 core-hours by recorded costs" in out
    assert "nothing like it is finished here: 1 of datasets, 2 of zero" in out
    code, _, err = wombet("plan", "smoke", "--store", store.root, "--workers", 10**6)
    assert code == 2
    assert "each worker needs one" in err
