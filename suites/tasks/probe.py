"""A quick try of a task family of another package before any work: a reset, a step and its labels in every level."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from suites.tasks.registry import family, is_built_in
from suites.tasks.task import Task, make_task
from wombet.errors import InputError

if TYPE_CHECKING:
    from suites.tasks.env import TaskEnv


def check_families(names: Iterable[str]) -> None:
    """Try every family that is not this project's own; raises InputError naming the family and its fault."""
    for name in dict.fromkeys(names):
        if not is_built_in(name):
            check_family(name)


def check_family(name: str) -> None:
    """Try all levels of a family; raises InputError, in one sentence, for the first fault."""
    for level in family(name).levels:
        where = f"task family {name!r}, level {level!r}"
        with _as_fault(f"{where}: it cannot be described"):
            task = make_task(name, level)
            task.fingerprint()
        _check_level(task, where)


def _check_level(task: Task, where: str) -> None:
    definition = task.definition
    with _as_fault(f"{where}: there is no MuJoCo environment of env_id {definition.env_id!r} with its kwargs"):
        env = task.make_env()
    try:
        _check_initial_states(task, env, where)
        with _as_fault(f"{where}: a reset fails"):
            obs, _ = env.reset(seed=0)
        _require(obs.shape == (task.obs_dim,), f"{where}: an observation has {obs.size} entries, not {task.obs_dim}")
        found = env.n_actions
        _require(found == task.action_dim, f"{where}: action_dim is {task.action_dim}; the simulator takes {found}")
        action = np.full(task.action_dim, 0.5, np.float32)
        # Before the step, which pays them: a fault is the function's own, and is named so.
        _check_labels(task, obs, action, where)
        with _as_fault(f"{where}: a step fails"):
            next_obs, reward, *_ = env.step(action)
        _require(bool(np.isfinite([*next_obs, reward]).all()), f"{where}: a step gives numbers that are not finite")
        _check_relabelling(task, obs, action, next_obs, where)
        with _as_fault(f"{where}: sim_state of the observation fails"):
            state, size = task.sim_state_from_obs(obs), env.model.nq + env.model.nv
        _require(state.shape == (size,), f"{where}: sim_state has shape {state.shape}; (qpos, qvel) has ({size},)")
    finally:
        env.close()


def _check_initial_states(task: Task, env: "TaskEnv", where: str) -> None:
    # A negative index would be an entry counted from the end, which nobody means.
    for name, size in (("qpos", env.model.nq), ("qvel", env.model.nv)):
        for index in getattr(task.initial_states, name):
            _require(index in range(size), f"{where}: its initial states name {name}[{index}], and there are {size}")


def _check_labels(task: Task, obs: Any, action: Any, where: str) -> None:
    """Both functions, on two rows, of numpy as the environment and of torch as the planner calls them."""
    import torch

    rows = [np.stack([values, values]).astype(np.float64) for values in (obs, action, obs)]
    for library, batch in (("numpy", rows), ("torch", [torch.as_tensor(values).float() for values in rows])):
        with _as_fault(f"{where}: its reward fails on two rows of {library}"):
            reward = task.reward(*batch)
            _require_shape(reward, f"{where}: its reward of two rows of {library}")
            _require(bool(np.isfinite(np.asarray(reward)).all()), f"{where}: its reward is not a finite number")
        with _as_fault(f"{where}: its terminated fails on two rows of {library}"):
            ends = task.terminated(batch[2])
            _require_shape(ends, f"{where}: its terminated of two rows of {library}")
            kind = np.asarray(ends).dtype
            _require(kind == np.bool_, f"{where}: its terminated gives {kind} with {library}; it must give booleans")


def _check_relabelling(task: Task, obs: Any, action: Any, next_obs: Any, where: str) -> None:
    """Rows of a batch are labelled as each alone, which is how the environment labels its own."""
    rows = ((obs, action, next_obs), (next_obs, -action / 2, obs))
    together, alone = task.relabel(*map(np.stack, zip(*rows, strict=True))), [task.relabel(*row) for row in rows]
    for what, batch, single in zip(("reward", "terminated"), together, zip(*alone, strict=True), strict=True):
        exact = np.array_equal(batch, np.stack(single))
        _require(exact, f"{where}: its {what} of a row depends on the other rows of the batch; reduce over axis -1")


def _require_shape(values: Any, what: str) -> None:
    shape = tuple(np.shape(values))
    _require(shape == (2,), f"{what} has shape {shape}; it must be (2,), one value per row")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InputError(sentence)


@contextmanager
def _as_fault(what: str) -> Iterator[None]:
    """Whatever the family's own code raises is a fault of the family."""
    try:
        yield
    except InputError as error:
        raise error if str(error).startswith("task family") else InputError(f"{what} ({error})") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{what} ({type(error).__name__}: {reason})") from error
