"""mtop-state: selective transfer from several source tasks for vector observations, ours after arXiv 2306.03360."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from baselines.actor_critic import RLPDConfig
from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.config import config_dict
from baselines.multi_source.agent import Guidance, GuidedAgent
from baselines.multi_source.similarity import Signals, Similarity
from baselines.multi_source.student import Student
from baselines.multi_source.teacher import StateTeacher
from wombet.agent import AgentConfig
from wombet.collection import joined
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.learner import LearnerConfig
from wombet.streams import Streams


@dataclass(frozen=True)
class MTOPStateConfig(RLPDConfig):
    """RLPD's learner without its offline rows, and how the sources guide it; numbers are ours where nothing is said."""

    utd: int = 2  # critic updates per environment step; the student makes one
    offline_fraction: float = (
        0.0  # share of source rows with the target's reward in every minibatch; the paper has none
    )
    model_width: int = 256  # units of the hidden layers of teacher, student and action replay
    feature_dim: int = 128  # entries of teacher's and student's features (paper 250, for pixels)
    replay_dim: int = 32  # entries of the replay's features that the policy sees (paper 50)
    model_lr: float = 3e-4  # Adam's step size of teacher and student (paper)
    distillation: float = 1.0  # weight of the distillation loss at the first target step (paper); 0 switches it off
    distillation_end: float = 0.1  # share of it that is left at the last one (paper 1)
    weight_floor: float = 0.1  # least weight of a source in the distillation loss (paper)
    similarity: Signals = "combined"  # "paper": the learned unit alone; "errors": measured alone; "uniform": equal
    similarity_interval: int = 100  # target steps between measurements
    similarity_rate: float = 0.05  # by how much a measurement moves the running means
    replay: bool = True  # whether the policy sees replayed source actions

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("model_width", "feature_dim", "replay_dim", "similarity_interval"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("offline_fraction", "distillation_end", "weight_floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if not 0 < self.similarity_rate <= 1:
            raise InputError(f"similarity_rate is {self.similarity_rate}; it must be above 0 and at most 1")
        if min(self.distillation, self.model_lr) < 0:
            raise InputError(
                f"distillation is {self.distillation} and model_lr {self.model_lr}; both must be 0 or more"
            )
        if self.similarity not in get_args(Signals):
            known = ", ".join(get_args(Signals))
            raise InputError(f"similarity is {self.similarity!r}; it must be one of {known}")


class MTOPState:
    """Learn a teacher from several source datasets, then the target task with distillation and replayed actions."""

    Config = MTOPStateConfig
    capabilities = Capabilities(
        phases=(Phase.OFFLINE, Phase.ONLINE),
        needs_dataset=False,
        needs_sources=True,
        kind="multi-source",
        source="ours after Pan et al. 2023 (arXiv 2306.03360), for state vectors; wombet's learner core",
        deviations=(
            "state vectors and an actor-critic in the real task instead of pixels and imagination",
            "similarity also from reward errors and action densities, because tasks of one robot share dynamics",
            "the action replay is conditioned on the state, and the source is chosen once per measurement",
            "the policy is evaluated with latents of zero",
        ),
    )

    def __init__(self, problem: Problem, config: MTOPStateConfig, streams: Streams, device: str) -> None:
        if not problem.sources:
            raise InputError("method mtop-state learns from several source tasks, and the problem has none")
        self.problem, self.config = problem, config
        task, names = problem.target, tuple(source.name for source in problem.sources)
        width, features = config.model_width, config.feature_dim
        self.teacher = StateTeacher(
            [source.dataset for source in problem.sources],
            width,
            features,
            config.replay_dim,
            config.model_lr,
            streams.child("teacher"),
            device,
        )
        weights = streams.torch("student", device=device)
        student = Student(self.teacher.scales, task.action_dim, width, features, config.model_lr, weights, device)
        similarity = Similarity(self.teacher, config.similarity, config.similarity_rate, device)
        guidance = Guidance(
            names,
            config.distillation,
            config.distillation_end,
            config.weight_floor,
            config.similarity_interval,
            config.replay,
            problem.budgets.target_steps,
        )
        self.agent = GuidedAgent(
            task.action_dim,
            _agent_config(config),
            guidance,
            self.teacher,
            student,
            similarity,
            streams,
            _relabelled(problem) if config.offline_fraction else None,
            device,
        )

    def train(self, phase: Phase, tick: Tick) -> None:
        """Train the teacher on the source datasets, or learn in the target task with the teacher frozen."""
        if phase is Phase.OFFLINE:
            while self.teacher.updates < self.problem.budgets.offline_updates:
                self.teacher.update(self.config.batch_size)
                tick(updates=self.teacher.updates, metrics=self.teacher.metrics)
            return

        def counted(*, updates: int, metrics: Any = None) -> None:
            tick(updates=self.teacher.updates + updates, metrics=metrics)

        self.agent.finetune(self.problem.target_env, self.problem.budgets.target_steps, counted)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the deterministic actions."""
        return self.agent.act(obs)

    def state(self) -> Any:
        """Return teacher, student, similarity, actor-critic, online buffer and streams."""
        return {"teacher": self.teacher.state(), "agent": self.agent.state()}

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.teacher.restore(state["teacher"])
        self.agent.restore(state["agent"])

    def policy_state(self) -> Any:
        """Return what decides the actions: actor, student, teacher and similarity."""
        agent = self.agent
        return {
            "actor": agent.learner.actor.vector.cpu().clone(),
            "student": agent.student.network.parameters.vector.cpu().clone(),
            "teacher": self.teacher.vector.cpu().clone(),
            "similarity": agent.similarity.state(),
        }

    def restore_policy(self, state: Any) -> None:
        """Take up a `policy_state`."""
        agent = self.agent
        vectors: dict[str, torch.Tensor] = {
            "actor": agent.learner.actor.vector,
            "student": agent.student.network.parameters.vector,
            "teacher": self.teacher.vector,
        }
        for name, vector in vectors.items():
            vector.copy_(state[name])
        agent.similarity.restore(state["similarity"])


def _agent_config(config: MTOPStateConfig) -> AgentConfig:
    settings = config_dict(config)
    learner = {name: settings[name] for name in LearnerConfig.__dataclass_fields__}
    mixing = "fixed" if config.offline_fraction else "online_only"
    return AgentConfig(
        **learner,
        random_steps=config.random_steps,
        offline_fraction=config.offline_fraction,
        mixing=mixing,
        target_penalty=0.0,
    )


def _relabelled(problem: Problem) -> TransferDataset:
    """Return the rows of all sources with the target's rewards."""
    return joined([source.dataset for source in problem.sources]).relabel(problem.target)
