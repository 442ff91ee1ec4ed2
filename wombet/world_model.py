"""A probabilistic ensemble of the dynamics: what happens next, and how much the members disagree about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wombet import model_report
from wombet.ensemble_network import EnsembleNetwork, bounded_logvar, check_inference_dtype, infer
from wombet.ensemble_training import Fit, train
from wombet.errors import InputError
from wombet.world_model_config import MEASURES, WorldModelConfig, require

SMALLEST_STD = 1e-6
"""An entry that varies less is treated as constant: its variation is rounding in float32."""

INPUT_CLIP = 10.0
"""Standardised inputs are cut off here, so that a plan that runs away cannot overflow."""

Array = NDArray[np.float32]
Transitions = tuple[Array, Array, Array]
"""obs (N, obs_dim), action (N, action_dim) and next_obs (N, obs_dim)."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What each elite predicts for N steps; all tensors are (n_elites, N, obs_dim).

    `mean` and `std` are of the next observation in its own units; `target_mean` is the mean in units of the training
    targets' standard deviation, which is what disagreement is measured in.
    """

    mean: Tensor
    std: Tensor
    target_mean: Tensor


@dataclass(frozen=True, eq=False)
class Units:
    """Mean and standard deviation of network inputs (n_inputs,) and targets (obs_dim,) over the training rows."""

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor


class WorldModel:
    """Ensemble of Gaussian networks p(next_obs | obs, action), after PETS (1805.12114) and MBPO (1906.08253).

    The first `n_rates` observation entries are rates of the last step: predicted as they are and hidden from the input.
    The others are predicted as changes. Entries in `angle_indices` enter as sine and cosine. Weights are drawn from
    `generator`, here and again when a fit has to start anew.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: WorldModelConfig,
        generator: torch.Generator,
        *,
        n_rates: int = 0,
        angle_indices: Sequence[int] = (),
        device: str | torch.device = "cpu",
    ) -> None:
        angles = sorted(set(angle_indices))
        require(0 <= n_rates < obs_dim, "n_rates", n_rates, f"from 0 to obs_dim - 1 ({obs_dim - 1})")
        inside = all(n_rates <= index < obs_dim for index in angles)
        require(inside, "angle_indices", tuple(angle_indices), f"within {n_rates} .. {obs_dim - 1}")
        self.obs_dim, self.action_dim, self.config, self.n_rates = obs_dim, action_dim, config, n_rates
        self.device = torch.device(device)
        check_inference_dtype(config.inference_dtype, self.device)
        self.report: dict[str, Any] = {}
        self._generator = generator
        self._angles = torch.tensor(angles, dtype=torch.long, device=self.device)
        self._plain = torch.tensor([i for i in range(n_rates, obs_dim) if i not in angles], device=self.device).long()
        self._n_inputs = len(self._plain) + 2 * len(angles) + action_dim
        self._network = self._new_network()
        self._units: Units | None = None
        self._elites = torch.arange(config.n_elites)
        self._known = self._held = np.zeros(0, np.int64)
        self._off_policy: model_report.Rows | None = None

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `restore` has given the model something to predict with."""
        return self._units is not None

    @property
    def elites(self) -> tuple[int, ...]:
        """Indices of the predicting members, the best first."""
        return tuple(int(member) for member in self._elites)

    @property
    def n_elites(self) -> int:
        """How many members predict."""
        return self.config.n_elites

    @property
    def holdout_episodes(self) -> NDArray[np.int64]:
        """The `episode_id`s that the last fit did not train on, ascending."""
        return self._held.copy()

    def fit(
        self,
        obs: Array,
        action: Array,
        next_obs: Array,
        episode_id: NDArray[Any],
        generator: np.random.Generator,
        off_policy: Transitions | None = None,
        progress: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Fit to N rows of at least two whole trajectories and return a report of plain numbers.

        A later fit goes on from the present weights, rewritten exactly for the new rows' units, with a new optimiser.
        Episodes are known by their id: one that was trained on is never held out later, so ids must stay what they
        were; if no episode can be held out on that condition, the weights are drawn anew. Bad rows raise InputError.
        `off_policy` holds rows of another policy: they are never trained on, stay with the model, and are judged in the
        report of this fit and of every later one. `progress` is called every few gradient steps and may raise to stop;
        the model must then be made again from a state.
        """
        _check_rows(self, obs, action, next_obs, episode_id)
        if off_policy is not None:
            _check_columns(self, "the model's off-policy rows", *off_policy)
            self._off_policy = self._columns(off_policy)
        if not self._split(np.asarray(episode_id, np.int64), generator):
            self._network, self._units = self._new_network(), None
        held = np.isin(episode_id, self._held)
        tensors = [torch.as_tensor(x, dtype=torch.float32, device=self.device) for x in (obs, action, next_obs)]
        inputs, targets = self._inputs(tensors[0], tensors[1]).contiguous(), self._targets(tensors[0], tensors[2])
        self._change_units(_units(inputs[~held], targets[~held]))
        fit = self._train(inputs, targets, np.flatnonzero(~held), np.flatnonzero(held), generator, progress)
        self._elites = fit.error.argsort(stable=True)[: self.config.n_elites].cpu()
        self._prepare()
        rows = np.flatnonzero(held)
        obs_held, action_held, next_held = (tensor[rows] for tensor in tensors)
        n_train = len(obs) - len(rows)
        self.report = model_report.report(
            self, obs_held, action_held, next_held, episode_id[rows], fit, n_train, self._off_policy
        )
        return self.report

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Predict with every elite; obs (N, obs_dim) is every elite's state, or (n_elites, N, obs_dim) one for each."""
        units = self._ready()
        output = infer(self._elite_layers, self._network_inputs(obs, action))
        mean, raw = output.split(self.obs_dim, -1)
        std = (bounded_logvar(raw, *self._elite_bounds) / 2).exp() * units.target_std
        return Prediction(self._next_obs(obs, mean), std, mean)

    def step(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the elites' mean next observations, (n_elites, N, obs_dim), and the configured uncertainty, (N,).

        Takes the shapes of `predict` and costs half as much; with a state for each elite, the default measure alone is
        available, and then says how far the elites' predictions, each from its own state, are apart.
        """
        self._ready()
        target_mean = infer(self._elite_mean_layers, self._network_inputs(obs, action))
        if self.config.uncertainty == "elite_std":
            uncertainty = elite_std(target_mean)
        else:
            uncertainty = self.uncertainty(obs, action)
        return self._next_obs(obs, target_mean), uncertainty

    def uncertainty(self, obs: Tensor, action: Tensor, measure: str | None = None) -> Tensor:
        """Return the uncertainty (N,) of rows by a measure's name, or by the configured one.

        elite_std: root mean variance of the elites' means, per entry in units of the target's standard deviation (free
        of units). Over all members and in raw units: max_aleatoric, largest norm of a member's std (MOPO, 2005.13239);
        max_deviation, largest distance of a member's mean from their mean; ensemble_std, root mean variance of the
        means; pairwise, largest distance between two means (MOReL, 2005.05951). Raises InputError for another name.
        """
        units, measure = self._ready(), measure or self.config.uncertainty
        require(measure in MEASURES, "uncertainty", measure, f"one of {', '.join(MEASURES)}")
        inputs = self._network_inputs(obs, action)
        if measure == "elite_std":
            return elite_std(infer(self._elite_mean_layers, inputs))
        require(obs.dim() == 2, "uncertainty", measure, "elite_std where each elite has a state of its own")
        with torch.no_grad():
            mean, logvar = self._network(inputs)
        if measure == "max_aleatoric":
            return ((logvar / 2).exp() * units.target_std).norm(dim=-1).amax(0)
        return _spread(mean * units.target_std, measure)

    def state(self) -> dict[str, Any]:
        """Return weights, units, elites, split, off-policy rows, report and the weights' generator as a tree."""
        units = self._units
        return {
            "network": self._network.state(),
            "units": None if units is None else {name: getattr(units, name).cpu() for name in Units.__annotations__},
            "elites": self._elites.clone(),
            "known_episodes": self._known.copy(),
            "holdout_episodes": self._held.copy(),
            "off_policy": None if self._off_policy is None else [column.cpu().clone() for column in self._off_policy],
            "report": self.report,
            "generator": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken; raises InputError if it is of a model of other sizes."""
        self._network.restore(state["network"])
        units = state["units"]
        self._units = None if units is None else Units(**{name: units[name].to(self.device) for name in units})
        self._elites = state["elites"].clone()
        self._known, self._held = state["known_episodes"].copy(), state["holdout_episodes"].copy()
        other = state.get("off_policy")
        self._off_policy = None if other is None else self._columns(other)
        self.report = state["report"]
        self._generator.set_state(state["generator"])
        if self.fitted:
            self._prepare()

    def predict_standardised(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances of all members, (n_members, N, obs_dim), in units of the targets' std."""
        self._ready()
        with torch.no_grad():
            return self._network(self._network_inputs(obs, action))

    def standardised_targets(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Return what the members are trained to predict for rows of shape (..., obs_dim)."""
        units = self._ready()
        return (self._targets(obs, next_obs) - units.target_mean) / units.target_std

    def _columns(self, rows: Sequence[Any]) -> model_report.Rows:
        obs, action, next_obs = (torch.as_tensor(x, dtype=torch.float32, device=self.device).clone() for x in rows)
        return obs, action, next_obs

    def _new_network(self) -> EnsembleNetwork:
        config = self.config
        sizes = [self._n_inputs] + [config.hidden_width] * config.hidden_layers + [2 * self.obs_dim]
        return EnsembleNetwork(sizes, config.n_members, config.logvar_bounds, self._generator, self.device)

    def _inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return network inputs (..., n_inputs) in their own units, laid out feature by feature (see `infer`)."""
        columns, actions = obs.mT, action.mT
        if len(self._angles) == 0:
            return torch.cat([columns[..., self.n_rates :, :], actions], -2).mT
        angles = columns[..., self._angles, :]
        return torch.cat([columns[..., self._plain, :], angles.sin(), angles.cos(), actions], -2).mT

    def _network_inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        units = self._ready()
        inputs = self._inputs(obs, action).sub_(units.input_mean).div_(units.input_std)
        return inputs.clamp_(-INPUT_CLIP, INPUT_CLIP)

    def _targets(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        return torch.cat([next_obs[..., : self.n_rates], next_obs[..., self.n_rates :] - obs[..., self.n_rates :]], -1)

    def _next_obs(self, obs: Tensor, target_mean: Tensor) -> Tensor:
        units = self._ready()
        next_obs = torch.addcmul(units.target_mean, target_mean, units.target_std)
        next_obs[..., self.n_rates :] += obs[..., self.n_rates :]
        return next_obs

    def _ready(self) -> Units:
        if self._units is None:
            raise InputError("the world model was asked to predict before it was fitted; call fit or restore first")
        return self._units

    def _prepare(self) -> None:
        """Lay out the elites' weights once, for the many forward passes of a planner."""
        members, dtype = self._elites.to(self.device), getattr(torch, self.config.inference_dtype)
        self._elite_layers = self._network.select(members, mean_only=False, dtype=dtype)
        self._elite_mean_layers = self._network.select(members, mean_only=True, dtype=dtype)
        self._elite_bounds = self._network.min_logvar[members], self._network.max_logvar[members]

    def _change_units(self, new: Units) -> None:
        """Adopt new units; weights that were trained are rewritten so that they still say the same."""
        old, self._units = self._units, new
        if old is not None:
            scale = old.target_std / new.target_std
            self._network.change_units(
                new.input_std / old.input_std,
                (new.input_mean - old.input_mean) / old.input_std,
                scale,
                (old.target_mean - new.target_mean) / new.target_std,
            )

    def _train(
        self,
        inputs: Tensor,
        targets: Tensor,
        train_rows: NDArray[np.intp],
        held_rows: NDArray[np.intp],
        generator: np.random.Generator,
        progress: Callable[[], None] | None,
    ) -> Fit:
        units = self._ready()
        inputs = ((inputs - units.input_mean) / units.input_std).clamp_(-INPUT_CLIP, INPUT_CLIP)
        targets = (targets - units.target_mean) / units.target_std
        return train(self._network, inputs, targets, train_rows, held_rows, self.config, generator, progress)

    def _split(self, episode_id: NDArray[np.int64], generator: np.random.Generator) -> bool:
        """Choose the episodes to hold out; returns False if that breaks with what was trained on before."""
        config = self.config
        episodes, rows = np.unique(episode_id, return_counts=True)
        budget = min(config.holdout_fraction * rows.sum(), config.holdout_max)
        candidates = ~np.isin(episodes, self._known) | np.isin(episodes, self._held)
        goes_on = bool(candidates.any())
        if not goes_on:
            candidates = np.ones(len(episodes), np.bool_)
        self._held = holdout_episodes(episodes, rows, candidates, np.isin(episodes, self._known), budget, generator)
        self._known = np.union1d(self._known, episodes) if goes_on else episodes
        return goes_on


def holdout_episodes(
    episodes: NDArray[np.int64],
    rows: NDArray[np.intp],
    candidates: NDArray[np.bool_],
    known: NDArray[np.bool_],
    budget: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose which of the `candidates` to hold out, by whole episodes of `rows` rows each, within a budget of rows.

    Known and new episodes get shares of the budget in proportion to their rows, so that what is held out is like all
    the data. At least one episode is held out, one of the new ones where there are two, and one is left to train on.
    """
    chosen = np.zeros(len(episodes), np.bool_)
    for group in (~known, known):
        share = budget * rows[group].sum() / rows.sum()
        members = generator.permutation(np.flatnonzero(group & candidates))
        n_within = int(np.searchsorted(np.cumsum(rows[members]), share, side="right"))
        forced = int(group.sum() > 1 and not chosen.any())
        chosen[members[: max(n_within, forced)]] = True
    if not chosen.any():
        chosen[generator.choice(np.flatnonzero(candidates))] = True
    if chosen.all():
        chosen[np.flatnonzero(chosen)[-1]] = False
    return episodes[chosen]


def _check_columns(model: WorldModel, what: str, obs: Array, action: Array, next_obs: Array) -> None:
    n = len(obs)
    shapes = {"obs": (n, model.obs_dim), "action": (n, model.action_dim), "next_obs": (n, model.obs_dim)}
    require(n > 0, f"{what}: number of rows", n, "at least 1")
    for (name, shape), array in zip(shapes.items(), (obs, action, next_obs), strict=True):
        require(array.shape == shape, f"{what}: shape of {name}", array.shape, str(shape))
        require(bool(np.isfinite(array).all()), f"{what}: {name}", "not finite", "free of NaN and infinity")


def elite_std(target_mean: Tensor) -> Tensor:
    """Return the root mean variance over members of standardised means (K, N, n): shape (N,)."""
    # Not Tensor.var, which is ten times slower over a leading axis; by columns, which is how `infer` lays them out.
    columns = target_mean.mT
    return (columns - columns.mean(0)).square_().mean((0, 1)).sqrt()


def _spread(mean: Tensor, measure: str) -> Tensor:
    if measure == "max_deviation":
        return (mean - mean.mean(0)).norm(dim=-1).amax(0)
    if measure == "ensemble_std":
        return elite_std(mean)
    return (mean[:, None] - mean[None]).norm(dim=-1).amax((0, 1))


def _units(inputs: Tensor, targets: Tensor) -> Units:
    means_and_stds = []
    for values in (inputs.double(), targets.double()):
        std = values.std(0, correction=0)
        means_and_stds += [values.mean(0).float(), torch.where(std < SMALLEST_STD, 1.0, std).float()]
    return Units(*means_and_stds)


def _check_rows(model: WorldModel, obs: Array, action: Array, next_obs: Array, episode_id: NDArray[Any]) -> None:
    n = len(obs)
    _check_columns(model, "the model's data", obs, action, next_obs)
    require(np.shape(episode_id) == (n,), "the model's data: shape of episode_id", np.shape(episode_id), str((n,)))
    n_episodes, n_runs = len(np.unique(episode_id)), 1 + np.count_nonzero(np.diff(episode_id))
    require(n_episodes >= 2, "the model's data: number of episodes", n_episodes, "at least 2, one to hold out")
    require(n_runs == n_episodes, "the model's data: episode_id", "interleaved", "with the rows of an episode together")
