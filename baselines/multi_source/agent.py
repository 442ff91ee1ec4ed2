"""The actor-critic whose policy hears the student's features and the replayed actions of the most similar source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.multi_source.action_replay import LATENT_RANGE
from baselines.multi_source.similarity import Similarity
from baselines.multi_source.student import Student
from baselines.multi_source.teacher import SourceTeacher
from wombet.agent import AgentConfig, TransferAgent
from wombet.dataset import TransferDataset
from wombet.learner import ActorCritic, Batch
from wombet.streams import Streams

SIMILARITY_ROWS = 256
"""Rows of the target task on which the similarity is measured."""


@dataclass(frozen=True)
class Guidance:
    """How the sources guide: settings of `MTOPStateConfig`, and over how many steps distillation fades."""

    names: tuple[str, ...]
    distillation: float
    distillation_end: float
    weight_floor: float
    similarity_interval: int
    replay: bool
    total_steps: int

    def coefficient(self, steps: int) -> float:
        """Return the distillation loss's weight after so many steps of the online phase: linear between its ends."""
        done = min(1.0, steps / max(1, self.total_steps))
        return self.distillation * (1 - done * (1 - self.distillation_end))


class ConditionedActorCritic(ActorCritic):
    """An actor-critic whose actor sees [s; h_S(s); e], and whose critics see s and a.

    h_S are the student's features, without gradients; e are the replay's features for the shares of `similarity` and
    latents drawn anew each time, or zero where nothing is drawn. Without `replay` there is no e.
    """

    def __init__(
        self,
        action_dim: int,
        config: AgentConfig,
        generator: torch.Generator,
        device: str,
        student: Student,
        similarity: Similarity,
        replay: bool,
    ) -> None:
        self.student, self.similarity, self.replay = student, similarity, replay
        obs_dim, teacher = len(student.scales.obs_mean), similarity.teacher
        actor_dim = obs_dim + student.feature_dim + (teacher.replay.feature_dim if replay else 0)
        super().__init__(obs_dim, action_dim, config, generator, device, actor_dim=actor_dim)

    def actor_input(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return [s; h_S(s); e] for observations (n, obs_dim)."""
        parts = [obs, self.student.features(obs)]
        if self.replay:
            teacher, shape = self.similarity.teacher, (len(obs), self.similarity.teacher.replay.latent_dim)
            latent = obs.new_zeros(shape)
            if generator is not None:
                latent = torch.randn(shape, generator=generator, device=obs.device).clamp(-LATENT_RANGE, LATENT_RANGE)
            parts.append(teacher.replayed(obs, self.similarity.share(), latent))
        return torch.cat(parts, -1)


class GuidedAgent(TransferAgent):
    """A TransferAgent that beside its actor-critic trains a student and refreshes the similarity.

    The student learns from rows of the target task alone. `dataset` holds relabelled source rows, for a config that
    mixes them in, or is None.
    """

    def __init__(
        self,
        action_dim: int,
        config: AgentConfig,
        guidance: Guidance,
        teacher: SourceTeacher,
        student: Student,
        similarity: Similarity,
        streams: Streams,
        dataset: TransferDataset | None,
        device: str,
    ) -> None:
        self.guidance, self.teacher, self.student, self.similarity = guidance, teacher, student, similarity
        generator = streams.torch("learner", device=device)
        learner = ConditionedActorCritic(
            action_dim, config, generator, device, student, similarity, replay=guidance.replay
        )
        super().__init__(learner.obs_dim, action_dim, config, streams, dataset, device, learner=learner)
        self._student_rows = streams.numpy("student rows")
        self._similarity_rows = streams.numpy("similarity rows")
        self._similarity_noise = streams.torch("similarity", device=device)

    def metrics(self) -> dict[str, float]:
        """Return the agent's metrics, `distillation` (the loss's coefficient) and w_k(t) as `weight_NAME`."""
        weights = self.similarity.weights.tolist()
        named = {f"weight_{name}": weight for name, weight in zip(self.guidance.names, weights, strict=True)}
        return {**super().metrics(), "distillation": self.guidance.coefficient(self.steps), **named}

    def _update(self, minibatches: Sequence[Batch]) -> Mapping[str, Any]:
        if not self.similarity.refreshed or self.steps % self.guidance.similarity_interval == 0:
            self._refresh()
        batch = self.online.sample(self.online.draw_indices(self.config.batch_size, self._student_rows))
        coefficient = self.guidance.coefficient(self.steps)
        taught = self.teacher.features(batch.obs)
        losses = self.student.update(batch, taught, self.similarity, coefficient, self.guidance.weight_floor)
        return {**super()._update(minibatches), **losses}

    def _refresh(self) -> None:
        batch = self.online.sample(self.online.draw_indices(SIMILARITY_ROWS, self._similarity_rows))
        learned = self.student.learned_logits(self.teacher.features(batch.obs), batch.obs)
        self.similarity.refresh(batch, learned, self._similarity_noise)

    def state(self) -> dict[str, Any]:
        """Return the agent's state with the student's and the similarity's; the teacher is frozen and not in it."""
        return {
            **super().state(),
            "student": self.student.state(),
            "similarity": self.similarity.state(),
            "rows": [stream.bit_generator.state for stream in (self._student_rows, self._similarity_rows)],
            "similarity_noise": self._similarity_noise.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of an agent that was built alike."""
        super().restore(state)
        self.student.restore(state["student"])
        self.similarity.restore(state["similarity"])
        for stream, saved in zip((self._student_rows, self._similarity_rows), state["rows"], strict=True):
            stream.bit_generator.state = saved
        self._similarity_noise.set_state(state["similarity_noise"])
