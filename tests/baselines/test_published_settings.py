"""The defaults of every method are its published settings, written out; pocket sizes belong to the suites."""

import dataclasses
from typing import Any

import pytest

from baselines.registry import method

ADAM: dict[str, Any] = {"actor_lr": 3e-4, "critic_lr": 3e-4, "discount": 0.99, "tau": 0.005, "batch_size": 256}
CQL = ADAM | {"actor_lr": 1e-4, "temperature_lr": 1e-4, "conservative_weight": 5.0, "n_action_samples": 10}
TWO_CRITICS = {"n_critics": 2, "target_subset": 2, "layer_norm": False, "actor_aggregate": "min", "utd": 1}
TEN_CRITICS = {"n_critics": 10, "target_subset": 2, "layer_norm": True}
MODEL = {"rollout_length": 5, "rollout_starts": 50_000, "rollout_interval": 1000, "retained_rounds": 5}
MODEL |= {"model_members": 7, "model_elites": 5, "model_width": 200, "model_layers": 4, "dynamics": "dataset"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "sac": ADAM | TWO_CRITICS | {"temperature_lr": 3e-4, "target_entropy_scale": 1.0, "backup_entropy": True},
    "rlpd": ADAM
    | TEN_CRITICS
    | {
        "utd": 20,
        "actor_aggregate": "mean",
        "target_entropy_scale": 0.5,
        "offline_fraction": 0.5,
        "random_steps": 5000,
    },
    "td3": {"learning_rate": 1e-3, "exploration_noise": 0.1, "policy_delay": 2, "target_noise": 0.2, "tau": 0.005}
    | {"target_noise_clip": 0.5, "random_steps": 10_000, "batch_size": 256, "discount": 0.99},
    "ppo": {"hidden_width": 64, "rollout_steps": 2048, "epochs": 10, "minibatch_size": 64, "learning_rate": 3e-4}
    | {"discount": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "entropy_weight": 0.0, "value_weight": 0.5}
    | {"max_gradient_norm": 0.5},
    "iql": ADAM | {"expectile": 0.7, "inverse_temperature": 3.0, "largest_weight": 100.0, "actor_decay": True},
    "cql": CQL,
    "td3+bc": ADAM | {"alpha": 2.5, "policy_noise": 0.2, "noise_clip": 0.5, "actor_interval": 2},
    "awac": ADAM | {"batch_size": 1024, "advantage_scale": 1.0},
    "bc-best-decile": {"best_fraction": 0.1},
    "mopo": ADAM | MODEL | {"real_fraction": 0.05, "temperature_lr": 3e-4},
    "combo": CQL | MODEL | {"real_fraction": 0.5, "hidden_layers": 3, "penalised_states": "mix", "actor_decay": True},
    "hy-q": ADAM
    | TWO_CRITICS
    | {"offline_fraction": 0.5, "mixing": "fixed", "mixing_maximum": 0.2, "mixing_minimum": 0.01},
    "cql-sac": CQL | TWO_CRITICS | {"max_target_backup": False},
    "wsrl": CQL
    | TEN_CRITICS
    | {"utd": 4, "actor_aggregate": "min", "target_entropy_scale": 1.0, "actor_layer_norm": True}
    | {"backup_entropy": False, "max_target_backup": True, "warmup_steps": 5000},
    "off2on": CQL
    | TWO_CRITICS
    | {"actor_lr": 3e-4, "temperature_lr": 3e-4, "n_members": 5, "online_share": 0.5, "warmup_steps": 1000}
    | {"first_burst": 10, "ratio_temperature": 5.0, "ratio_lr": 3e-4, "replay_capacity": 250_000},
    "pex": ADAM | {"choice_inverse_temperature": 10.0, "evaluation_sampling": 0.1, "offline_fraction": 0.5},
    "cal-ql": CQL | {"max_backup": True, "offline_fraction": 0.5},
    "mtop-state": {"weight_floor": 0.1, "distillation": 1.0, "model_lr": 3e-4, "offline_fraction": 0.0, "replay": True},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_are_the_defaults_of(name: str) -> None:
    settings = dataclasses.asdict(method(name).Config())  # type: ignore[call-overload]
    assert {field: settings[field] for field in PUBLISHED[name]} == PUBLISHED[name]
