"""Tried settings of generation by task family and size.

"quick" takes minutes on two cores, "cpu" about an hour; "full" has the settings of the published parts, PETS's planner
where no agent guides and MBPO's ensemble, and is for accelerators; "smoke" takes seconds and only shows that the parts
run. Which settings a family needs depends on what its planner needs: a long look ahead
where it plans alone, a short one where a source agent's critic ends the sum.
"""

import difflib
from dataclasses import dataclass, replace
from typing import Any

from wombet.agent import AgentConfig
from wombet.errors import InputError
from wombet.generation_config import GenerationConfig
from wombet.planner_config import PETS_CEM, PlannerConfig
from wombet.world_model_config import WorldModelConfig

SIZES = ("quick", "cpu", "full")
MBPO_DECAY = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
"""Weight decay of the five layers in MBPO and MOPO."""
OFF_POLICY_EPISODES = 2
"""One of uniform and one of coloured random actions: enough rows to rank errors by, and no more of the budget."""
CANDIDATE_ROWS = (20_000, 60_000, 500_000)
"""Rows of guided candidates, however long their trajectories: learners of all families are fed about as many."""
NAMES = (*SIZES, "smoke")


@dataclass(frozen=True)
class _Family:
    """What differs between families.

    agent_steps of the three sizes: until the source agent has learnt something worth transferring. horizon and
    noise_beta are those of the planner alone; trajectory_steps keep rows as accurate as held-out ones.
    """

    agent_steps: tuple[int, int, int]
    horizon: int
    noise_beta: float
    trajectory_steps: int
    guided_horizon: int = 5
    learning_rate: float = 3e-4
    target_entropy_scale: float = 1.0


_FAMILIES = {
    "reacher": _Family((8_000, 10_000, 20_000), 12, 2.0, 25, learning_rate=1e-3),
    "cartpole": _Family((8_000, 10_000, 20_000), 20, 1.0, 50, learning_rate=1e-3),
    "pusher": _Family((20_000, 30_000, 200_000), 15, 2.0, 50),
    "halfcheetah": _Family((25_000, 50_000, 200_000), 15, 1.0, 100),
    "swimmer": _Family((25_000, 50_000, 200_000), 25, 0.5, 25),
    "hopper": _Family((30_000, 100_000, 300_000), 30, 1.0, 25, guided_horizon=3, target_entropy_scale=0.5),
    "walker2d": _Family((30_000, 100_000, 300_000), 16, 1.0, 50, guided_horizon=4, target_entropy_scale=0.5),
    "ant": _Family((50_000, 100_000, 300_000), 15, 0.5, 50, guided_horizon=4, target_entropy_scale=0.5),
    "humanoid": _Family((50_000, 200_000, 500_000), 15, 2.0, 25, guided_horizon=3, target_entropy_scale=0.5),
}
_OTHER = _Family((25_000, 50_000, 200_000), 15, 1.0, 50)
"""For families registered from outside."""


def profile(family: str, name: str, collection: str, rollouts: str, horizon: int) -> GenerationConfig:
    """Return the settings for a family, size, way of collection and of rollouts, with episodes of `horizon` steps.

    Families that are not known here get the settings of a running robot. Raises InputError for an unknown name,
    collection or rollouts, and for a horizon below 1.
    """
    _check("profile", name, NAMES)
    _check("collection", collection, ("pure", "guided"))
    _check("rollouts", rollouts, ("imagined", "executed"))
    if horizon < 1:
        raise InputError(f"the horizon is {horizon}; it must be at least 1")
    if name == "smoke":
        return _smoke(profile(family, "quick", collection, rollouts, horizon))
    settings, size = _FAMILIES.get(family, _OTHER), SIZES.index(name)
    steps = min(settings.trajectory_steps, horizon)
    counts = _guided_counts(size, horizon, steps) if collection == "guided" else _pure_counts(family, size, horizon)
    parts: dict[str, Any] = {
        "max_episode_steps": horizon,
        "off_policy_steps": OFF_POLICY_EPISODES * horizon,
        "collection": collection,
        "rollouts": rollouts,
        "trajectory_steps": steps,
        "calibration_steps": min(50, settings.trajectory_steps, horizon),
        "agent_steps": settings.agent_steps[size] if collection == "guided" else 0,
        "world_model": _world_model(family, size, counts.pop("fit_steps")),
        "planner": _guided_planner(settings, size) if collection == "guided" else _pure_planner(family, settings, size),
        "agent": _agent(settings, size),
        **counts,
    }
    return GenerationConfig(source_steps=_steps_of(parts), **parts)


def _steps_of(parts: dict[str, Any]) -> int:
    return GenerationConfig(source_steps=2**62, **parts).required_steps


def _pure_counts(family: str, size: int, horizon: int) -> dict[str, int]:
    if family == "reacher":
        # Planning on 300 steps already reaches nine tenths of the best return (45 of 50).
        episodes, rounds = (5, 8, 20)[size], (2, 3, 5)[size]
        return {
            "random_steps": 6 * horizon,
            "planned_episodes": episodes,
            "refits": rounds,
            "n_trajectories": (280, 800, 4000)[size],
            "calibration_trajectories": (16, 20, 40)[size],
            "fit_steps": (1000, 2000, 5000)[size],
        }
    return {
        "random_steps": (10, 20, 50)[size] * horizon,
        "planned_episodes": 8,
        "refits": (3, 4, 10)[size],
        "n_trajectories": (120, 600, 5000)[size],
        "fit_steps": (1500, 2500, 5000)[size],
    }


def _guided_counts(size: int, horizon: int, trajectory_steps: int) -> dict[str, int]:
    return {
        "random_steps": max(1, round((2000, 5000, 10_000)[size] / horizon)) * horizon,
        "planned_episodes": 8,
        "refits": (1, 2, 3)[size],
        "n_trajectories": CANDIDATE_ROWS[size] // trajectory_steps,
        "fit_steps": (5000, 7500, 20_000)[size],
    }


def _world_model(family: str, size: int, fit_steps: int) -> WorldModelConfig:
    if size == 2:
        return WorldModelConfig(max_steps=fit_steps, min_steps=fit_steps // 2, weight_decay=MBPO_DECAY)
    # A two-joint arm needs no third layer, and a third less of the planner's time counts where all must take seconds.
    layers = 2 if (family, size) == ("reacher", 0) else 3
    return WorldModelConfig(
        n_members=5,
        n_elites=5,
        hidden_width=128,
        hidden_layers=layers,
        max_steps=fit_steps,
        min_steps=fit_steps,
        likelihood_beta=0.5,
    )


def _pure_planner(family: str, settings: _Family, size: int) -> PlannerConfig:
    reacher = family == "reacher"
    if size == 2:
        planner = replace(PETS_CEM, horizon=25 if family in ("reacher", "pusher") else PETS_CEM.horizon)
        return replace(planner, population=400, n_elites=40) if reacher else planner
    return PlannerConfig(
        horizon=settings.horizon,
        population=((32, 100) if reacher else (64, 64))[size],
        iterations=(3, 4)[size] if reacher else 3,
        noise_beta=settings.noise_beta,
        replan_interval=(2, 1)[size],
    )


def _guided_planner(settings: _Family, size: int) -> PlannerConfig:
    return PlannerConfig(
        horizon=settings.guided_horizon,
        population=(24, 24, 64)[size],
        iterations=(2, 2, 3)[size],
        n_elites=6,
        noise_beta=settings.noise_beta,
        init_std=0.3,
        replan_interval=2 if settings.trajectory_steps >= 50 else 1,
        n_policy_proposals=(8, 8, 16)[size],
        terminal_value=True,
    )


def _agent(settings: _Family, size: int) -> AgentConfig:
    width, batch = ((128, 128), (128, 128), (256, 256))[size]
    return AgentConfig(
        hidden_width=width,
        batch_size=batch,
        n_critics=2,
        layer_norm=True,
        actor_lr=settings.learning_rate,
        critic_lr=settings.learning_rate,
        temperature_lr=1e-3,
        target_entropy_scale=settings.target_entropy_scale,
        actor_aggregate="min",
        mixing="online_only",
        random_steps=1000,
        target_penalty=0.0,
        replay_capacity=settings.agent_steps[size],
    )


def _smoke(config: GenerationConfig) -> GenerationConfig:
    """The same recipe at a size at which no model can be good: the gate lets it pass and the filter keeps a half."""
    steps = min(10, config.max_episode_steps)
    small = replace(
        config,
        random_steps=4 * config.max_episode_steps,
        agent_steps=2 * config.max_episode_steps if config.guided else 0,
        refits=1,
        planned_episodes=1,
        n_trajectories=24,
        trajectory_steps=steps,
        calibration_trajectories=4,
        calibration_steps=steps,
        gate_tolerance=1000.0,
        selection="matched",
        matched_fraction=0.5,
        world_model=replace(config.world_model, hidden_width=32, hidden_layers=2, max_steps=100, min_steps=100),
        planner=replace(config.planner, horizon=4, population=16, iterations=2, n_elites=4),
        agent=replace(config.agent, hidden_width=32, batch_size=32, random_steps=min(50, config.max_episode_steps)),
    )
    return replace(small, source_steps=small.required_steps)


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        close = difflib.get_close_matches(value, known, n=1, cutoff=0.0)[0]
        raise InputError(f"there is no {what} {value!r}; did you mean {close!r}? (there are: {', '.join(known)})")
