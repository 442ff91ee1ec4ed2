"""A candidate pool of mixed quality: some trajectories are planned with what was known early."""

import numpy as np
import pytest
from small_recipes import builder, guided_config, small_config

from wombet.errors import InputError
from wombet.generation_tools import early_candidates
from wombet.rollouts import imagined, merged, model_uncertainty


def silent(**_: object) -> None:
    """A tick that nobody watches."""


def test_each_start_type_gives_its_share():
    kinds = np.repeat([0, 1], [6, 4])
    assert np.flatnonzero(early_candidates(kinds, 0.5)).tolist() == [0, 1, 2, 6, 7]
    assert not early_candidates(kinds, 0.0).any()
    assert early_candidates(kinds, 1.0).all()


@pytest.mark.parametrize("rollouts", ["imagined", "executed"])
def test_the_card_says_of_every_candidate_who_planned_it(rollouts: str):
    card = builder(small_config(rollouts, early_fraction=0.5)).run(silent).card
    early, kinds = np.array(card["trajectories"]["early"]), np.array(card["trajectories"]["start_type"])
    assert early.tolist() == early_candidates(kinds, 0.5).astype(int).tolist()
    accepted = np.array(card["trajectories"]["accepted"])
    assert card["counts"]["early"] == {"candidates": 6, "accepted": int((accepted * early).sum())}
    means = np.array(card["trajectories"]["return_per_step"])
    assert card["early"]["return_per_step"] == pytest.approx(means[early == 1].mean(), abs=1e-5)
    assert [report["stage"] for report in card["model_reports"]] == ["early fit", "fit 0", "final fit"]


def test_the_early_model_has_seen_random_rows_alone_and_the_late_candidates_begin_alike():
    mixed, plain = builder(small_config(early_fraction=0.5)), builder(small_config())
    reports = [found.run(silent).card["model_reports"] for found in (mixed, plain)]
    early = reports[0][0]
    assert early["n_train"] + early["n_holdout"] == 100
    assert reports[0][1:] == reports[1]
    pools = [found.state()["products"]["starts"]["candidates"] for found in (mixed, plain)]
    assert np.array_equal(pools[0]["obs"], pools[1]["obs"])


def test_the_early_agent_is_the_one_after_its_share_of_steps():
    built = builder(guided_config(early_fraction=0.5, early_agent_share=0.5))
    generated = built.run(silent)
    early = built.state()["products"]["early"]["agent"]
    assert early["steps"] == 75
    assert generated.agent_state["steps"] == 150
    assert not np.array_equal(early["learner"]["actor"], generated.agent_state["learner"]["actor"])
    report = generated.card["model_reports"][0]
    assert report["n_train"] + report["n_holdout"] == 100 + 75


def test_what_the_main_path_learns_does_not_depend_on_the_early_one():
    states = [builder(guided_config(early_fraction=share)).run(silent) for share in (0.0, 0.5)]
    actors = [found.agent_state["learner"]["actor"] for found in states]
    assert np.array_equal(*actors)
    assert np.array_equal(states[0].source.obs, states[1].source.obs)


@pytest.mark.parametrize("rollouts", ["imagined", "executed"])
def test_one_model_judges_the_whole_pool(rollouts):
    built = builder(small_config(rollouts, early_fraction=0.5))
    built.run(silent)
    products, tools = built.state()["products"], built._tools
    columns = products["candidates"]["columns"]
    final, early = (tools.model(state) for state in (products["model"], products["early"]["model"]))
    scored = model_uncertainty(final, columns["obs"], columns["action"])
    assert np.allclose(scored, columns["uncertainty"], atol=1e-5)
    of_early = early_candidates(products["candidates"]["start_type"], 0.5)[columns["episode_id"]]
    other = model_uncertainty(early, columns["obs"][of_early], columns["action"][of_early])
    assert not np.allclose(other, columns["uncertainty"][of_early], atol=1e-5)


def test_two_sets_of_rollouts_are_merged_in_the_order_of_their_starts(reacher):
    def roll(n: int, steps: int):
        generator = np.random.default_rng(n)
        starts = reacher.starts(n, 0.1)
        return imagined(reacher.model, reacher.task, reacher.planner(), starts, steps, np.inf, generator, lambda: None)

    first, second = roll(3, 4), roll(2, 2)
    both = merged(first, second, np.array([False, True, False, True, False]))
    assert both.steps.tolist() == [4, 2, 4, 2, 4]
    assert both.start_type.tolist() == [0, 0, 1, 1, 0]
    for place, (rollouts, i) in enumerate([(first, 0), (second, 0), (first, 1), (second, 1), (first, 2)]):
        rows = both.data.obs[both.data.episode_id == place]
        assert np.array_equal(rows, rollouts.data.obs[rollouts.data.episode_id == i])
    both.data.validate(reacher.task)


def test_a_share_beyond_one_is_refused():
    with pytest.raises(InputError, match="early_fraction is"):
        small_config(early_fraction=1.5)
    with pytest.raises(InputError, match="early_agent_share is -1"):
        small_config(early_agent_share=-1)
