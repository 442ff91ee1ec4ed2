"""The adapter contract: what a method is, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wombet.dataset import TransferDataset
from wombet.streams import Streams
from wombet.task import Task

if TYPE_CHECKING:
    from wombet.generation_config import GenerationConfig
    from wombet.interaction import MeteredEnv

Array = NDArray[np.float32]
Metrics = Mapping[str, float]
Left = Literal["model", "agent", "networks"]
"""What the making of a dataset leaves behind: the fitted model always, and an agent if one guided the collection.

"networks" are the agent's own, to go on from; then the settings have the agent's sizes.
"""


class Phase(Enum):
    """A part of a run: learning in the source task, from the dataset alone, or in the target task."""

    SOURCE = "source"
    OFFLINE = "offline"
    ONLINE = "online"


@dataclass(frozen=True)
class Capabilities:
    """What a method does, asked by the harness before a run.

    phases: those it trains in, in order (none: the policy is fixed). needs_dataset: whether it is given the generated
    data. kind: the group in tables. source: "ours", or the paper and library it comes from. deviations: what differs
    from that source. tuned: which settings were chosen by looking at results, and on what. version: raised when the
    method's results change. resumable: whether `state` is complete. source_steps_online: whether it goes back to the
    source task during the online phase, which opens both environments. needs_sources: whether it is given the datasets
    of several named source tasks, in place of `dataset`.
    """

    phases: tuple[Phase, ...]
    needs_dataset: bool
    kind: str
    source: str
    deviations: tuple[str, ...] = ()
    tuned: str = "nothing"
    version: int = 1
    resumable: bool = True
    source_steps_online: bool = False
    needs_sources: bool = False


@dataclass(frozen=True)
class Budgets:
    """Steps a run may take in the source and in the target task; updates it may make on the dataset alone."""

    target_steps: int
    offline_updates: int = 0
    source_steps: int = 0


@dataclass(frozen=True, eq=False)
class SourceKnowledge:
    """What the making of a dataset left behind: its settings, the fitted model, and the agent that guided it, if any.

    States are trees of `WorldModel.state()` and `TransferAgent.state()`; `penalty` is the planner's calibrated lambda;
    `source` holds all real rows that were collected, with simulator states.
    """

    config: "GenerationConfig"
    model_state: Any
    agent_state: Any | None
    penalty: float
    source: TransferDataset


@dataclass(frozen=True, eq=False)
class NamedSource:
    """One of several source tasks: its name, the task, and its dataset, labelled with the task's own rewards."""

    name: str
    task: Task
    dataset: TransferDataset


@dataclass
class Problem:
    """One transfer problem: two tasks, the data that all methods share, metered environments, and budgets.

    The environments refuse a step beyond their budget, and outside the phase they belong to. `knowledge` reads what
    the dataset's making left behind; it is None without a dataset, and with one that came from elsewhere.
    `open_source(name)` opens another source environment, charged to the meter of `source_env`, whose resets are seeded
    by the name; whoever opens it closes it. `sources` are for methods that learn from several source tasks.
    """

    source: Task
    target: Task
    dataset: TransferDataset | None
    budgets: Budgets
    source_env: "MeteredEnv"
    target_env: "MeteredEnv"
    knowledge: Callable[[], SourceKnowledge] | None = None
    open_source: "Callable[[str], MeteredEnv] | None" = None
    sources: tuple[NamedSource, ...] = ()


class Tick(Protocol):
    """Called by a method after every unit of progress; in it the harness may evaluate, save, or stop the run."""

    def __call__(self, *, updates: int, metrics: Callable[[], Metrics] | None = None) -> None:
        """Report the gradient updates made so far, and how to compute metrics should they be wanted now."""


class Adapter(Protocol):
    """A method behind the contract.

    An adapter is built for one run. `train` goes on from wherever the adapter stands to the end of a phase and calls
    `tick` after every unit of progress, with its state whole, so that a run can be stopped in any tick and continued
    from `state()` in another process with the same bytes.
    """

    Config: ClassVar[type]
    capabilities: ClassVar[Capabilities]

    def __init__(self, problem: Problem, config: Any, streams: Streams, device: str) -> None: ...

    def train(self, phase: Phase, tick: Tick) -> None:
        """Learn until the phase's budget is spent."""

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return evaluation actions (n, action_dim) in [-1, 1] for obs (n, obs_dim), leaving all training state alone.

        The generator is the evaluator's, for methods whose acting rule is stochastic.
        """

    def state(self) -> Any:
        """Return everything that decides the future, as a tree for `wombet.serialization`."""

    def restore(self, state: Any) -> None:
        """Take up a state in an adapter that was just built for the same run."""


@runtime_checkable
class EstimatesReturn(Protocol):
    """What an adapter may offer beside the contract: its critics' own estimate, to be held against what is observed."""

    @property
    def discount(self) -> float:
        """The discount of the estimated return."""

    def estimate_return(self, obs: Array, action: Array) -> Array:
        """Return the critics' mean estimate (n,) of the discounted return after an action in an observation.

        obs is (n, obs_dim) and action (n, action_dim). Like `act` it leaves all training state alone.
        """


@runtime_checkable
class SavesPolicy(Protocol):
    """What an adapter may offer beside the contract: the part of its state that `act` needs, without buffers.

    That part is kept with a finished run. Of an adapter without it the whole state is kept, however large.
    """

    def policy_state(self) -> Any:
        """Return what decides the evaluation actions, as a tree for `wombet.serialization`."""

    def restore_policy(self, state: Any) -> None:
        """Take up a `policy_state` in an adapter that was just built for the same run, so that it acts as it did."""


@runtime_checkable
class AsksOfSource(Protocol):
    """What an adapter class may offer beside the contract, so that data which cannot serve it are refused at once."""

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return what it needs, with all of its Config's fields as given, of what its dataset's making left behind."""
