"""One more round of the first half: refine the model on source and target data, generate again, judge the old again.

The refined model has seen where the target task leads; what an earlier model was certain of may look different to it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from wombet import generation_work as work
from wombet.agent import Tick
from wombet.collection import joined, with_uncertainty
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.files import canonical_json
from wombet.filtering import Mask, Thresholds, threshold_mask
from wombet.gate import GateResult
from wombet.generation_card import DIGITS, candidate_entries
from wombet.generation_config import GenerationConfig
from wombet.generation_tools import (
    Planning,
    Tools,
    calibration_of,
    check_horizon,
    gate_of,
    generation_stages,
    rollout_tree,
    rollouts_of,
    source_returns,
)
from wombet.interaction import Meter
from wombet.rollouts import OpenEnv, Rollouts, Starts, model_uncertainty, rescored
from wombet.stages import Products, Stage, Stages
from wombet.streams import Streams
from wombet.task import Task

Keep = Literal["regenerate", "append"]
TARGET_EPISODES = 2**30
"""What is added to the target's episode ids, so that the model never takes them for the source's."""
OF_ONE_ARTEFACT = ("parts", "source", "files", "columns", "rows", "sha256", "format")
"""Entries of a card that tell of stored files, which those of the next round are not."""


@dataclass(frozen=True, eq=False)
class Round:
    """What a round of generation leaves to the next: the dataset and all that made it.

    `start_type` (one per trajectory of `dataset`) indexes `wombet.filtering.START_TYPES`; `source` holds all real
    source rows with their simulator states; the states are those of `wombet.generation.Generated`.
    """

    dataset: TransferDataset
    start_type: NDArray[np.int64]
    source: TransferDataset
    model_state: dict[str, Any]
    agent_state: dict[str, Any] | None

    @property
    def index(self) -> int:
        """How many iterations have followed the build: 0 for the build itself."""
        return len(self.dataset.card.get("iterations", []))

    @property
    def collected_rows(self) -> int:
        """How many of the source rows, the first ones, are of episodes that begin as the task's do."""
        stages = self.dataset.card["collection"]["stages"]
        return sum(group["steps"] for stage, group in stages.items() if stage != "calibration")

    def state(self) -> dict[str, Any]:
        """Return the round but for its agent, which no iteration changes, as a tree for `wombet.serialization`."""
        return {
            "dataset": self.dataset.columns(),
            "card": self.dataset.card,
            "start_type": self.start_type,
            "source": self.source.columns(),
            "model": self.model_state,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], agent_state: dict[str, Any] | None) -> "Round":
        """Return the round whose `state` this is."""
        dataset = TransferDataset(**state["dataset"], card=state["card"])
        source = TransferDataset(**state["source"])
        return cls(dataset, state["start_type"], source, state["model"], agent_state)

    def figures(self) -> dict[str, float]:
        """Return what curves over iterations show: how much was accepted and kept, and how certain the model is.

        acceptance: share of the newest candidates. kept: share of the trajectories before that passed again.
        offline_rows, offline_uncertainty: of the dataset. model_error: one-step, on held-out rows, in squared units of
        the targets' standard deviation.
        """
        card = self.dataset.card
        newest = card["iterations"][-1] if card.get("iterations") else card
        report = newest["model_report"] if "model_report" in newest else card["model_reports"][-1]
        again = newest.get("rescored", {"kept": 1, "trajectories": 1})
        return {
            "acceptance": float(newest["counts"]["acceptance"]),
            "kept": again["kept"] / again["trajectories"],
            "offline_rows": float(len(self.dataset)),
            "offline_uncertainty": float(self.dataset.uncertainty.mean(dtype=np.float64)),
            "model_error": float(report["ensemble_mse"]),
        }


def round_of(
    dataset: TransferDataset,
    source: TransferDataset,
    model_state: dict[str, Any],
    agent_state: dict[str, Any] | None,
) -> Round:
    """Return the round that a finished dataset is, built or iterated; `dataset.card` is the one it came with."""
    card = dataset.card
    if card.get("iterations"):
        types = np.array(card["iterations"][-1]["start_type"], np.int64)
    else:
        listed = card["trajectories"]
        types = np.array(listed["start_type"], np.int64)[np.array(listed["accepted"], np.bool_)]
    if len(types) != len(dataset.episode_starts):
        raise InputError(
            f"the dataset has {len(dataset.episode_starts)} trajectories and its card lists {len(types)}; give the "
            "accepted part of a build together with its own card"
        )
    return Round(dataset, types, source, model_state, agent_state)


class DataIteration:
    """Makes the next round from `before` and real rows of the target task; can be stopped anywhere, as a build can.

    `target` holds all rows met in the target task so far, with simulator states; from one iteration to the next it may
    only grow, so that an episode keeps its id. Candidates start in initial states of the source task and in visited
    states of both. Thresholds and gate rest on new real source rows, which are charged to `meter`.

    keep="regenerate" keeps of the trajectories accepted before those that pass again: uncertainty by the refined
    ensemble, and today's thresholds. "append" keeps all. In both, the whole dataset's uncertainty is the refined
    ensemble's, because a penalty on it is scaled by one quantile of the column. Raises InputError for rows that do not
    fit the task or lack simulator states, and if the meter cannot hold the steps.

    `number` (by default the next one) names the iteration's random streams; give it where an earlier iteration was
    refused, so that this one does not draw what that one drew.
    """

    def __init__(
        self,
        task: Task,
        open_env: OpenEnv,
        meter: Meter,
        config: GenerationConfig,
        streams: Streams,
        before: Round,
        target: TransferDataset,
        keep: Keep = "regenerate",
        device: str = "cpu",
        number: int | None = None,
    ) -> None:
        check_horizon(config, task)
        _check(task, target, keep)
        if meter.remaining < config.iteration_steps:
            raise InputError(
                f"an iteration of the recipe can take {config.iteration_steps} source steps and the meter holds "
                f"{meter.remaining:g}; give it a budget of that many more"
            )
        self.task, self.config, self.meter, self.before, self.target, self.keep = (
            task, config, meter, before, target, keep)  # fmt: skip
        self._tools = Tools(task, open_env, config, streams, device)
        self._number = before.index + 1 if number is None else number
        self._prefix = f"iteration {self._number} "
        self._stages = Stages(self._plan(), meter, {"model": None})

    @property
    def stage_names(self) -> list[str]:
        """The stages' names in order."""
        return self._stages.names

    @property
    def model_updates(self) -> int:
        """Gradient steps of the model so far."""
        return int(self._products["updates"])

    def run(self, tick: Tick) -> Round:
        """Go through the stages that are left and return the next round; its card tells of this one as an entry.

        Raises GateError if the refined model may not be used for imagination, AcceptanceError if too little passes.
        """
        self._stages.run(tick)
        return self._finish()

    def progress(self) -> tuple[int, int]:
        """Return how much is done and how much there is, in units of `wombet.generation_work`."""
        return self._stages.progress()

    def state(self) -> dict[str, Any]:
        """Return a tree from which a new iteration of the same round and target rows goes on."""
        return self._stages.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state in an iteration that was just made, and set the meter to the state's count."""
        self._stages.restore(state)

    def _plan(self) -> list[Stage]:
        ticks, unit = work.fit_ticks(self.config), work.fit_tick(self.config, self.task)
        fit = Stage(f"{self._prefix}fit", self._fit, ticks, unit)
        starts = Stage(f"{self._prefix}starts", self._draw_starts, 1, 1)
        runs = self._calibrate, self._pass_gate, self._generate
        return [fit, starts, *generation_stages(self.config, self.task, self._prefix, runs)]

    @property
    def _products(self) -> Products:
        return self._stages.products

    def _fit(self, stage: str, tick: Tick) -> Products:
        model, source, target = self._tools.model(self.before.model_state), self.before.source, self.target
        progress = self._stages.teller(tick)
        progress()
        obs, action, next_obs = (
            np.concatenate([getattr(source, name), getattr(target, name)]) for name in ("obs", "action", "next_obs")
        )
        episodes = np.concatenate([source.episode_id, target.episode_id + np.int32(TARGET_EPISODES)])
        generator = self._tools.streams.numpy(stage)
        report = model.fit(obs, action, next_obs, episodes, generator, progress=progress)
        return {"model": model.state(), "report": report, "updates": self._products["updates"] + report["steps"]}

    def _draw_starts(self, stage: str, tick: Tick) -> Products:
        counts = {"candidates": self.config.n_trajectories, "calibration": self.config.calibration_trajectories}
        rows = joined([self.before.source, self.target])
        return {"starts": {name: vars(self._tools.starts(f"{stage} {name}", n, rows)) for name, n in counts.items()}}

    def _calibrate(self, stage: str, tick: Tick) -> Products:
        steps, progress = self.config.calibrated_steps, self._stages.teller(tick)
        rollouts = self._tools.execute(stage, self._planning(), self._starts("calibration"), steps, progress)
        return calibration_of(self.config, rollouts)

    def _pass_gate(self, stage: str, tick: Tick) -> Products:
        steps, progress = self.config.calibrated_steps, self._stages.teller(tick)
        starts = self._starts("calibration")
        rollouts = self._tools.imagine(stage, self._planning(), starts, steps, float("inf"), progress)
        return gate_of(self.config, rollouts_of(self._products["calibration"]), rollouts)

    def _generate(self, stage: str, tick: Tick) -> Products:
        length, progress, starts = self.config.trajectory_steps, self._stages.teller(tick), self._starts("candidates")
        if self.config.rollouts == "executed":
            return {"candidates": rollout_tree(self._tools.execute(stage, self._planning(), starts, length, progress))}
        hard_stop = self._products["thresholds"]["hard_stop"]
        rollouts = self._tools.imagine(stage, self._planning(), starts, length, hard_stop, progress)
        return {"candidates": rollout_tree(rollouts)}

    def _finish(self) -> Round:
        tools, limits, before = self._tools, self._products["thresholds"], self.before
        rollouts, planning = rollouts_of(self._products["candidates"]), self._planning()
        candidates = rollouts.candidates()
        floor = source_returns(before.source, self.config.trajectory_steps, before.collected_rows)
        accepted, thresholds, venn = tools.judge(f"{self._prefix}filter", candidates, limits["uncertainty"], floor)
        old, passed = self._rescored(planning, thresholds)
        stays = passed if self.keep == "regenerate" else np.ones_like(passed)
        parts = [part for part in (old.select(stays), rollouts.select(accepted)) if len(part)]
        kinds = np.concatenate([old.start_type[stays], rollouts.start_type[accepted]])
        entry = {
            "gate": GateResult(**self._products["gate"]).to_json() if "gate" in self._products else None,
            "penalty": planning.penalty,
            **candidate_entries(candidates, np.zeros_like(accepted), accepted, thresholds, limits["hard_stop"], venn),
            "rescored": self._rescored_entry(old, passed, stays),
            "start_type": kinds.tolist(),
        }
        dataset = joined(parts)
        dataset = TransferDataset(**dataset.columns(), card=self._card(entry, dataset))
        dataset.validate(self.task)
        source = joined([before.source, rollouts_of(self._products["calibration"]).data])
        source = with_uncertainty(source, model_uncertainty(planning.model, source.obs, source.action))
        return Round(dataset, kinds, source, self._products["model"], before.agent_state)

    def _rescored(self, planning: Planning, thresholds: Thresholds) -> tuple[Rollouts, Mask]:
        """Return what was accepted before with the refined model's uncertainty, and which of it passes the filter."""
        data = self.before.dataset
        steps = np.diff([*data.episode_starts, len(data)]).astype(np.int64)
        old = rescored(Rollouts(data, steps, self.before.start_type), planning.model)
        return old, threshold_mask(old.candidates(), self.config.filter_rule, thresholds)

    def _rescored_entry(self, old: Rollouts, passed: Mask, stays: Mask) -> dict[str, Any]:
        data = self.before.dataset
        return {
            "trajectories": len(passed),
            "passed": int(passed.sum()),
            "kept": int(stays.sum()),
            "kept_rows": int(old.steps[stays].sum()),
            "uncertainty_before": round(float(data.uncertainty.mean(dtype=np.float64)), DIGITS),
            "uncertainty_after": round(float(old.data.uncertainty.mean(dtype=np.float64)), DIGITS),
        }

    def _card(self, entry: Mapping[str, Any], dataset: TransferDataset) -> dict[str, Any]:
        old, spent, n_target = self.before.dataset.card, self._products["spent"], len(self.target)
        told = {
            "iteration": self._number,
            "keep": self.keep,
            "target": {
                "steps": n_target,
                "episodes": len(self.target.episode_starts),
                "share_of_visited_states": round(n_target / (n_target + len(self.before.source)), DIGITS),
            },
            "source_steps": {"total": sum(spent.values()), "by_stage": dict(spent)},
            "model_report": self._products["report"],
            **entry,
            "dataset": {"trajectories": len(dataset.episode_starts), "rows": len(dataset)},
        }
        steps = old["source_steps"]
        card = {
            **{name: value for name, value in old.items() if name not in OF_ONE_ARTEFACT},
            "source_steps": {
                "total": steps["total"] + sum(spent.values()),
                "by_stage": {**steps["by_stage"], **spent},
            },
            "iterations": [*old.get("iterations", []), told],
        }
        return dict(json.loads(canonical_json(card)))

    def _starts(self, which: str) -> Starts:
        return Starts(**self._products["starts"][which])

    def _planning(self) -> Planning:
        model = self._tools.model(self._products["model"])
        penalty = self._tools.penalty(model, self.before.source)
        return Planning(model, penalty, self._tools.guide(self.before.agent_state))


def _check(task: Task, target: TransferDataset, keep: str) -> None:
    if keep not in get_args(Keep):
        raise InputError(f"keep is {keep!r}; it must be one of {', '.join(get_args(Keep))}")
    target.validate()
    if (target.obs.shape[1], target.action.shape[1]) != (task.obs_dim, task.action_dim):
        raise InputError(
            f"the target rows have {target.obs.shape[1]} observation and {target.action.shape[1]} action entries, but "
            f"task {task.id} has {task.obs_dim} and {task.action_dim}; use rows of the same family"
        )
    if target.sim_state is None:
        raise InputError("the target rows have no simulator states; collect them through wombet.collection.recorded")
    if target.episode_id.min() < 0 or target.episode_id.max() >= TARGET_EPISODES:
        raise InputError(f"the target rows' episode ids must be between 0 and {TARGET_EPISODES - 1}")
