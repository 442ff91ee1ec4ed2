"""From a recipe to a transfer dataset: collect in the source task, fit the model, generate with the planner, filter.

The phases are the first five lines of the paper's algorithm box; each is a stage of `TransferDataBuilder`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wombet.agent import Tick, TransferAgent
from wombet.collection import joined, planned_episodes, random_episodes, recorded, with_uncertainty
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.filtering import (
    Thresholds,
    check_acceptance,
    matched_mask,
    return_thresholds,
    threshold_mask,
    venn_counts,
)
from wombet.gate import GateResult, calibrate, check_gate, compare
from wombet.generation_card import candidate_entries, card_of, collection_entries
from wombet.generation_config import GenerationConfig
from wombet.interaction import Meter, MeteredEnv
from wombet.planner import Guide, Planner, calibrated_penalty
from wombet.rollouts import OpenEnv, Rollouts, Starts, executed, imagined, model_uncertainty
from wombet.streams import Streams
from wombet.task import Task
from wombet.world_model import WorldModel

__all__ = ["Generated", "GenerationConfig", "TransferDataBuilder"]

Products = dict[str, Any]
Stage = Callable[[str, Tick], Products]


@dataclass(frozen=True, eq=False)
class Generated:
    """What a recipe gives: the accepted trajectories and all that made them.

    `dataset` has the source task's labels and carries `card`. `source` holds every real row that was collected, with
    the final model's uncertainty. `model_state` is a `WorldModel.state()`; `agent_state` a `TransferAgent.state()`, or
    None where no agent collected.
    """

    dataset: TransferDataset
    source: TransferDataset
    model_state: dict[str, Any]
    agent_state: dict[str, Any] | None
    card: dict[str, Any]


class TransferDataBuilder:
    """Builds the transfer dataset of one source task, stage by stage, so that it can be stopped anywhere and go on.

    `open_env(name)` opens a source environment charged to `meter` whose resets are seeded by the name. A stage draws
    only from streams named after it and changes nothing before it is complete, so that one that was stopped is begun
    again with the same bytes; the source agent alone, the longest stage, goes on in its middle.
    Raises InputError if the config is for another horizon, or if the meter cannot hold its steps.
    """

    def __init__(
        self,
        task: Task,
        open_env: OpenEnv,
        meter: Meter,
        config: GenerationConfig,
        streams: Streams,
        device: str = "cpu",
    ) -> None:
        if config.max_episode_steps != task.horizon:
            raise InputError(
                f"the recipe is for episodes of {config.max_episode_steps} steps and those of {task.id} have "
                f"{task.horizon}; use a profile of that horizon"
            )
        if meter.remaining < config.required_steps:
            raise InputError(
                f"the recipe can take {config.required_steps} source steps and the meter holds {meter.remaining:g}; "
                f"give it a budget of {config.source_steps}"
            )
        self.task, self.open_env, self.meter = task, open_env, meter
        self.config, self.streams, self.device = config, streams, device
        self._products: Products = {
            "source": [],
            "spent": {},
            "reports": [],
            "model": None,
            "agent": None,
            "updates": 0,
        }
        self._done = 0
        self._meter_before = meter.count
        self._live: tuple[TransferAgent, MeteredEnv] | None = None
        self._resume: dict[str, Any] | None = None

    def stages(self) -> list[tuple[str, Stage]]:
        """The stages in order, by name."""
        config = self.config
        stages: list[tuple[str, Stage]] = [("random", self._collect_random)]
        if config.guided:
            stages.append(("agent", self._collect_by_agent))
        for i in range(config.refits if config.planned_episodes else 0):
            stages += [(f"fit {i}", self._fit), (f"plan {i}", self._collect_planned)]
        stages += [("final fit", self._fit), ("starts", self._draw_starts), ("calibration", self._calibrate)]
        if config.rollouts == "imagined":
            stages.append(("gate", self._pass_gate))
        return [*stages, ("generation", self._generate)]

    def run(self, tick: Tick) -> Generated:
        """Go through the stages that are left and return the result.

        `tick` is called after every unit of progress; inside it `state()` may be called, and it may raise to stop.
        Raises GateError if the model may not be used for imagination, AcceptanceError if too little passes the filter.
        """
        for name, stage in self.stages()[self._done :]:
            self._meter_before = self.meter.count
            made = stage(name, tick)
            self._products = {**self._products, **made}
            spent = self.meter.count - self._meter_before
            self._products["spent"] = {**self._products["spent"], name: self._products["spent"].get(name, 0) + spent}
            self._done, self._live, self._meter_before = self._done + 1, None, self.meter.count
            self._progress(tick)()
        return self._filter()

    def state(self) -> dict[str, Any]:
        """Return a tree from which a new builder of the same recipe goes on, the meter's count included."""
        state = {"done": self._done, "products": self._products, "meter": self._meter_before, "live": None}
        if self._live is not None:
            agent, env = self._live
            state["live"] = {"agent": agent.state(), "env": env.state(), "meter": self.meter.count}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state in a builder that was just built, and set the meter to the state's count."""
        self._done, self._products = state["done"], dict(state["products"])
        self.meter.count = self._meter_before = state["meter"]
        self._live, self._resume = None, state["live"]

    def _collect_random(self, stage: str, tick: Tick) -> Products:
        env = self.open_env(stage)
        generator = self.streams.numpy(stage)
        rows = random_episodes(env, self.task, self.config.random_steps, generator, self._progress(tick))
        env.close()
        return self._with_source(stage, [rows])

    def _collect_by_agent(self, stage: str, tick: Tick) -> Products:
        env, agent = self.open_env(stage), self._new_agent()
        recorder = recorded(env)
        if self._resume is not None:
            agent.restore(self._resume["agent"])
            env.restore(self._resume["env"])
            self.meter.count = self._resume["meter"]
            self._resume = None
        self._live = agent, env
        agent.finetune(env, until=self.config.agent_steps, tick=tick)
        made = {"agent": agent.state(), "updates": agent.updates}
        rows = recorder.take(self.task)
        env.close()
        return {**made, **self._with_source(stage, [rows])}

    def _fit(self, stage: str, tick: Tick) -> Products:
        model, rows = self._model(), self._source()
        self._progress(tick)()
        report = model.fit(rows.obs, rows.action, rows.next_obs, rows.episode_id, self.streams.numpy(stage))
        reports = [*self._products["reports"], {"stage": stage, **report}]
        return {"model": model.state(), "reports": reports, "updates": self._products["updates"] + report["steps"]}

    def _collect_planned(self, stage: str, tick: Tick) -> Products:
        n = self.config.planned_episodes
        envs = self._open(stage, n)
        generator, noise = self.streams.numpy(stage), np.zeros(n, np.float32)
        planner = self._planner(stage, self._model())
        parts = planned_episodes(
            envs, self.task, planner, None, self.task.horizon, noise, generator, self._progress(tick)
        )
        self._close(envs)
        return self._with_source(stage, parts)

    def _draw_starts(self, stage: str, tick: Tick) -> Products:
        counts = {"candidates": self.config.n_trajectories, "calibration": self.config.calibration_trajectories}
        return {"starts": {name: vars(self._starts(f"{stage} {name}", n)) for name, n in counts.items()}}

    def _calibrate(self, stage: str, tick: Tick) -> Products:
        rollouts = self._execute(stage, "calibration", self._calibration_steps, tick)
        factors = self.config.uncertainty_factor, self.config.hard_stop_factor
        threshold, hard_stop = calibrate(rollouts.data.uncertainty, *factors)
        made = {
            "calibration": _rollout_tree(rollouts),
            "thresholds": {"uncertainty": threshold, "hard_stop": hard_stop},
        }
        return {**made, **self._with_source(stage, [rollouts.data])}

    def _pass_gate(self, stage: str, tick: Tick) -> Products:
        rollouts = self._imagine(stage, "calibration", self._calibration_steps, float("inf"), tick)
        real = _rollouts(self._products["calibration"])
        result = compare(real, rollouts, self._calibration_steps, self.config.gate_tolerance)
        check_gate(result)
        return {"gate": vars(result)}

    def _generate(self, stage: str, tick: Tick) -> Products:
        length = self.config.trajectory_steps
        if self.config.rollouts == "executed":
            return {"candidates": _rollout_tree(self._execute(stage, "candidates", length, tick))}
        hard_stop = self._products["thresholds"]["hard_stop"]
        return {"candidates": _rollout_tree(self._imagine(stage, "candidates", length, hard_stop, tick))}

    def _filter(self) -> Generated:
        config, products = self.config, self._products
        rollouts = _rollouts(products["candidates"])
        candidates = rollouts.candidates()
        thresholds = Thresholds(
            products["thresholds"]["uncertainty"],
            return_thresholds(candidates, self._source_returns()),
            min(config.min_return_steps, config.trajectory_steps),
        )
        venn = venn_counts(candidates, thresholds)
        if config.selection == "matched":
            count = round(config.matched_fraction * len(candidates))
            accepted = matched_mask(candidates, config.filter_rule, count, self.streams.numpy("filter"))
        else:
            accepted = threshold_mask(candidates, config.filter_rule, thresholds)
        check_acceptance(accepted, config.minimum_acceptance, venn)
        made = {
            "collection": collection_entries(
                [(part["stage"], _dataset(part["columns"])) for part in products["source"]]
            ),
            "gate": GateResult(**products["gate"]).to_json() if "gate" in products else None,
            "penalty": self._penalty(self._model()),
            **candidate_entries(candidates, accepted, thresholds, products["thresholds"]["hard_stop"], venn),
        }
        card = card_of(self.task, config, self.streams.seed, products, made)
        kept = rollouts.select(accepted)
        dataset = TransferDataset(**kept.columns(), card=card)
        dataset.validate(self.task)
        model, source = self._model(), self._source()
        source = with_uncertainty(source, model_uncertainty(model, source.obs, source.action))
        return Generated(dataset, source, products["model"], products["agent"], card)

    @property
    def _calibration_steps(self) -> int:
        return min(self.config.calibration_steps, self.config.trajectory_steps)

    def _progress(self, tick: Tick) -> Callable[[], None]:
        return lambda: tick(updates=self._products["updates"], metrics=self._metrics)

    def _metrics(self) -> dict[str, float]:
        return {"stage": float(self._done), "source_steps": float(self.meter.count)}

    def _with_source(self, stage: str, parts: list[TransferDataset]) -> Products:
        new = [{"stage": stage, "columns": part.columns()} for part in parts]
        return {"source": [*self._products["source"], *new]}

    def _source(self) -> TransferDataset:
        return joined([_dataset(part["columns"]) for part in self._products["source"]])

    def _source_returns(self) -> tuple[float, float]:
        """Mean reward per step of the source data: near the beginning of episodes, and anywhere."""
        rows = self._source()
        age = np.arange(len(rows)) - np.repeat(rows.episode_starts, np.diff([*rows.episode_starts, len(rows)]))
        stages = [part["stage"] for part in self._products["source"] for _ in range(len(part["columns"]["obs"]))]
        collected = np.array([stage != "calibration" for stage in stages])
        reward = rows.reward_source.astype(np.float64)
        early = collected & (age < self.config.trajectory_steps)
        return float(reward[early].mean()), float(reward[collected].mean())

    def _new_agent(self) -> TransferAgent:
        streams = self.streams.child("source agent")
        return TransferAgent(
            self.task.obs_dim, self.task.action_dim, self.config.agent, streams, dataset=None, device=self.device
        )

    def _model(self) -> WorldModel:
        model = WorldModel(
            self.task.obs_dim,
            self.task.action_dim,
            self.config.world_model,
            self.streams.torch("world model"),
            n_rates=self.task.n_rates,
            angle_indices=self.task.angle_indices,
            device=self.device,
        )
        if self._products["model"] is not None:
            model.restore(self._products["model"])
        return model

    def _guide(self) -> Guide | None:
        if self._products["agent"] is None:
            return None
        agent = self._new_agent()
        agent.restore(self._products["agent"])
        return agent.learner

    def _penalty(self, model: WorldModel) -> float:
        mean_reward = float(np.abs(self._source().reward_source).mean(dtype=np.float64))
        return calibrated_penalty(self.config.planner.penalty_scale, mean_reward, model.report["uncertainty"]["q95"])

    def _planner(self, stage: str, model: WorldModel) -> Planner:
        generator = self.streams.torch(stage, "planner")
        return Planner(model, self.task, self.config.planner, self._penalty(model), generator, self._guide())

    def _open(self, stage: str, n: int) -> list[MeteredEnv]:
        return [self.open_env(f"{stage} {i}") for i in range(n)]

    def _close(self, envs: list[MeteredEnv]) -> None:
        for env in envs:
            env.close()

    def _starts(self, name: str, n: int) -> Starts:
        generator, rows = self.streams.numpy(name), self._source()
        n_initial = round(self.config.initial_fraction * n)
        env = self.open_env(name)
        drawn = [(env.reset()[0], env.sim_state) for _ in range(n_initial)]
        env.close()
        visited = generator.integers(0, len(rows), n - n_initial)
        assert rows.sim_state is not None
        obs = np.concatenate([np.reshape([o for o, _ in drawn], (n_initial, self.task.obs_dim)), rows.obs[visited]])
        obs[:, : self.task.n_rates] = 0
        states = np.reshape([s for _, s in drawn], (n_initial, rows.sim_state.shape[1]))
        noise = generator.uniform(0, self.config.action_noise, n).astype(np.float32)
        kinds = np.repeat(np.array([0, 1]), [n_initial, n - n_initial])
        return Starts(obs.astype(np.float32), np.concatenate([states, rows.sim_state[visited]]), kinds, noise)

    def _execute(self, stage: str, which: str, length: int, tick: Tick) -> Rollouts:
        starts, model = Starts(**self._products["starts"][which]), self._model()
        envs = self._open(stage, min(self.config.n_parallel, len(starts)))
        planner, generator = self._planner(stage, model), self.streams.numpy(stage)
        rollouts = executed(model, self.task, planner, starts, length, envs, generator, self._progress(tick))
        self._close(envs)
        return rollouts

    def _imagine(self, stage: str, which: str, length: int, hard_stop: float, tick: Tick) -> Rollouts:
        starts, model = Starts(**self._products["starts"][which]), self._model()
        planner, generator = self._planner(stage, model), self.streams.numpy(stage)
        return imagined(model, self.task, planner, starts, length, hard_stop, generator, self._progress(tick))


def _dataset(columns: Mapping[str, Any]) -> TransferDataset:
    return TransferDataset(**columns)


def _rollout_tree(rollouts: Rollouts) -> dict[str, Any]:
    return {"columns": rollouts.data.columns(), "steps": rollouts.steps, "start_type": rollouts.start_type}


def _rollouts(tree: Mapping[str, Any]) -> Rollouts:
    return Rollouts(_dataset(tree["columns"]), tree["steps"], tree["start_type"])
