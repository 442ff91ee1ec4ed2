"""Stock Gymnasium MuJoCo tasks as they are, `native/<EnvId>`: for checks against published curves, without transfer."""

import difflib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from suites.tasks.registry import unknown_name
from suites.tasks.task import Task, make_task
from wombet.errors import InputError
from wombet.files import canonical_json, sha256

if TYPE_CHECKING:
    from suites.tasks.native_env import NativeEnv

PREFIX = "native/"
LEVEL = "stock"
_VERSION = "-v5"


@dataclass(frozen=True)
class NativeTask:
    """A stock environment with its own observation, reward, initial states and termination.

    It is its own source task, and nobody knows its reward as a function of rows: nothing can be relabelled.
    Raises InputError for an environment that does not exist, and for a level or a shift.
    """

    family: str
    level: str
    shift: str
    horizon: int

    def __post_init__(self) -> None:
        if self.env_id not in native_ids():
            near = difflib.get_close_matches(self.env_id, native_ids(), n=1, cutoff=0.0)[0]
            raise InputError(
                f"there is no native task {self.family!r}; did you mean {PREFIX + near!r}? "
                f"(there are: {', '.join(PREFIX + name for name in native_ids())})"
            )
        if self.level not in (LEVEL, "source"):
            raise unknown_name(f"level of {self.family}", self.level, [LEVEL])
        if self.shift != "both":
            raise InputError(f"{self.family} has nothing to shift; leave out shift = {self.shift!r}")
        if type(self.horizon) is not int or self.horizon < 1:
            raise InputError(f"the horizon of {self.family} is {self.horizon!r}; it must be a whole number above zero")

    @property
    def id(self) -> str:
        """Name such as `native/HalfCheetah-v5`."""
        return self.family

    @property
    def env_id(self) -> str:
        """Gymnasium's name of the environment."""
        return self.family.removeprefix(PREFIX)

    @property
    def obs_dim(self) -> int:
        """Entries of an observation."""
        return _sizes(self.env_id)[0]

    @property
    def action_dim(self) -> int:
        """Entries of an action, each within [-1, 1]."""
        return _sizes(self.env_id)[1]

    @property
    def n_rates(self) -> int:
        """None: the stock observation is left as it is."""
        return 0

    @property
    def angle_indices(self) -> tuple[int, ...]:
        """None are known."""
        return ()

    def reward(self, obs: Any, action: Any, next_obs: Any) -> NoReturn:
        """Raise InputError: the stock reward depends on what the observation leaves out."""
        self._refuse()

    def terminated(self, next_obs: Any) -> NoReturn:
        """Raise InputError."""
        self._refuse()

    def relabel(self, obs: Any, action: Any, next_obs: Any) -> NoReturn:
        """Raise InputError."""
        self._refuse()

    def make_env(self, render_mode: str | None = None) -> "NativeEnv":
        """Return a new environment of this task."""
        from suites.tasks.native_env import NativeEnv

        return NativeEnv(self, render_mode=render_mode)

    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits that change with the environment and the horizon."""
        return sha256(canonical_json({"native": self.env_id, "horizon": self.horizon}))[:12]

    def _refuse(self) -> NoReturn:
        raise InputError(f"rows of {self.id} cannot be relabelled; take a task family of `wombet list tasks` for that")


AnyTask = Task | NativeTask


def is_native(family: str) -> bool:
    """Whether a family's name is that of a stock task."""
    return family.startswith(PREFIX)


def any_task(family: str, level: str, shift: str = "both", horizon: int | None = None) -> AnyTask:
    """Return a task of a family, or a stock one, with its own horizon by default; raises InputError as they do."""
    if not is_native(family):
        return make_task(family, level, shift, horizon)
    return NativeTask(family, level, shift, _own_horizon(family) if horizon is None else horizon)


@functools.cache
def native_ids() -> tuple[str, ...]:
    """Return Gymnasium's names of the environments that can be native tasks."""
    import gymnasium

    return tuple(
        name
        for name, spec in sorted(gymnasium.registry.items())
        if name.endswith(_VERSION) and str(spec.entry_point).startswith("gymnasium.envs.mujoco")
    )


def _own_horizon(family: str) -> int:
    import gymnasium

    spec = gymnasium.registry.get(family.removeprefix(PREFIX))
    return (spec.max_episode_steps if spec is not None else None) or 1000


@functools.cache
def _sizes(env_id: str) -> tuple[int, int]:
    from suites.tasks.native_env import stock_environment

    stock = stock_environment(env_id)
    sizes = stock.observation_space.shape[0], stock.action_space.shape[0]
    stock.close()
    return sizes
