"""Several source tasks in one pair: named in a suite, each with a dataset of its own, all given to one method."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.api import Budgets
from suites.datasets import build_dataset
from suites.dispatch import _Plan, dispatch
from suites.matrix import Matrix, build_matrix
from suites.outcome import Outcome
from suites.runner import run_cell
from suites.sources import load_sources, recipe_of, source_task
from suites.spec import DatasetRecipe, PairSpec, RunSpec, SourceEntry, SourceRecipe, parse_suite, run_spec_from_json
from suites.status import suite_status
from suites.store import Store, read_rows
from suites.submission import _by_dependency
from suites.tasks import make_task
from suites.tasks.custom import CustomTask, custom_task
from suites.tasks.task import Task
from tests.suites import cells
from tests.suites.test_status import write_manifest
from wombet.dataset import load_card, load_dataset
from wombet.errors import InputError

SOURCES: list[Any] = ["source", "moderate", {"name": "backward", "level": "source", "reward": {"target": -4.0}}]
SUITE: dict[str, Any] = {
    "name": "several",
    "title": "Several",
    "description": "Several sources.",
    "seeds": 3,
    "n_datasets": 2,
    "methods": ["rlpd", "mtop-state", "one"],
    "pairs": [{"family": "halfcheetah", "level": "close", "horizon": 100, "sources": SOURCES}],
    "variants": {"one": {"method": "mtop-state", "sources": ["moderate"]}},
    "budgets": {"target_steps": 1000, "offline_updates": 10},
    "evaluation": {"count": 2, "episodes": 1},
}


def matrix_of(**changes: Any) -> Matrix:
    return build_matrix(parse_suite({**copy.deepcopy(SUITE), **changes}, "several.toml"))


def pair_with(*sources: Any) -> list[dict[str, Any]]:
    return [{**SUITE["pairs"][0], "sources": list(sources)}]


def rows(matrix: Matrix, seed: int) -> dict[str, RunSpec]:
    return {run.row: run for run in matrix.runs if run.seed == seed}


def test_each_source_has_a_dataset_of_its_own_and_the_familys_own_is_the_one_that_others_are_fed() -> None:
    of = rows(matrix_of(), 1)
    names = [source.name for source in of["mtop-state"].sources]
    own, moderate, backward = (source.recipe for source in of["mtop-state"].sources)
    assert names == ["source", "moderate", "backward"]
    assert own == of["rlpd"].dataset
    assert not isinstance(own, SourceRecipe)
    assert of["mtop-state"].dataset is None
    assert [source.recipe for source in of["one"].sources] == [moderate]
    assert len({recipe.id for recipe in (own, moderate, backward)}) == 3
    assert moderate.source_fingerprint == make_task("halfcheetah", "moderate", horizon=100).fingerprint()
    assert isinstance(backward, SourceRecipe)
    assert backward.source == {"level": "source", "reward": {"target": -4.0}}
    assert [recipe.source_name for recipe in (own, moderate, backward)] == [
        "source",
        "moderate",
        "source with target = -4.0",
    ]
    assert {recipe.dataset_seed for recipe in (own, moderate, backward)} == {1}
    assert {recipe.dataset_seed for recipe in of["mtop-state"].recipes} == {1}
    assert rows(matrix_of(), 2)["mtop-state"].recipes[0].dataset_seed == 0
    assert len(matrix_of().recipes) == 3 * 2


def test_a_sources_own_data_settings_go_in_front() -> None:
    longer = {"name": "shorter", "data": {"generation": {"agent_steps": 20000}}}
    matrix = matrix_of(pairs=pair_with("source", longer), variants={}, methods=["mtop-state"])
    own, other = (source.recipe for source in matrix.runs[0].sources)
    assert other.config["agent_steps"] == 20000 != own.config["agent_steps"]
    assert not isinstance(other, SourceRecipe)


def test_runs_with_several_sources_survive_being_stored_and_differ_by_them() -> None:
    of = rows(matrix_of(), 0)
    for run in of.values():
        again = run_spec_from_json(json.loads(json.dumps(run.to_json())))
        assert dataclasses.replace(again, row=run.row) == run
        assert again.run_id == run.run_id
    assert "sources" not in of["rlpd"].to_json()
    assert of["one"].run_id != of["mtop-state"].run_id
    renamed = matrix_of(pairs=pair_with("source", "moderate", {**SOURCES[2], "name": "other"}))
    assert rows(renamed, 0)["mtop-state"].run_id != of["mtop-state"].run_id
    assert rows(renamed, 0)["mtop-state"].recipes == of["mtop-state"].recipes


def test_a_run_with_one_dataset_has_the_identity_it_had_before_there_were_several() -> None:
    pair = PairSpec("reacher-close", "reacher", "close", "both", 50, "0123456789ab", "ba9876543210")
    recipe = DatasetRecipe("reacher", 50, "0123456789ab", "pure", "imagined", "quick", {"a": 1}, 1)
    evaluation = {"count": 3, "episodes": 2}
    run = RunSpec(pair, "rlpd", 1, {"utd": 1}, 4, Budgets(100, 0, 0), evaluation, recipe)
    assert recipe.id == "reacher-f9174073f246"
    assert run.run_id == "2b9cb7bf9aaf"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pairs": pair_with()}, "learns from several source tasks; name them"),
        ({"pairs": pair_with("modrate")}, "did you mean 'moderate'"),
        ({"pairs": pair_with("source", {"name": "source", "level": "far"})}, "two sources have the same name"),
        ({"pairs": pair_with({"name": "fast", "reward": {"tarjet": 9.0}})}, "did you mean 'target'"),
        ({"pairs": pair_with({"name": "fast", "reward": {"target": "9"}})}, "give it numbers"),
        ({"pairs": pair_with({"name": "fast", "data": {"imported": "halfcheetah-0123456789ab"}})}, "are generated"),
        ({"variants": {"one": {"method": "mtop-state", "sources": ["moderat"]}}}, "did you mean 'moderate'"),
        ({"variants": {"one": {"method": "rlpd", "sources": ["moderate"]}}}, "leave sources out"),
        ({"pairs": [{"family": "native/HalfCheetah-v5", "level": "native", "sources": SOURCES}]}, "a native task has"),
    ],
)
def test_a_source_that_is_not_there_or_does_not_fit_is_said_in_one_sentence(changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        matrix_of(**changes)
    assert "\n" not in str(caught.value)


def test_a_source_without_a_usable_name_is_refused() -> None:
    with pytest.raises(InputError, match="sources"):
        matrix_of(pairs=pair_with({"name": "Not This", "level": "far"}))


def test_a_custom_task_is_its_level_with_another_reward() -> None:
    plain, custom = make_task("reacher", horizon=20), custom_task("reacher", "source", {"goal": [-0.1, -0.1]}, 20)
    assert custom.fingerprint() != plain.fingerprint()
    assert custom.id != plain.id
    assert custom.initial_states == plain.initial_states
    env = custom.make_env()
    obs, _ = env.reset(seed=3)
    action = np.array([0.5, -0.5], np.float32)
    next_obs, reward, _, _, _ = env.step(action)
    assert custom.relabel(obs, action, next_obs)[0] == np.float32(reward)
    assert plain.relabel(obs, action, next_obs)[0] != np.float32(reward)
    assert CustomTask.from_json(custom.to_json()) == custom
    assert env.spec is not None
    assert type(custom_task("reacher", "close", {})) is Task
    env.close()


def test_the_dataset_of_a_custom_source_has_its_rewards_and_is_verified_as_such(store: Store) -> None:
    (_, own), (_, elsewhere) = ((source.name, source.recipe) for source in cells.sources())
    assert build_dataset(elsewhere, store).ending == "done"
    task, made = source_task(elsewhere), load_dataset(store.dataset_folder(elsewhere.id))
    made.validate(task)
    with pytest.raises(InputError, match="belongs to another task"):
        made.validate(source_task(own))
    assert load_card(store.dataset_folder(elsewhere.id))["recipe"] == dataclasses.asdict(elsewhere)
    # A source task of its own draws its own numbers.
    assert not np.array_equal(made.obs[0], load_dataset(store.dataset_folder(own.id)).obs[0])
    changed = dataclasses.replace(elsewhere, source_fingerprint=own.source_fingerprint)
    with pytest.raises(InputError, match="not those this was planned with"):
        source_task(changed)


def test_a_run_is_given_all_its_sources_in_order_and_charged_for_them(store: Store) -> None:
    spec = cells.cell("mtop-state")
    summary = dispatch([spec, cells.cell("zero")], store, executor="inline")
    assert summary.counts == {"done": 3}
    given = load_sources(spec, store)
    assert [(source.name, source.task.id) for source in given] == [
        ("source", "reacher/source"),
        ("elsewhere", source_task(spec.recipes[1]).id),
    ]
    for source in given:
        source.dataset.validate(source.task)
    last = read_rows(store.run_folder(spec.folder) / "evals.jsonl")[-1]
    cards = [load_card(store.dataset_folder(recipe.id)) for recipe in spec.recipes]
    assert last["source_steps"] == sum(card["source_steps"]["total"] for card in cards)
    weights = [row for row in read_rows(store.run_folder(spec.folder) / "train.jsonl") if row["phase"] == "online"]
    assert weights[-1]["weight_source"] + weights[-1]["weight_elsewhere"] == pytest.approx(1)
    swapped = dataclasses.replace(spec, sources=spec.sources[::-1])
    assert [source.name for source in load_sources(swapped, store)] == ["elsewhere", "source"]
    assert swapped.run_id != spec.run_id


def test_a_run_waits_for_every_one_of_its_datasets_and_is_blocked_by_any(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "new"), cells.cell("mtop-state")
    assert run_cell(spec, store).ending == "blocked"
    events: list[Any] = []
    summary = dispatch([spec], store, executor="inline", on_event=events.append)
    assert [event.job.id for event in events if event.kind == "started"] == [*(r.id for r in spec.recipes), spec.folder]
    assert summary.counts == {"done": 3}

    plan = _Plan([cells.cell("mtop-state", seed=1)], [], Store(tmp_path / "other"), {"device": "cpu"})
    first, second = (plan.ready.popleft() for _ in range(2))
    plan.ended(first, Outcome("done"))
    assert (len(plan.ready), len(plan.waiting)) == (0, 1)
    plan.ended(second, Outcome("done"))
    assert (len(plan.ready), len(plan.waiting)) == (1, 0)

    bad = recipe_of(cells.recipe(cells.generation(gate_tolerance=0.0)), SourceEntry(name="bad", level="far"))
    worse = recipe_of(cells.recipe(cells.generation(gate_tolerance=0.0)), SourceEntry(name="worse", level="moderate"))
    named = tuple(
        dataclasses.replace(source, recipe=recipe)
        for source, recipe in zip((*spec.sources, spec.sources[0]), (*spec.recipes[:1], bad, worse), strict=True)
    )
    stuck = dataclasses.replace(spec, sources=named)
    summary = dispatch([stuck], store, executor="inline")
    assert summary.counts == {"failed": 2, "blocked": 1}
    write_manifest(store, [stuck])
    status = suite_status(store, "test")
    assert [cell.state for cell in status.cells] == ["blocked"]
    assert sorted(dataset.state for dataset in status.datasets) == ["done", "failed", "failed"]


def test_a_queued_run_depends_on_the_jobs_of_all_its_missing_datasets() -> None:
    spec, plain = cells.cell("mtop-state"), cells.cell("rlpd")
    own, elsewhere = (recipe.id for recipe in spec.recipes)
    assert _by_dependency([spec, plain], {own: "7", elsewhere: "8_1"}) == {"7:8_1": [spec], "7": [plain]}
    assert _by_dependency([spec, plain], {elsewhere: "8"}) == {"8": [spec], None: [plain]}
    assert _by_dependency([spec], {}) == {None: [spec]}
