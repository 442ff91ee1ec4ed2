"""The tried settings."""

import dataclasses
import json

import pytest
from small_recipes import small_config

from suites.tasks.registry import families
from wombet.errors import InputError
from wombet.planner import PlannerConfig
from wombet.profiles import NAMES, profile


@pytest.mark.parametrize("family", sorted(families()))
def test_every_family_has_valid_settings_of_every_kind_whose_budget_is_just_enough(family):
    for name in NAMES:
        for collection in ("pure", "guided"):
            for rollouts in ("imagined", "executed"):
                for horizon in (50, 200, 1000):
                    config = profile(family, name, collection, rollouts, horizon)
                    assert config.source_steps == config.required_steps
                    assert config.planner.needs_guide == (collection == "guided")
                    json.dumps(dataclasses.asdict(config), allow_nan=False)


def test_a_pure_recipe_for_reacher_spends_what_its_planner_needs():
    assert profile("reacher", "quick", "pure", "imagined", 50).source_steps == 1300


def test_unknown_names_are_errors_that_name_the_nearest():
    with pytest.raises(InputError, match="no profile 'quik'; did you mean 'quick'"):
        profile("reacher", "quik", "pure", "imagined", 50)
    with pytest.raises(InputError, match="no collection 'guide'; did you mean 'guided'"):
        profile("reacher", "quick", "guide", "imagined", 50)
    with pytest.raises(InputError, match="no rollouts 'image'; did you mean 'imagined'"):
        profile("reacher", "quick", "pure", "image", 50)
    with pytest.raises(InputError, match="horizon is 0"):
        profile("reacher", "quick", "pure", "imagined", 0)


PUBLISHED = [
    # part, setting, value, where from
    ("world_model", "n_members", 7, "MBPO"),
    ("world_model", "n_elites", 5, "MBPO"),
    ("world_model", "hidden_layers", 4, "MBPO"),
    ("world_model", "hidden_width", 200, "MBPO"),
    ("world_model", "batch_size", 256, "MBPO"),
    ("world_model", "learning_rate", 1e-3, "PETS, MBPO"),
    ("world_model", "weight_decay", (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4), "MBPO"),
    ("world_model", "logvar_bounds", (-10.0, 0.5), "PETS"),
    ("world_model", "bound_penalty", 0.01, "PETS"),
    ("world_model", "holdout_fraction", 0.2, "MBPO"),
    ("world_model", "holdout_max", 1000, "MBPO"),
    ("world_model", "patience", 5, "MBPO"),
    ("world_model", "likelihood_beta", 0.0, "PETS, MBPO"),
    ("world_model", "inference_dtype", "float32", "PETS, MBPO"),
    ("planner", "optimiser", "cem", "PETS"),
    ("planner", "horizon", 30, "PETS"),
    ("planner", "population", 500, "PETS"),
    ("planner", "n_elites", 50, "PETS"),
    ("planner", "iterations", 5, "PETS"),
    ("planner", "momentum", 0.1, "PETS"),
    ("planner", "init_std", 0.5, "PETS: a variance of a sixteenth of the squared range"),
    ("planner", "propagation", "tsinf", "PETS"),
    ("planner", "n_particles", 20, "PETS"),
    ("planner", "discount", 1.0, "PETS"),
    ("planner", "replan_interval", 1, "PETS"),
    ("planner", "n_policy_proposals", 0, "PETS"),
    ("planner", "terminal_value", False, "PETS"),
]


@pytest.mark.parametrize(("part", "setting", "value", "source"), PUBLISHED)
def test_full_has_the_settings_of_the_published_parts(part, setting, value, source):
    config = profile("halfcheetah", "full", "pure", "imagined", 1000)
    assert getattr(getattr(config, part), setting) == value, source


@pytest.mark.parametrize(
    ("family", "horizon", "population", "n_elites"), [("pusher", 25, 500, 50), ("reacher", 25, 400, 40)]
)
def test_full_looks_ahead_in_arms_as_far_as_pets_does(family, horizon, population, n_elites):
    planner = profile(family, "full", "pure", "imagined", 100).planner
    assert (planner.horizon, planner.population, planner.n_elites) == (horizon, population, n_elites)


@pytest.mark.parametrize("family", sorted(families()))
def test_full_is_of_the_size_that_the_study_asks_for(family):
    config = profile(family, "full", "guided", "imagined", 1000)
    assert (config.agent.hidden_width, config.agent.batch_size) == (256, 256)
    assert config.world_model == dataclasses.replace(
        profile(family, "full", "pure", "imagined", 1000).world_model, max_steps=20_000, min_steps=10_000
    )


@pytest.mark.parametrize("name", ["quick", "cpu"])
def test_small_sizes_fit_hard_rows_too_and_judge_the_model_off_policy(name):
    config = profile("swimmer", name, "guided", "imagined", 200)
    assert config.world_model.likelihood_beta == 0.5
    assert config.off_policy_steps == 400


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source_steps": 189}, "can take 190 source steps, and source_steps is 189"),
        ({"rollouts": "executed", "source_steps": 285}, "can take 286 source steps"),
        ({"collection": "guided"}, "needs agent_steps"),
        ({"planner": PlannerConfig(terminal_value=True)}, "pure.*has no agent"),
        ({"trajectory_steps": 21}, "longer than the task's episodes of 20"),
        ({"filter_rule": "best"}, "filter_rule is 'best'; it must be one of dual"),
        ({"n_trajectories": 0}, "n_trajectories is 0; it must be at least 1"),
        ({"initial_fraction": 1.5}, "initial_fraction is 1.5"),
        ({"action_noise": float("nan")}, "action_noise is nan"),
    ],
)
def test_settings_out_of_range_are_errors_that_name_the_field(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        small_config(**changes)
