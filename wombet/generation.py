"""From a recipe to a transfer dataset: collect in the source task, fit the model, generate with the planner, filter.

The phases are the first five lines of the paper's algorithm box; each is a stage of `TransferDataBuilder`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wombet import generation_work as work
from wombet.agent import Tick
from wombet.collection import joined, planned_episodes, random_episodes, recorded, with_uncertainty
from wombet.controls import PolicyPilot, control_parts, matched_parts, part_entries, policy_rollouts, taken
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.filtering import Mask
from wombet.gate import GateResult
from wombet.generation_card import candidate_entries, card_of, collection_entries
from wombet.generation_config import GenerationConfig
from wombet.generation_tools import (
    Planning,
    Tools,
    calibration_of,
    check_horizon,
    close,
    early_candidates,
    gate_of,
    generation_stages,
    rollout_tree,
    rollouts_of,
    source_returns,
)
from wombet.interaction import Meter
from wombet.rollouts import OpenEnv, Rollouts, Starts, merged, model_uncertainty, rescored
from wombet.stages import Products, Stage, Stages
from wombet.streams import Streams
from wombet.task import Task
from wombet.world_model import WorldModel

__all__ = ["Generated", "GenerationConfig", "TransferDataBuilder"]


@dataclass(frozen=True, eq=False)
class Generated:
    """What a recipe gives: the accepted trajectories and all that made them.

    `dataset` has the source task's labels and carries `card`. `source` holds every real row that was collected, with
    the final model's uncertainty. `model_state` is a `WorldModel.state()`; `agent_state` a `TransferAgent.state()`, or
    None where no agent collected. `parts` are the controls' data by name, see `wombet.controls`.
    """

    dataset: TransferDataset
    source: TransferDataset
    model_state: dict[str, Any]
    agent_state: dict[str, Any] | None
    card: dict[str, Any]
    parts: dict[str, TransferDataset] = field(default_factory=dict)


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
        check_horizon(config, task)
        if meter.remaining < config.required_steps:
            raise InputError(
                f"the recipe can take {config.required_steps} source steps and the meter holds {meter.remaining:g}; "
                f"give it a budget of {config.source_steps}"
            )
        self.task, self.config, self.meter = task, config, meter
        self._tools = Tools(task, open_env, config, streams, device)
        nothing: Products = {"source": [], "reports": [], **dict.fromkeys(("model", "agent", "early", "off_policy"))}
        self._stages = Stages(self._plan(), meter, nothing)

    @property
    def stage_names(self) -> list[str]:
        """The stages' names in order."""
        return self._stages.names

    def run(self, tick: Tick) -> Generated:
        """Go through the stages that are left and return the result.

        `tick` is called after every unit of progress; inside it `state()` may be called, and it may raise to stop.
        Raises GateError if the model may not be used for imagination, AcceptanceError if too little passes the filter.
        """
        self._stages.run(tick)
        return self._filter()

    def progress(self) -> tuple[int, int]:
        """Return how much is done and how much there is, in units of `wombet.generation_work`."""
        return self._stages.progress()

    def state(self) -> dict[str, Any]:
        """Return a tree from which a new builder of the same recipe goes on, the meter's count included."""
        return self._stages.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state in a builder that was just built, and set the meter to the state's count."""
        self._stages.restore(state)

    def _plan(self) -> list[Stage]:
        config, task = self.config, self.task
        fit, fit_ticks, steps = work.fit_tick(config, task), work.fit_ticks(config), config.trajectory_steps
        stages = [Stage("random", self._collect_random, config.random_steps, work.REAL_STEP)]
        if config.off_policy_steps:
            stages.append(Stage("off policy", self._collect_off_policy, config.off_policy_steps, work.REAL_STEP))
        if config.guided:
            agent_step = work.agent_step(config, task)
            stages.append(Stage("agent", self._collect_by_agent, config.agent_steps, agent_step))
        if config.early_fraction:
            stages.append(Stage("early fit", self._fit_early, fit_ticks, fit))
        for i in range(config.refits if config.planned_episodes else 0):
            planned = work.planned_step(config, task, config.planned_episodes)
            stages.append(Stage(f"fit {i}", self._fit, fit_ticks, fit))
            stages.append(Stage(f"plan {i}", self._collect_planned, config.max_episode_steps, planned))
        stages += [Stage("final fit", self._fit, fit_ticks, fit), Stage("starts", self._draw_starts, 1, 1)]
        stages += generation_stages(config, task, "", (self._calibrate, self._pass_gate, self._generate))
        if config.guided:
            policy_step = work.policy_step(config, task, config.n_trajectories)
            stages.append(Stage("policy", self._follow_policy, steps, policy_step))
        return stages

    @property
    def _products(self) -> Products:
        return self._stages.products

    def _collect_random(self, stage: str, tick: Tick) -> Products:
        return self._with_source(stage, [self._random_rows(stage, self.config.random_steps, tick)])

    def _collect_off_policy(self, stage: str, tick: Tick) -> Products:
        """Collect what no model is ever trained on: charged to the budget, and no part of the source rows."""
        return {"off_policy": self._random_rows(stage, self.config.off_policy_steps, tick).columns()}

    def _random_rows(self, stage: str, steps: int, tick: Tick) -> TransferDataset:
        env, generator = self._tools.open_env(stage), self._tools.streams.numpy(stage)
        rows = random_episodes(env, self.task, steps, generator, self._stages.teller(tick))
        env.close()
        return rows

    def _collect_by_agent(self, stage: str, tick: Tick) -> Products:
        env, agent = self._tools.open_env(stage), self._tools.agent()
        recorder, early = recorded(env), None
        resumed = self._stages.resumed()
        if resumed is not None:
            agent.restore(resumed["agent"])
            env.restore(resumed["env"])
            early = resumed["early"]
        self._stages.live = lambda: {"agent": agent.state(), "env": env.state(), "early": early}
        if self.config.early_fraction and early is None:
            agent.finetune(env, until=self.config.early_agent_steps, tick=tick)
            early = agent.state()
        agent.finetune(env, until=self.config.agent_steps, tick=tick)
        made = {"agent": agent.state(), "updates": agent.updates, "early": {"agent": early}}
        rows = recorder.take(self.task)
        env.close()
        return {**made, **self._with_source(stage, [rows])}

    def _fit_early(self, stage: str, tick: Tick) -> Products:
        """Fit a model to what there was before the agent, or when the agent was what `early` has of it."""
        parts = [TransferDataset(**part["columns"]) for part in self._products["source"]]
        if self.config.guided:
            episodes = np.arange(len(parts[1].episode_starts))
            parts[1] = taken(parts[1], episodes, self.config.early_agent_steps)
        rows, model = joined(parts), self._tools.model(name="early world model")
        report = self._fit_rows(model, rows, stage, tick)
        agent = self._products["early"]["agent"] if self.config.guided else None
        early = {"model": model.state(), "agent": agent, "penalty": self._tools.penalty(model, rows)}
        return {"early": early, **self._with_report(stage, report)}

    def _fit(self, stage: str, tick: Tick) -> Products:
        model = self._tools.model(self._products["model"])
        report = self._fit_rows(model, self._source(), stage, tick)
        return {"model": model.state(), **self._with_report(stage, report)}

    def _fit_rows(self, model: WorldModel, rows: TransferDataset, stage: str, tick: Tick) -> dict[str, Any]:
        """Fit a model to rows, and judge it on the off-policy rows too."""
        other = self._products["off_policy"]
        judged = None if other is None else (other["obs"], other["action"], other["next_obs"])
        generator, progress = self._tools.streams.numpy(stage), self._stages.teller(tick)
        progress()
        return model.fit(rows.obs, rows.action, rows.next_obs, rows.episode_id, generator, judged, progress)

    def _collect_planned(self, stage: str, tick: Tick) -> Products:
        n = self.config.planned_episodes
        envs = self._tools.open(stage, n)
        generator, noise = self._tools.streams.numpy(stage), np.zeros(n, np.float32)
        planner = self._tools.planner(stage, self._planning())
        parts = planned_episodes(
            envs, self.task, planner, None, self.task.horizon, noise, generator, self._stages.teller(tick)
        )
        close(envs)
        return self._with_source(stage, parts)

    def _draw_starts(self, stage: str, tick: Tick) -> Products:
        counts = {"candidates": self.config.n_trajectories, "calibration": self.config.calibration_trajectories}
        rows = self._source()
        return {"starts": {name: vars(self._tools.starts(f"{stage} {name}", n, rows)) for name, n in counts.items()}}

    def _calibrate(self, stage: str, tick: Tick) -> Products:
        starts, progress = self._starts("calibration"), self._stages.teller(tick)
        rollouts = self._tools.execute(stage, self._planning(), starts, self.config.calibrated_steps, progress)
        return {**calibration_of(self.config, rollouts), **self._with_source(stage, [rollouts.data])}

    def _pass_gate(self, stage: str, tick: Tick) -> Products:
        starts, progress = self._starts("calibration"), self._stages.teller(tick)
        steps = self.config.calibrated_steps
        rollouts = self._tools.imagine(stage, self._planning(), starts, steps, float("inf"), progress)
        return gate_of(self.config, rollouts_of(self._products["calibration"]), rollouts)

    def _generate(self, stage: str, tick: Tick) -> Products:
        starts, early = self._starts("candidates"), self._early()
        if not early.any():
            return {"candidates": rollout_tree(self._rollouts(stage, self._planning(), starts, tick))}
        late = self._rollouts(stage, self._planning(), starts[~early], tick)
        beginner = self._rollouts(f"{stage} early", self._early_planning(), starts[early], tick)
        # One model judges the whole pool: what is uncertain to the early one is so by another measure.
        beginner = rescored(beginner, self._tools.model(self._products["model"]))
        return {"candidates": rollout_tree(merged(late, beginner, early))}

    def _rollouts(self, stage: str, planning: Planning, starts: Starts, tick: Tick) -> Rollouts:
        length, progress = self.config.trajectory_steps, self._stages.teller(tick)
        if self.config.rollouts == "executed":
            return self._tools.execute(stage, planning, starts, length, progress)
        hard_stop = self._products["thresholds"]["hard_stop"]
        return self._tools.imagine(stage, planning, starts, length, hard_stop, progress)

    def _follow_policy(self, stage: str, tick: Tick) -> Products:
        policy = self._tools.guide(self._products["agent"])
        assert policy is not None
        model, generator = self._tools.model(self._products["model"]), self._tools.streams.torch(stage, "actions")
        rollouts = policy_rollouts(
            PolicyPilot(model, policy, generator),
            self.task,
            self._starts("candidates"),
            self.config.trajectory_steps,
            self._products["thresholds"]["hard_stop"],
            self._tools.streams.numpy(stage),
            self._stages.teller(tick),
        )
        return {"policy": rollouts.data.columns()}

    def _filter(self) -> Generated:
        products, tools = self._products, self._tools
        rollouts, planning = rollouts_of(products["candidates"]), self._planning()
        candidates, limits = rollouts.candidates(), products["thresholds"]
        accepted, thresholds, venn = tools.judge("filter", candidates, limits["uncertainty"], self._source_returns())
        kept, source = rollouts.select(accepted), self._source()
        source = with_uncertainty(source, model_uncertainty(planning.model, source.obs, source.action))
        policy = TransferDataset(**products["policy"]) if "policy" in products else None
        parts = control_parts(rollouts.data, source, policy, len(kept), tools.streams.numpy("parts"))
        parts |= matched_parts(rollouts, self.config.matched_fraction, tools.streams.numpy("filter"))
        made = {
            "collection": collection_entries(
                [(part["stage"], TransferDataset(**part["columns"])) for part in products["source"]]
            ),
            "gate": GateResult(**products["gate"]).to_json() if "gate" in products else None,
            "penalty": planning.penalty,
            **candidate_entries(candidates, self._early(), accepted, thresholds, limits["hard_stop"], venn),
            "parts": part_entries([("accepted", kept), *parts.items()], len(kept)),
        }
        card = card_of(self.task, self.config, tools.streams.seed, products, made)
        dataset = TransferDataset(**kept.columns(), card=card)
        for part in (dataset, *parts.values()):
            part.validate(self.task)
        return Generated(dataset, source, products["model"], products["agent"], card, parts)

    def _with_report(self, stage: str, report: dict[str, Any]) -> Products:
        reports = [*self._products["reports"], {"stage": stage, **report}]
        return {"reports": reports, "updates": self._products["updates"] + report["steps"]}

    def _with_source(self, stage: str, parts: Sequence[TransferDataset]) -> Products:
        new = [{"stage": stage, "columns": part.columns()} for part in parts]
        return {"source": [*self._products["source"], *new]}

    def _source(self) -> TransferDataset:
        return joined([TransferDataset(**part["columns"]) for part in self._products["source"]])

    def _source_returns(self) -> tuple[float, float]:
        collected = [part for part in self._products["source"] if part["stage"] != "calibration"]
        rows = joined([TransferDataset(**part["columns"]) for part in collected])
        return source_returns(rows, self.config.trajectory_steps)

    def _starts(self, which: str) -> Starts:
        return Starts(**self._products["starts"][which])

    def _early(self) -> Mask:
        return early_candidates(self._starts("candidates").type, self.config.early_fraction)

    def _planning(self) -> Planning:
        model, source = self._tools.model(self._products["model"]), self._source()
        return Planning(model, self._tools.penalty(model, source), self._tools.guide(self._products["agent"]))

    def _early_planning(self) -> Planning:
        early = self._products["early"]
        return Planning(self._tools.model(early["model"]), early["penalty"], self._tools.guide(early["agent"]))
