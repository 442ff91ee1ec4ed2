"""The diagnosis of a dataset: measured in the real simulator, charged to nobody, the same bytes each time."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from suites.datasets import build_dataset
from suites.diagnosis import FILE, diagnose_dataset, load_diagnosis
from suites.diagnosis_model import as_long_as, closed_loop, level_rewards, lower_bound, one_step_truth
from suites.diagnosis_returns import compared_returns
from suites.diagnosis_trials import Laboratory, Trials, trials
from suites.resampling import mean_estimate, ratio_draws, stratified_draws
from suites.spec import DatasetRecipe, imported_recipe
from suites.store import Store
from suites.tasks import make_task
from tests.suites import cells
from wombet.dataset import load_card
from wombet.errors import InputError
from wombet.rollouts import Rollouts

STARTS = 6


@pytest.fixture
def recipe() -> DatasetRecipe:
    return cells.recipe()


@pytest.fixture(scope="module")
def laboratory(built_store: Store) -> Laboratory:
    return Laboratory(cells.recipe(), built_store.dataset_folder(cells.recipe().id), STARTS)


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """The laboratory of a dataset that a source agent collected, with executed trajectories."""
    store = Store(tmp_path_factory.mktemp("guided"))
    config = dataclasses.replace(cells.guided_generation(), rollouts="executed", source_steps=600)
    recipe = cells.recipe(config)
    assert build_dataset(recipe, store).ending == "done"
    return Laboratory(recipe, store.dataset_folder(recipe.id), STARTS)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def replayed(laboratory: Laboratory, found: Trials, steps: int) -> np.ndarray:
    """Rewards of the trials' actions in a fresh simulator: what they say must be what happens."""
    env = laboratory.task.make_env()
    rewards = np.zeros((len(found.steps), steps))
    for i, state in enumerate(laboratory.starts.sim_state):
        env.reset(seed=0)
        env.set_sim_state(state)
        for t in range(min(steps, found.steps[i])):
            rewards[i, t] = env.step(found.actions[i, t])[1]
    env.close()
    return rewards


def made_up(rewards: list[list[float]], steps: list[int], ended: list[bool], u: float = 0.0) -> Trials:
    table = np.array(rewards)
    n = len(steps)
    unsure = np.where(np.arange(table.shape[1]) < np.array(steps)[:, None], u, 0.0)
    return Trials(
        table, unsure, np.array(steps), np.array(ended), np.arange(n) % 2, np.zeros((*table.shape, 2), np.float32)
    )


def test_a_diagnosis_is_the_same_bytes_and_leaves_data_and_card_alone(store: Store, recipe: DatasetRecipe) -> None:
    folder = store.dataset_folder(recipe.id)
    before = contents(folder)
    first, new = diagnose_dataset(recipe, store, STARTS)
    written = (folder / FILE).read_bytes()
    assert new
    assert json.loads(written) == first
    assert {name: data for name, data in contents(folder).items() if name != FILE} == before

    assert diagnose_dataset(recipe, store, 2 * STARTS) == (first, False)
    again, new = diagnose_dataset(recipe, store, STARTS, again=True)
    assert new
    assert again == first
    assert (folder / FILE).read_bytes() == written


def test_its_simulator_steps_are_counted_and_not_charged(store: Store, recipe: DatasetRecipe) -> None:
    total = load_card(store.dataset_folder(recipe.id))["source_steps"]["total"]
    found, _ = diagnose_dataset(recipe, store, STARTS)
    newest = found["returns"]["newest_rows"]
    at_most = STARTS * (2 * cells.HORIZON + 6 * 10 + 7 * 10) + found["one_step"]["rows"]
    at_most += 2 * newest["pairs"] * newest["steps"]
    # Reacher ends no episode, so every trajectory of the planner takes all its steps.
    assert found["simulator_steps"] == at_most
    assert found["charged_to_dataset"] == 0
    assert load_card(store.dataset_folder(recipe.id))["source_steps"]["total"] == total


def test_another_seed_of_the_dataset_draws_other_starts(laboratory: Laboratory, built_store: Store) -> None:
    folder = built_store.dataset_folder(cells.recipe().id)
    same, other = (Laboratory(cells.recipe(dataset_seed=seed), folder, STARTS) for seed in (0, 1))
    assert np.array_equal(same.starts.sim_state, laboratory.starts.sim_state)
    assert not np.array_equal(other.starts.sim_state, laboratory.starts.sim_state)


def test_half_the_starts_are_initial_and_half_are_states_of_the_source_data(laboratory: Laboratory) -> None:
    assert laboratory.starts.type.tolist() == [0] * 3 + [1] * 3
    assert laboratory.source is not None
    known = {row.tobytes() for row in laboratory.source.sim_state}
    assert [state.tobytes() in known for state in laboratory.starts.sim_state] == [False] * 3 + [True] * 3
    assert not laboratory.starts.noise.any()


def test_the_planners_rewards_are_those_of_its_actions_in_the_simulator(laboratory: Laboratory) -> None:
    found = laboratory.planner_trials(1.0, cells.HORIZON)
    assert np.array_equal(found.rewards, replayed(laboratory, found, cells.HORIZON))
    shorter = laboratory.planner_trials(1.0, 10)
    assert np.array_equal(found.cut(10).rewards, shorter.rewards)
    assert np.array_equal(found.cut(10).uncertainty, shorter.uncertainty)
    assert np.array_equal(found.cut(10).steps, shorter.steps)


def test_a_larger_penalty_makes_another_plan_from_the_same_starts(laboratory: Laboratory) -> None:
    free, priced = (laboratory.imagined_trials(factor, 10) for factor in (0.0, 50.0))
    assert not np.array_equal(free.actions, priced.actions)
    assert priced.uncertainty.mean() < free.uncertainty.mean()
    card = laboratory.dataset.card
    assert laboratory.unit_penalty == pytest.approx(card["planner"]["penalty"])


def test_an_open_loop_replay_of_real_trials_gives_their_rewards(laboratory: Laboratory) -> None:
    real = laboratory.planner_trials(1.0, cells.HORIZON)
    assert np.array_equal(laboratory.open_loop_rewards(real), real.rewards)
    stopped = dataclasses.replace(real, steps=np.full(STARTS, 3))
    assert np.array_equal(laboratory.open_loop_rewards(stopped)[:, :3], real.rewards[:, :3])
    assert not laboratory.open_loop_rewards(stopped)[:, 3:].any()


def test_real_rows_pass_the_one_step_check_without_error(built_store: Store) -> None:
    """Rows of the simulator, taken for imagined, must come out as true: the check itself adds nothing."""
    own = Laboratory(cells.recipe(), built_store.dataset_folder(cells.recipe().id), STARTS)
    assert own.source is not None
    own.dataset = own.source
    rows, truth = own.checked_rows()
    assert len(rows) == len(own.source)
    assert np.abs(truth - rows.next_obs).max() < 2e-4
    found = one_step_truth(own, rows, truth)
    assert found["error"]["max"] < 1e-3
    assert all(abs(value["bias"]) < 1e-5 for value in found["rewards"].values())


def test_a_shifted_row_shows_as_error_and_as_bias_of_every_level(laboratory: Laboratory) -> None:
    rows, truth = laboratory.checked_rows()
    shifted = truth.copy()
    shifted[:, -1] += 0.25
    wrong = dataclasses.replace(rows, next_obs=shifted)
    found = one_step_truth(laboratory, wrong, truth)
    expected = 0.25 / laboratory.target_std[-1] / np.sqrt(truth.shape[1])
    assert found["error"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert set(found["rewards"]) == {"source", "close", "moderate", "far"}
    for level in found["rewards"]:
        task = make_task("reacher", level, "both", cells.HORIZON)
        bias = task.relabel(rows.obs, rows.action, shifted)[0] - task.relabel(rows.obs, rows.action, truth)[0]
        assert found["rewards"][level]["bias"] == pytest.approx(bias.mean(dtype=np.float64), abs=1e-6)
    of_close = level_rewards(laboratory, rows, shifted, truth)["close"]
    assert not np.array_equal(of_close[0], level_rewards(laboratory, rows, shifted, truth)["far"][0])


def test_executed_rows_are_their_own_truth(guided: Laboratory) -> None:
    rows, truth = guided.checked_rows()
    assert np.array_equal(rows.next_obs, truth)
    found = one_step_truth(guided, rows, truth)
    assert "real" in found["meaning"]
    assert found["error"]["median"] > 0


def test_the_agent_is_tried_with_and_without_its_noise(guided: Laboratory) -> None:
    assert guided.agent is not None
    alone, stochastic = (guided.policy_trials(name, 5) for name in ("agent", "agent_stochastic"))
    first = guided.agent.act(torch.from_numpy(guided.starts.obs)).numpy()
    assert np.allclose(alone.actions[:, 0], first, atol=1e-6)
    assert not np.array_equal(alone.actions, stochastic.actions)
    assert np.array_equal(alone.rewards, replayed(guided, alone, 5))


def test_without_an_agent_there_is_no_policy_of_it(laboratory: Laboratory) -> None:
    with pytest.raises(InputError, match="collected without an agent, so there is no policy 'agent'"):
        laboratory.policy_trials("agent", 5)


def test_random_actions_fill_the_box(laboratory: Laboratory) -> None:
    actions = laboratory.policy_trials("random", cells.HORIZON).actions
    assert np.abs(actions).max() <= 1
    assert np.abs(actions.mean()) < 0.15
    assert actions.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)


def test_differences_are_paired_by_start(guided: Laboratory) -> None:
    planner = guided.planner_trials(1.0, cells.HORIZON)
    found = compared_returns(guided, planner)
    assert list(found["policies"]) == ["planner", "random", "agent", "agent_stochastic"]
    random = guided.policy_trials("random", cells.HORIZON)
    gaps = planner.rewards.sum(1) - random.rewards.sum(1)
    assert found["planner_minus"]["random"]["mean"] == pytest.approx(gaps.mean(), abs=1e-6)
    # A planner that is better by the same amount from every start has an interval without width.
    better = dataclasses.replace(random, rewards=random.rewards + 0.5)
    low, high = compared_returns(guided, better)["planner_minus"]["random"]["interval"]
    assert low == pytest.approx(0.5 * cells.HORIZON)
    assert high == pytest.approx(0.5 * cells.HORIZON)


def test_returns_that_agree_leave_no_gap_and_bins_hold_every_start(laboratory: Laboratory) -> None:
    real = laboratory.planner_trials(1.0, 10)
    found = closed_loop(laboratory, real, real)
    assert found["gap"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert sum(part["n"] for part in found["by_uncertainty"]) == STARTS
    lows = [part["lowest"] for part in found["by_uncertainty"]]
    assert lows == sorted(lows)
    assert found["trajectories"]["real"] == pytest.approx(real.rewards.sum(1), abs=1e-6)


def test_what_comes_after_an_imagined_trajectory_left_all_bounds_is_not_held_against_the_model() -> None:
    real = made_up([[1, 1, 1, 1]] * 3, [4, 4, 4], [False] * 3)
    imagined = made_up([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]], [2, 2, 4], [False, True, False])
    assert as_long_as(real, imagined).rewards.sum(1).tolist() == [2, 4, 4]


def test_the_lower_bound_is_planned_anew_with_every_penalty(laboratory: Laboratory) -> None:
    own = laboratory.planner_trials(1.0, 10)
    found = lower_bound(laboratory, 10, own)
    assert [row["factor"] for row in found["closed_loop"]] == [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0]
    assert set(found["open_loop"]) == {"10"}
    weights = laboratory.recipe_config.planner.discount ** np.arange(10)
    for row in (found["closed_loop"][0], found["closed_loop"][6]):
        real, imagined = (make(row["factor"], 10) for make in (laboratory.planner_trials, laboratory.imagined_trials))
        promised = (imagined.rewards - row["penalty"] * imagined.uncertainty) @ weights
        slack = real.rewards @ weights - promised
        assert row["share"] == pytest.approx(np.mean(slack >= 0), abs=1e-6)
        assert row["mean_slack"] == pytest.approx(slack.mean(), abs=1e-4)
        assert row["true_return"]["mean"] == pytest.approx(real.rewards.sum(1).mean(), abs=1e-6)


def test_rollouts_become_matrices_that_are_zero_after_an_end(laboratory: Laboratory) -> None:
    data = laboratory.dataset
    lengths = np.diff([*data.episode_starts, len(data)])
    ids = np.repeat(np.arange(1, len(lengths) + 1), lengths).astype(np.int32)
    steps = np.array([0, *lengths])
    rollouts = Rollouts(dataclasses.replace(data, episode_id=ids), steps, np.zeros(len(steps), np.int64))
    found = trials(rollouts, 12)
    assert np.allclose(found.rewards.sum(1), [0.0, *data.episode_sums(data.reward_source)])
    assert not found.rewards[:, 10:].any()
    assert not found.rewards[0].any()


def test_theory_speaks_in_sentences_with_its_figures(store: Store, recipe: DatasetRecipe) -> None:
    theory = diagnose_dataset(recipe, store, STARTS)[0]["theory"]
    calibration, penalty, bound = theory["sentences"]
    assert f"{theory['wasserstein']['means']['holds']['share']:.0%}" in calibration
    assert "returns from pairs of starts" in penalty
    assert "vacuous" in bound
    assert theory["final_bound"]["vacuous"]
    assert {term["label"] for term in theory["final_bound"]["terms"]} == {"bound", "estimate"}


@pytest.mark.parametrize("damage", ["{", '{"format": 1, "sha256": "0"}'])
def test_a_damaged_diagnosis_is_named_and_can_be_made_again(store: Store, recipe: DatasetRecipe, damage: str) -> None:
    path = store.dataset_folder(recipe.id) / FILE
    path.write_text(damage)
    with pytest.raises(InputError, match="is damaged or of other data; `wombet data diagnose SUITE --again`"):
        load_diagnosis(path.parent)
    assert diagnose_dataset(recipe, store, STARTS, again=True)[1]
    assert load_diagnosis(path.parent) is not None


def test_what_cannot_be_diagnosed_is_said(store: Store, recipe: DatasetRecipe) -> None:
    with pytest.raises(InputError, match="starts is 1; it must be at least 2"):
        diagnose_dataset(recipe, store, 1)
    with pytest.raises(InputError, match="holds no finished dataset"):
        diagnose_dataset(cells.recipe(dataset_seed=9), store, STARTS)
    shutil.rmtree(store.dataset_folder(recipe.id) / "model")
    with pytest.raises(InputError, match="has no model/ensemble"):
        diagnose_dataset(recipe, store, STARTS)
    imported = imported_recipe("reacher-0123456789ab", "reacher", cells.HORIZON, recipe.source_fingerprint)
    shutil.copytree(store.dataset_folder(recipe.id), store.dataset_folder(imported.id))
    with pytest.raises(InputError, match="was imported, so there is no model"):
        diagnose_dataset(imported, store, STARTS)


def test_an_artefact_without_source_rows_starts_from_its_accepted_ones(store: Store, recipe: DatasetRecipe) -> None:
    folder = store.dataset_folder(recipe.id)
    card = json.loads((folder / "card.json").read_text())
    del card["source"]
    (folder / "card.json").write_text(json.dumps(card))
    found, _ = diagnose_dataset(recipe, store, STARTS)
    assert found["starts"]["visited_from"] == "of the accepted trajectories"
    assert found["returns"]["newest_rows"] is None
    assert found["summary"]["planner_minus"] == {}


def test_intervals_resample_within_strata() -> None:
    strata = np.repeat([0, 1], [3, 5])
    draws = stratified_draws(strata, np.random.default_rng(0), 50)
    assert (draws[:, :3] < 3).all()
    assert (draws[:, 3:] >= 3).all()
    # Strata that differ and do not vary within have no uncertainty of their mean.
    assert mean_estimate(np.where(strata == 0, 1.0, 9.0), draws) == {"mean": 6.0, "interval": [6.0, 6.0]}


def test_intervals_have_the_width_of_the_normal_law_for_many_trials() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(2.0, 3.0, 400)
    draws = stratified_draws(np.zeros(400), generator)
    low, high = mean_estimate(values, draws)["interval"]
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
    ratios = ratio_draws(values, np.full(400, 2.0), draws)
    assert np.quantile(ratios, 0.975) == pytest.approx(high / 2, abs=1e-6)
