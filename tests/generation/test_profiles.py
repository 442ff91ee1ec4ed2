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
    assert profile("reacher", "quick", "pure", "imagined", 50).source_steps == 1200


def test_unknown_names_are_errors_that_name_the_nearest():
    with pytest.raises(InputError, match="no profile 'quik'; did you mean 'quick'"):
        profile("reacher", "quik", "pure", "imagined", 50)
    with pytest.raises(InputError, match="no collection 'guide'; did you mean 'guided'"):
        profile("reacher", "quick", "guide", "imagined", 50)
    with pytest.raises(InputError, match="no rollouts 'image'; did you mean 'imagined'"):
        profile("reacher", "quick", "pure", "image", 50)
    with pytest.raises(InputError, match="horizon is 0"):
        profile("reacher", "quick", "pure", "imagined", 0)


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
