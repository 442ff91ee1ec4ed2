"""How much work the stages of a recipe are, so that progress can be told in one unit from the first step to the last.

The unit is a millisecond of one core as of 2024, estimated from counts of multiply-adds: good to a factor of about two,
which is enough for a bar that does not stop. Nothing of a result depends on it.
"""

import itertools

from wombet.ensemble_training import STEPS_PER_TICK
from wombet.generation_config import GenerationConfig
from wombet.task import Task

MULTIPLY_ADDS = 20e6
"""Per unit, in the small matrix products of which all of this consists."""
SMALL_STEPS = 2
"""How much longer the agent's many small operations take than their products alone."""
REAL_STEP = 0.1
"""Units of a step of the simulator."""


def agent_step(config: GenerationConfig, task: Task) -> float:
    """Units of a step of the source agent with its updates: forward, backward, targets, and the actor's step."""
    agent = config.agent
    n_weights = _weights([task.obs_dim + task.action_dim, agent.hidden_width, agent.hidden_width, 1])
    passes = agent.utd * 4 * agent.n_critics + 3 * agent.n_critics + 4
    return REAL_STEP + SMALL_STEPS * passes * agent.batch_size * n_weights / MULTIPLY_ADDS


def fit_ticks(config: GenerationConfig) -> int:
    """Ticks of a fit of the model that uses all its steps: one to begin, and one per STEPS_PER_TICK."""
    return 1 + config.world_model.max_steps // STEPS_PER_TICK


def fit_tick(config: GenerationConfig, task: Task) -> float:
    """Units of a tick of such a fit."""
    model = config.world_model
    rows = 3 * model.max_steps * model.n_members * model.batch_size
    return rows * _model_weights(config, task, 2) / MULTIPLY_ADDS / fit_ticks(config)


def planned_step(config: GenerationConfig, task: Task, n: int) -> float:
    """Units of one step of n trajectories under the planner."""
    planner = config.planner
    sequences = sum(planner.population_at(i) for i in range(planner.iterations)) + planner.n_policy_proposals
    members = config.world_model.n_elites if planner.propagation == "mean" else planner.n_particles
    rows = n * sequences * planner.horizon * members / planner.replan_interval
    return n * REAL_STEP + rows * _model_weights(config, task, 1) / MULTIPLY_ADDS


def policy_step(config: GenerationConfig, task: Task, n: int) -> float:
    """Units of one step of n trajectories under a policy in the model."""
    return n * config.world_model.n_elites * _model_weights(config, task, 1) / MULTIPLY_ADDS


def _model_weights(config: GenerationConfig, task: Task, outputs: int) -> float:
    model = config.world_model
    hidden = [model.hidden_width] * model.hidden_layers
    return _weights([task.obs_dim + task.action_dim, *hidden, outputs * task.obs_dim])


def _weights(sizes: list[int]) -> float:
    return float(sum(a * b for a, b in itertools.pairwise(sizes)))
