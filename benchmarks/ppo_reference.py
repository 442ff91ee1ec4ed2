"""PPO of a store against the library's own training: the same settings, seeds, steps and number of episodes.

python -m benchmarks.ppo_reference [--store FOLDER] [--environment ID] [--steps N] [--seeds N] [--episodes N] [--json]

The library trains on the stock environment with its own loop, wrappers and seeding, and evaluates with its own
function; it rounds the steps up to whole rollouts. Exit code 1 if the means are further apart than twice the standard
error of their difference.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from baselines.config import config_dict
from baselines.quiet import silence_gym
from baselines.sb3_ppo import PPOConfig, make_ppo, normalised
from suites.store import Store
from wombet.errors import InputError
from wombet.process import prepare_process


def library_return(environment: str, steps: int, seed: int, episodes: int) -> float:
    """Train the library's PPO by its own `learn`, and return its mean deterministic return afterwards."""
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    env = normalised(gym.make(environment), PPOConfig().discount)
    model = make_ppo(PPOConfig(), env, "cpu", seed)
    model.learn(steps)
    fresh = normalised(Monitor(gym.make(environment)), PPOConfig().discount)
    fresh.obs_rms, fresh.training, fresh.norm_reward = env.obs_rms, False, False
    fresh.seed(10_000 + seed)
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=episodes, deterministic=True)
    assert isinstance(mean, float)
    return float(mean)


def stored_returns(store: Path, environment: str, steps: int, seeds: int) -> list[float]:
    """Return the final means of the store's PPO runs with default settings; raises InputError if one is missing."""
    opened = Store(store)
    opened.require()
    found: dict[int, float] = {}
    for run in opened.scan():
        spec = run.spec
        if run.done is None or spec is None or spec["method"] != "ppo" or spec["config"] != config_dict(PPOConfig()):
            continue
        if spec["pair"]["family"] == f"native/{environment}" and spec["budgets"]["target_steps"] == steps:
            found[spec["seed"]] = run.done["summary"]["final_mean_return"]
    missing = sorted(set(range(seeds)) - set(found))
    if missing:
        raise InputError(
            f"the store {store} has no finished run of ppo on native/{environment} with {steps} steps and seed "
            f"{missing[0]}; `wombet run native-check --methods ppo --store {store}` makes them"
        )
    return [found[seed] for seed in range(seeds)]


def compare(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return both means, their difference, and twice the standard error that the seeds' spread gives it."""
    error = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
    difference = statistics.mean(ours) - statistics.mean(theirs)
    return {
        "ours": [round(value, 1) for value in ours],
        "library": [round(value, 1) for value in theirs],
        "ours_mean": statistics.mean(ours),
        "library_mean": statistics.mean(theirs),
        "difference": difference,
        "twice_standard_error": 2 * error,
        "agrees": abs(difference) <= 2 * error,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print what was found: 0 the means agree, 1 they do not, 2 the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ppo_reference", description=main.__doc__)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--environment", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if min(options.seeds - 1, options.steps, options.episodes) < 1:
            raise InputError("--steps and --episodes must be at least 1, and --seeds at least 2")
        ours = stored_returns(options.store, options.environment, options.steps, options.seeds)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    silence_gym()
    prepare_process(1)
    seeds = range(options.seeds)
    theirs = [library_return(options.environment, options.steps, seed, options.episodes) for seed in seeds]
    found = compare(ours, theirs)
    if options.json:
        print(json.dumps({"environment": options.environment, "steps": options.steps, **found}, indent=2))
    else:
        print(
            f"PPO on {options.environment}, {options.steps} steps: ours {found['ours_mean']:.0f} {found['ours']}, "
            f"library {found['library_mean']:.0f} {found['library']}; difference {found['difference']:.0f}, twice its "
            f"standard error {found['twice_standard_error']:.0f}: {'agrees' if found['agrees'] else 'DOES NOT AGREE'}"
        )
    return 0 if found["agrees"] else 1


if __name__ == "__main__":
    sys.exit(main())
