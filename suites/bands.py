"""Stored runs of native tasks against published learning curves: pass, fail, or not comparable and why."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from suites.store import StoredRun
from wombet.errors import InputError
from wombet.files import canonical_json

BANDS = Path(__file__).with_name("bands.toml")
NATIVE = "native/"
LEAST_SEEDS = 3
"""Fewer seeds are no mean to compare."""
PUBLISHED_HORIZON = 1000

Verdict = Literal["pass", "fail", "not comparable"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Part):
    """A published mean and standard deviation over seeds after some steps, and the band made of them."""

    steps: int
    mean: float
    sd: float
    lo: float
    hi: float


class Curve(_Part):
    """A published learning curve: of which methods, on which environment and version, from where, measured how."""

    methods: list[str]
    environment: str
    version: str
    source: str
    protocol: str
    seeds: int
    points: list[Point]


class Difference(_Part):
    """What sets older versions of an environment apart from v5, so that their returns are not those of v5."""

    environment: str
    versions: list[str]
    what: str


class RandomReturn(_Part):
    """What uniform actions return in an environment, and with which versions that was measured."""

    mean: float
    std: float
    episodes: int
    gymnasium: str
    mujoco: str


class Bands(_Part):
    """All that bands.toml says."""

    curves: list[Curve]
    differences: list[Difference]
    random: dict[str, RandomReturn]


@dataclass(frozen=True)
class Comparison:
    """One method on one environment at one step count; `changed` are the settings that are not the method's own."""

    environment: str
    method: str
    changed: dict[str, Any]
    steps: int | None
    seeds: int
    mean: float | None
    lo: float | None
    hi: float | None
    verdict: Verdict
    reason: str
    source: str | None


def read_bands(path: Path = BANDS) -> Bands:
    """Return the bands of a file; raises InputError if it is missing or says something else."""
    try:
        return Bands.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"there is no file of reference bands {path}") from error
    except ValidationError as error:
        from baselines.config import validation_sentence

        raise InputError(f"{path} is not a file of reference bands: {validation_sentence(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def compare_with_bands(
    runs: Iterable[StoredRun], bands: Bands, defaults: Mapping[str, Mapping[str, Any]]
) -> list[Comparison]:
    """Compare every finished run of a native task, seeds together, at each published step count that it reached.

    `defaults` are the methods' own settings, by method. Runs of one method with other settings are groups of their own.
    A run whose spec or evaluations lack what a comparison needs is left out; `suites.integrity` names it.
    """
    groups: dict[str, list[StoredRun]] = {}
    for run in runs:
        if run.spec is not None and comparable(run):
            groups.setdefault(_group(run.spec), []).append(run)
    return [comparison for key in sorted(groups) for comparison in _compare_group(groups[key], bands, defaults)]


def comparable(run: StoredRun) -> bool:
    """Whether a run of a native task is finished, and its spec and evaluations have what a comparison needs."""
    spec = run.spec or {}
    pair = spec.get("pair")
    if run.done is None or not isinstance(pair, dict) or not str(pair.get("family")).startswith(NATIVE):
        return False
    whole = "horizon" in pair and spec.keys() >= {"method", "method_version", "config"}
    return whole and all(row.get("returns") and "target_steps" in row for row in run.evaluations)


def _group(spec: dict[str, Any]) -> str:
    names = ("method", "method_version", "config")
    return canonical_json([spec["pair"]["family"], spec["pair"]["horizon"], *(spec[name] for name in names)])


def _compare_group(runs: list[StoredRun], bands: Bands, defaults: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    spec = runs[0].spec
    assert spec is not None
    environment, method = spec["pair"]["family"].removeprefix(NATIVE), spec["method"]
    own = defaults.get(method, {})
    changed = {name: value for name, value in spec["config"].items() if own.get(name) != value}
    curve = _curve(bands, environment, method)

    def row(point: Point | None, means: list[float], verdict: Verdict, reason: str) -> Comparison:
        return Comparison(
            environment=environment,
            method=method,
            changed=changed,
            steps=None if point is None else point.steps,
            seeds=len(means) or len(runs),
            mean=sum(means) / len(means) if means else None,
            lo=None if point is None else point.lo,
            hi=None if point is None else point.hi,
            verdict=verdict,
            reason=reason,
            source=None if curve is None else f"{curve.environment}-{curve.version}, {curve.source}",
        )

    if curve is None:
        return [row(None, [], "not comparable", f"no published curve of {method} on {environment} is known here")]
    found = [(point, means) for point in curve.points if (means := _means(runs, point.steps))]
    if not found:
        steps = ", ".join(str(point.steps) for point in curve.points)
        return [row(None, [], "not comparable", f"no run has an evaluation at one of the published steps ({steps})")]
    against = _obstacle(bands, curve, environment, spec["pair"]["horizon"])
    return [row(point, means, *_judge(point, means, against, bands.random.get(environment))) for point, means in found]


def _judge(point: Point, means: list[float], obstacle: str | None, random: RandomReturn | None) -> tuple[Verdict, str]:
    if obstacle is not None:
        return "not comparable", obstacle
    if random is None:
        return "not comparable", "what a random policy returns there is not known here"
    if point.lo <= random.mean <= point.hi:
        return "not comparable", f"the band holds the random policy ({random.mean:.0f})"
    if len(means) < LEAST_SEEDS:
        return "not comparable", f"{len(means)} of at least {LEAST_SEEDS} seeds"
    mean = sum(means) / len(means)
    if point.lo <= mean <= point.hi:
        return "pass", "within the band"
    return "fail", "below the band" if mean < point.lo else "above the band"


def _curve(bands: Bands, environment: str, method: str) -> Curve | None:
    name = environment.rpartition("-")[0]
    return next((curve for curve in bands.curves if curve.environment == name and method in curve.methods), None)


def _obstacle(bands: Bands, curve: Curve, environment: str, horizon: int) -> str | None:
    if horizon != PUBLISHED_HORIZON:
        return f"episodes of {horizon} steps, published are {PUBLISHED_HORIZON}"
    for difference in bands.differences:
        if difference.environment == curve.environment and curve.version in difference.versions:
            return f"published is {curve.environment}-{curve.version}, which differs: {difference.what}"
    return None


def _means(runs: list[StoredRun], steps: int) -> list[float]:
    """The mean return of every seed at a step count."""
    rows = [row for run in runs for row in run.evaluations if row["target_steps"] == steps]
    return [sum(row["returns"]) / len(row["returns"]) for row in rows]
