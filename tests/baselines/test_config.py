"""Configs from plain values: typed, checked, and refused with one sentence."""

import pytest

from baselines.actor_critic import RLPDConfig, SACConfig, WOMBETConfig
from baselines.config import config_dict, make_config
from wombet.errors import InputError


def test_a_config_is_its_defaults_with_the_given_fields_in_front() -> None:
    config = make_config(RLPDConfig, {"utd": 4, "actor_lr": 1}, "here")
    assert (config.utd, config.actor_lr, config.n_critics) == (4, 1.0, 10)


def test_all_fields_come_back_as_plain_values() -> None:
    values = config_dict(WOMBETConfig(utd=2))
    assert values["utd"] == 2
    assert make_config(WOMBETConfig, values, "here") == WOMBETConfig(utd=2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"actor_rl": 0.1}, "here: there is no field 'actor_rl'; did you mean 'actor_lr'"),
        ({"utd": "four"}, "here: utd is 'four'"),
        ({"utd": 1.5}, "here: utd is 1.5"),
        ({"utd": True}, "here: utd is True"),
        ({"layer_norm": 1}, "here: layer_norm is 1"),
        ({"actor_aggregate": "max"}, "here: actor_aggregate is 'max'"),
        ({"target_subset": 5}, "here: .*target_subset is 5; it must be at most n_critics"),
        ({"actor_lr": -1.0}, "here: .*actor_lr is -1.0"),
        ({"utd": {1, 2}}, "here: utd is {1, 2}, which a config cannot hold"),
        ({"actor_lr": float("inf")}, "here: actor_lr is inf, which a config cannot hold; give a finite number"),
        ({"actor_lr": {"of": float("nan")}}, "here: actor_lr.of is nan, which a config cannot hold"),
        ({"UTD": 4}, "here: there is no field 'UTD'; did you mean 'utd'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(values: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        make_config(SACConfig, values, "here")
    assert "\n" not in str(caught.value)
