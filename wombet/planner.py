"""Model-predictive control by sampling, penalised by the model's uncertainty, for many episodes at once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from wombet.errors import InputError
from wombet.noise import noise_filter
from wombet.planner_config import PETS_CEM, PlannerConfig, calibrated_penalty
from wombet.task import Task
from wombet.world_model import WorldModel, elite_std
from wombet.world_model_config import require

__all__ = ["PETS_CEM", "Guide", "Planner", "PlannerConfig", "calibrated_penalty"]

NEVER = -1e10
"""Value of a sequence whose reward is not finite: worse than any real one (PETS' code gives such plans a high cost)."""

CONVERGED_VARIANCE = 1e-3
"""cem stops refining a plan when no action's variance exceeds this (PETS' code)."""


class Guide(Protocol):
    """An actor-critic of the source task; observations (N, obs_dim) on the model's device."""

    def act(self, obs: Tensor) -> Tensor:
        """Return actions (N, action_dim) in [-1, 1], without noise."""

    def value(self, obs: Tensor) -> Tensor:
        """Return the discounted return (N,) that the policy is expected to collect from `obs` on."""


class Episodes(NamedTuple):
    """What planning keeps of n episodes: their random streams, means (n, H, A), and elites (n, n_kept, H, A) if any."""

    streams: list[torch.Generator]
    mean: Tensor
    kept: Tensor | None = None

    def part(self, rows: slice) -> "Episodes":
        """Return some of them."""
        return Episodes(self.streams[rows], self.mean[rows], None if self.kept is None else self.kept[rows])

    def only(self, keep: Tensor) -> "Episodes":
        """Return those of a boolean mask (n,)."""
        streams = [stream for stream, kept in zip(self.streams, keep.tolist(), strict=True) if kept]
        return Episodes(streams, self.mean[keep], None if self.kept is None else self.kept[keep])


class Planner:
    """Plans sequences of actions in [-1, 1] that maximise, with u the model's uncertainty and lambda the `penalty`,

        sum_{t<H} discount^t alive_t (r_t - lambda u_t)  [+ discount^H alive_H (V(s_H) - lambda_V u_H)],

    where reward and termination are the task's own functions and alive_t says that none of the states s_1 .. s_t ended
    the episode. Every episode has a random stream of its own, seeded from `generator` at `reset` in the order of the
    episodes: a plan does not depend on the others in the batch, and large batches are planned for block by block. A
    guide that is needed and missing raises InputError.
    """

    def __init__(
        self,
        model: WorldModel,
        task: Task,
        config: PlannerConfig,
        penalty: float,
        generator: torch.Generator,
        guide: Guide | None = None,
    ) -> None:
        if config.needs_guide and guide is None:
            raise InputError("n_policy_proposals or terminal_value is set, but the planner was given no guide")
        particles = config.propagation != "mean"
        if particles and config.n_particles % model.n_elites:
            raise InputError(
                f"n_particles is {config.n_particles}; it must be a multiple of {model.n_elites}, the elites"
            )
        if particles and model.config.uncertainty != "elite_std":
            raise InputError(
                f"uncertainty is {model.config.uncertainty}; particles need elite_std (or propagation mean)"
            )
        require(penalty >= 0, "penalty", penalty, "zero or more")
        self.model, self.task, self.config, self.penalty, self.guide = model, task, config, penalty, guide
        self.last_value = self.predicted_gain = torch.zeros(0)
        self._generator = generator
        self._filter = noise_filter(config.horizon, config.noise_beta)
        self._episodes = Episodes([], torch.zeros(0, config.horizon, model.action_dim, device=model.device))
        self._fresh = True

    @property
    def n_episodes(self) -> int:
        """How many episodes are being planned for."""
        return len(self._episodes.streams)

    def reset(self, n: int) -> None:
        """Begin `n` episodes; nothing is kept of those before but the position of `generator`."""
        seeds = [int(torch.randint(2**62, (), generator=self._generator)) for _ in range(n)]
        mean = torch.zeros(n, self.config.horizon, self.model.action_dim, device=self.model.device)
        self._episodes = Episodes([torch.Generator().manual_seed(seed) for seed in seeds], mean)
        self._fresh = True
        self.last_value = self.predicted_gain = torch.zeros(0)

    def drop(self, keep: Tensor) -> None:
        """Go on with the episodes of a boolean mask (n,); their plans do not change by it."""
        require(keep.shape == (self.n_episodes,), "the shape of keep", tuple(keep.shape), f"({self.n_episodes},)")
        self._episodes = self._episodes.only(keep)

    @torch.no_grad()
    def plan(self, obs: Tensor) -> Tensor:
        """Return the next actions (n, replan_interval, action_dim) for observations (n, obs_dim) of the episodes.

        Call it every `replan_interval` steps. Afterwards `last_value` (n,) is the value of what was chosen and
        `predicted_gain` (n,) its advantage over the guide's own noise-free sequence, NaN without proposals: a large
        gain means that the critic is being exploited.
        """
        require(self.n_episodes > 0, "the number of episodes to plan for", 0, "1 or more; call reset first")
        wanted = (self.n_episodes, self.model.obs_dim)
        require(obs.shape == wanted, "the shape of the observations to plan for", tuple(obs.shape), str(wanted))
        everyone, size = self._episodes, self.config.episodes_at_once
        blocks = [slice(first, first + size) for first in range(0, self.n_episodes, size)]
        found = [self._plan_for(everyone.part(rows), obs[rows]) for rows in blocks]
        plans, values, gains, moved_on = zip(*found, strict=True)
        self._episodes, self._fresh = joined(moved_on), False
        self.last_value, self.predicted_gain = torch.cat(values), torch.cat(gains)
        return torch.cat(plans)

    @torch.no_grad()
    def evaluate(self, obs: Tensor, sequences: Tensor) -> Tensor:
        """Return penalised values (n, N) of sequences (n, N, horizon, action_dim) from observations (n, obs_dim)."""
        n, n_sequences = sequences.shape[:2]
        state, actions = _repeat_rows(obs, n_sequences), sequences.permute(2, 3, 0, 1).flatten(2).mT
        if self.config.propagation == "mean":
            value = self._mean_path(state, lambda t, _: actions[t])
        else:
            value = self._particles(state, actions)
        return _finite(value).view(n, n_sequences)

    def state(self) -> dict[str, Any]:
        """Return, as a tree, what the next plans depend on besides model and guide."""
        return {
            "generator": self._generator.get_state(),
            "streams": [stream.get_state() for stream in self._episodes.streams],
            "mean": self._episodes.mean.cpu().clone(),
            "kept": None if self._episodes.kept is None else self._episodes.kept.cpu().clone(),
            "fresh": self._fresh,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken."""
        self._generator.set_state(state["generator"])
        streams = [torch.Generator() for _ in state["streams"]]
        for stream, stored in zip(streams, state["streams"], strict=True):
            stream.set_state(stored)
        kept = None if state["kept"] is None else state["kept"].to(self.model.device)
        self._episodes = Episodes(streams, state["mean"].to(self.model.device), kept)
        self._fresh = state["fresh"]

    def _plan_for(self, episodes: Episodes, obs: Tensor) -> tuple[Tensor, Tensor, Tensor, Episodes]:
        """Return actions, values and gains like `plan` and its attributes, and what the next plan begins with.

        The planner's episodes are these alone from here on, so that numbers are drawn from their streams.
        """
        self._episodes = episodes
        proposals = self._proposals(obs) if self.config.n_policy_proposals else None
        mean = episodes.mean if proposals is None or not self._fresh else proposals[0][:, 0].clone()
        chosen, value, gain, mean, elites = self._optimise(obs, mean, proposals)
        return chosen[:, : self.config.replan_interval], value, gain, self._moved_on(mean, elites)

    def _optimise(
        self, obs: Tensor, mean: Tensor, proposals: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the chosen sequences (n, H, A), values and gains (n,), mean, and last elites (n, n_elites, H, A)."""
        config = self.config
        std = torch.full_like(mean, config.init_std)
        best, best_value = mean, torch.full_like(mean[:, 0, 0], -torch.inf)
        guided_value = torch.full_like(best_value, torch.nan)
        kept, elites = self._episodes.kept, mean[:, None]
        for iteration in range(config.iterations):
            candidates = self._sample(mean, std, config.population_at(iteration))
            if config.optimiser == "icem" and iteration == config.iterations - 1:
                candidates[:, 0] = mean
            candidates = torch.cat([candidates, *([] if kept is None else [kept])], 1)
            values = self.evaluate(obs, candidates)
            if iteration == 0 and proposals is not None:
                guided_value = proposals[1][:, 0]
                candidates, values = torch.cat([candidates, proposals[0]], 1), torch.cat([values, proposals[1]], 1)
            value, order = values.topk(config.n_elites, 1)
            elites = candidates.gather(1, order[..., None, None].expand(-1, -1, *mean.shape[1:]))
            better = value[:, 0] > best_value
            best = torch.where(better[:, None, None], elites[:, 0], best)
            best_value = torch.where(better, value[:, 0], best_value)
            mean, std = self._refit(mean, std, elites)
            kept = elites[:, : config.n_kept] if config.n_kept else None
        if config.optimiser == "cem":
            best, best_value = mean, self.evaluate(obs, mean[:, None])[:, 0]
        return best, best_value, best_value - guided_value, mean, elites

    def _refit(self, mean: Tensor, std: Tensor, elites: Tensor) -> tuple[Tensor, Tensor]:
        old = self.config.momentum
        new_mean = old * mean + (1 - old) * elites.mean(1)
        if self.config.optimiser == "icem":
            return new_mean, old * std + (1 - old) * elites.std(1, correction=0)
        new_std = (old * std.square() + (1 - old) * elites.var(1, correction=0)).sqrt()
        going_on = std.square().amax((1, 2), keepdim=True) > CONVERGED_VARIANCE
        return torch.where(going_on, new_mean, mean), torch.where(going_on, new_std, std)

    def _sample(self, mean: Tensor, std: Tensor, n_samples: int) -> Tensor:
        shape = (n_samples, mean.shape[2], mean.shape[1])
        if self.config.optimiser == "icem":
            noise = (self._draw(torch.randn, shape) @ self._filter).transpose(2, 3).to(mean)
            return (mean[:, None] + std[:, None] * noise).clamp_(-1, 1)
        # Two standard deviations stay inside the box, and the normal is cut off there.
        std = torch.minimum(std, torch.minimum(mean + 1, 1 - mean).clamp_min(0) / 2)
        uniform = self._draw(torch.rand, shape).transpose(2, 3).to(mean)
        return (mean[:, None] + std[:, None] * truncated_normal(uniform)).clamp_(-1, 1)

    def _draw(self, sampler: Any, shape: tuple[int, ...]) -> Tensor:
        """Draw (n, *shape) numbers on the CPU, each episode's from its own stream."""
        return torch.stack([sampler(shape, generator=stream) for stream in self._episodes.streams])

    def _moved_on(self, mean: Tensor, elites: Tensor) -> Episodes:
        """Return the episodes with mean and kept elites moved on by the actions that are going to be executed."""
        config, interval = self.config, self.config.replan_interval
        last = mean[:, -1:] if config.optimiser == "icem" else torch.zeros_like(mean[:, -1:])
        mean, kept = torch.cat([mean[:, interval:], last.expand(-1, interval, -1)], 1), None
        if config.n_kept:
            ends = self._draw(torch.randn, (config.n_kept, interval, elites.shape[-1])).to(elites) * config.init_std
            kept = torch.cat([elites[:, : config.n_kept, interval:], ends.clamp_(-1, 1)], 2)
        return Episodes(self._episodes.streams, mean, kept)

    def _proposals(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Roll the guide out in the model's mean, the first time without noise.

        Returns sequences (n, n_policy_proposals, H, A) and their values (n, n_policy_proposals).
        """
        assert self.guide is not None
        config, guide, n, action_dim = self.config, self.guide, len(obs), self.model.action_dim
        shape = (config.horizon, config.n_policy_proposals, action_dim)
        noise = self._draw(torch.randn, shape).to(obs) * config.proposal_noise
        noise[:, :, 0] = 0
        actions: list[Tensor] = []

        def act(t: int, state: Tensor) -> Tensor:
            actions.append((guide.act(state) + noise[:, t].flatten(0, 1)).clamp_(-1, 1))
            return actions[-1]

        values = _finite(self._mean_path(_repeat_rows(obs, config.n_policy_proposals), act)).view(n, -1)
        sequences = torch.stack(actions, 1).view(n, -1, config.horizon, action_dim)
        return sequences, values if config.propagation == "mean" else self.evaluate(obs, sequences)

    def _mean_path(self, state: Tensor, act: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return the values (M,) of following `act`, of time and states (M, obs_dim), all elites at one state."""
        total, alive = torch.zeros_like(state[:, 0]), torch.ones_like(state[:, 0], dtype=torch.bool)
        for t in range(self.config.horizon):
            action = act(t, state)
            means, uncertainty = self.model.step(state, action)
            next_state = means.mT.mean(0).mT  # A mean's own result would be laid out row by row.
            reward = self.task.reward(state, action, next_state) - self.penalty * uncertainty
            total += self.config.discount**t * torch.where(alive, reward, 0.0)
            alive &= ~self.task.terminated(next_state)
            state = next_state
        return total + self._tail(state, alive)

    def _particles(self, state: Tensor, actions: Tensor) -> Tensor:
        """Return the values (M,) of sequences (H, M, A): means over sampled particles, equally many to each elite."""
        config, n_elites = self.config, self.model.n_elites
        n_particles, n_rows = config.n_particles, len(state)
        particles = state.expand(n_particles, *state.shape)
        total, alive = torch.zeros_like(particles[..., 0]), torch.ones_like(particles[..., 0], dtype=torch.bool)
        for t in range(config.horizon):
            order = self._elite_order(n_rows)
            action = actions[t].expand(n_particles, n_rows, -1)
            ordered = _reorder(particles, order).reshape(n_elites, -1, state.shape[-1])
            prediction = self.model.predict(ordered, action.reshape(n_elites, -1, action.shape[-1]))
            uncertainty = elite_std(prediction.target_mean).view(1, -1, n_rows).mean(1)
            noise = self._row_noise(n_particles, n_rows, state.shape[-1]).to(state)
            sampled = prediction.mean.reshape_as(noise) + prediction.std.reshape_as(noise) * noise
            next_particles = _reorder(sampled, None if order is None else order.argsort(0))
            reward = self.task.reward(particles, action, next_particles) - self.penalty * uncertainty
            total += config.discount**t * torch.where(alive, reward, 0.0)
            alive &= ~self.task.terminated(next_particles)
            particles = next_particles
        tail = self._tail(particles.flatten(0, 1), alive.flatten())
        return (total + tail.view_as(total)).mean(0)

    def _tail(self, state: Tensor, alive: Tensor) -> Tensor:
        if not self.config.terminal_value or self.guide is None:
            return torch.zeros_like(state[:, 0])
        value = self.guide.value(state)
        if self.config.terminal_penalty:
            uncertainty = self.model.step(state, self.guide.act(state))[1]
            value = value - self.config.terminal_penalty * self.penalty * uncertainty
        return self.config.discount**self.config.horizon * torch.where(alive, value, 0.0)

    def _elite_order(self, n_rows: int) -> Tensor | None:
        """Which particle goes to which elite, (n_particles, n_rows): unchanged for tsinf, drawn anew for ts1."""
        if self.config.propagation == "tsinf":
            return None
        shape = (self.config.n_particles, n_rows // self.n_episodes)
        return self._draw(torch.rand, shape).transpose(0, 1).flatten(1).argsort(0).to(self.model.device)

    def _row_noise(self, n_particles: int, n_rows: int, dim: int) -> Tensor:
        shape = (n_particles, n_rows // self.n_episodes, dim)
        return self._draw(torch.randn, shape).transpose(0, 1).flatten(1, 2)


def joined(parts: Sequence[Episodes]) -> Episodes:
    """Return the episodes of several parts as one."""
    streams, means, kept = zip(*parts, strict=True)
    elites = None if kept[0] is None else torch.cat(kept)
    return Episodes([stream for part in streams for stream in part], torch.cat(means), elites)


def truncated_normal(uniform: Tensor) -> Tensor:
    """Return standard normal values cut off at two standard deviations, from uniform ones in [0, 1)."""
    tail = 0.022750131948179195
    return torch.special.ndtri(tail + (1 - 2 * tail) * uniform)


def _finite(value: Tensor) -> Tensor:
    return torch.where(value.isfinite(), value, NEVER)


def _repeat_rows(rows: Tensor, n: int) -> Tensor:
    """Return each of (N, d) rows n times in a row, laid out feature by feature like the model's own results."""
    return rows.mT[..., None].expand(-1, -1, n).flatten(1).mT


def _reorder(particles: Tensor, order: Tensor | None) -> Tensor:
    """Rearrange (P, M, d) along P, for every row by its own order (P, M)."""
    return particles if order is None else particles.gather(0, order[..., None].expand_as(particles))
