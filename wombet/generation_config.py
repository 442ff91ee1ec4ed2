"""The settings of a generated dataset: everything of its recipe but the task and the seed."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from wombet.agent import AgentConfig
from wombet.errors import InputError
from wombet.filtering import Rule, Selection
from wombet.planner_config import PlannerConfig
from wombet.world_model_config import WorldModelConfig

Collection = Literal["pure", "guided"]
Rollouts = Literal["imagined", "executed"]


@dataclass(frozen=True)
class GenerationConfig:
    """How source data are collected, trajectories generated, and some of them kept.

    Raises InputError for a value outside its range, and where the parts need more source steps than `source_steps`.
    Lengths are in environment steps; `max_episode_steps` is the source task's horizon.
    """

    max_episode_steps: int  # horizon of the source task: what an episode of collection may cost
    source_steps: int  # budget of real source steps for everything below; it is never overrun
    collection: Collection = "guided"  # a source agent collects and guides the planner; "pure": the planner alone
    rollouts: Rollouts = "imagined"  # in the model (nearest to the paper's text), or "executed" in the source simulator
    random_steps: int = 2000  # uniform and coloured random actions first: the model must know bad states too
    off_policy_steps: int = 0  # random steps never trained on: every fit is judged on them, where planning never goes
    agent_steps: int = 0  # "guided": steps of the source agent; most of the budget, since its skill bounds the data's
    refits: int = 1  # rounds of planned episodes, each followed by a refit on everything seen so far
    planned_episodes: int = 8  # episodes per round, in lock-step: the model has to see what planning with it leads to
    n_trajectories: int = 240  # candidates; about half are accepted
    trajectory_steps: int = 50  # longer ones leave the region in which the model is as good as on held-out rows
    initial_fraction: float = 0.5  # share of starts drawn from the task's initial states; the rest are visited states
    action_noise: float = 0.3  # trajectories add N(0, s) to actions, s uniform up to this: coverage, mixed quality
    early_fraction: float = 0.0  # share of candidates planned with an early model and agent: filters need a mixed pool
    early_agent_share: float = 0.4  # "guided": of the agent's steps, those seen by then; it moves, and not yet well
    n_parallel: int = 24  # real environments in lock-step: enough to amortise a planning step
    calibration_trajectories: int = 20  # real closed-loop ones, unseen by the model: thresholds and gate rest on them
    calibration_steps: int = 50  # their length: weak models need some tens of steps to drift off the data
    gate_tolerance: float = 0.15  # largest gap of imagined and real reward per step; good models .05, useless ones .4
    filter_rule: Rule = "dual"  # high return and low uncertainty (equation (6)); the others are its ablations
    selection: Selection = "threshold"  # "matched" keeps the same number under every rule
    matched_fraction: float = 0.3  # share of the candidates that "matched" keeps
    uncertainty_factor: float = 1.5  # threshold on mean u, times the mean u of real rows under the planner
    hard_stop_factor: float = 2.0  # an imagined trajectory ends where u exceeds this times those rows' 99 % quantile
    min_return_steps: int = 50  # what ends sooner than this (or than trajectory_steps) is not of high return
    minimum_acceptance: float = 0.05  # below it generation has failed, and thresholds are not lowered to hide it
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)  # "guided" only

    def __post_init__(self) -> None:
        for name, kind in (("collection", Collection), ("rollouts", Rollouts), ("filter_rule", Rule)):
            self._one_of(name, get_args(kind))
        self._one_of("selection", get_args(Selection))
        positive = ("max_episode_steps", "random_steps", "n_trajectories", "trajectory_steps", "n_parallel")
        for name in (*positive, "calibration_trajectories", "calibration_steps", "min_return_steps"):
            self._at_least(name, 1)
        for name in ("off_policy_steps", "agent_steps", "refits", "planned_episodes"):
            self._at_least(name, 0)
        for name in ("initial_fraction", "minimum_acceptance", "matched_fraction", "early_fraction"):
            self._number(name, 0, 1)
        for name in ("action_noise", "gate_tolerance", "uncertainty_factor", "hard_stop_factor"):
            self._number(name, 0, math.inf)
        self._number("early_agent_share", 0, 1)
        self._check_budget()

    @property
    def guided(self) -> bool:
        """Whether a source agent collects data."""
        return self.collection == "guided"

    @property
    def calibrated_steps(self) -> int:
        """Length of the calibration's trajectories: never beyond that of the generated ones."""
        return min(self.calibration_steps, self.trajectory_steps)

    @property
    def required_steps(self) -> int:
        """The most real source steps that the parts can take together."""
        planned = self.refits * self.planned_episodes * self.max_episode_steps
        collected = self.random_steps + self.off_policy_steps + (self.agent_steps if self.guided else 0)
        return collected + planned + self.iteration_steps

    @property
    def iteration_steps(self) -> int:
        """The most real source steps of one further iteration: calibration, and trajectories that are executed."""
        calibration = self.calibration_trajectories * self.calibrated_steps
        return calibration + (self.n_trajectories * self.trajectory_steps if self.rollouts == "executed" else 0)

    @property
    def early_agent_steps(self) -> int:
        """Steps of the source agent at which its early self is kept."""
        return max(1, round(self.early_agent_share * self.agent_steps))

    def _check_budget(self) -> None:
        if self.guided and self.agent_steps < 1:
            raise InputError('collection "guided" needs agent_steps of at least 1; or choose collection "pure"')
        if self.guided and self.agent.replay_capacity < self.agent_steps:
            raise InputError(
                f"the source agent takes {self.agent_steps} agent_steps and its replay_capacity is "
                f"{self.agent.replay_capacity}, so that it would forget its first rows; raise agent.replay_capacity too"
            )
        if not self.guided and (self.planner.terminal_value or self.planner.n_policy_proposals):
            raise InputError(
                'collection "pure" has no agent, so the planner can have neither terminal_value nor n_policy_proposals'
            )
        longest = max(self.trajectory_steps, self.calibration_steps)
        if longest > self.max_episode_steps:
            raise InputError(
                f"trajectories of {longest} steps are longer than the task's episodes of {self.max_episode_steps}"
            )
        if self.required_steps > self.source_steps:
            raise InputError(
                f"the parts of this recipe can take {self.required_steps} source steps, and source_steps is "
                f"{self.source_steps}; raise it or shorten a part"
            )

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise InputError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")

    def _number(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            raise InputError(f"{name} is {getattr(self, name)}; it must be between {low} and {high}")
