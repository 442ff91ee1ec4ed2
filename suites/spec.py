"""What a suite asks for and what a run is: plain data, validated, hashed, without importing any method or simulator."""

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.api import Budgets
from baselines.config import nearest, validation_sentence
from wombet.errors import InputError
from wombet.files import canonical_json, sha256

SCHEMA = 1
CATALOG = Path(__file__).parent / "catalog"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataChoice(_Part):
    """How the shared dataset of a pair is generated (DataChoice of a pair overrides single fields of the suite's)."""

    collection: Literal["pure", "guided"] = "guided"
    rollouts: Literal["imagined", "executed"] = "imagined"
    profile: str = "quick"


class PairEntry(_Part):
    """One task pair of a suite: the family's source task, and a target level."""

    family: str
    level: str
    shift: Literal["both", "reward", "init"] = "both"
    horizon: int | None = Field(default=None, ge=1)
    data: dict[str, str] = Field(default_factory=dict)


class BudgetEntry(_Part):
    """Budgets of every method, or, under `method_budgets`, of one."""

    target_steps: int | None = Field(default=None, ge=0)
    offline_updates: int | None = Field(default=None, ge=0)
    source_steps: int | None = Field(default=None, ge=0)


class EvaluationProtocol(_Part):
    """`count` evaluations of `episodes` each, evenly spaced over the target steps, from 0 to the end."""

    count: int = Field(ge=2)
    episodes: int = Field(ge=1)


class Suite(_Part):
    """A suite file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    description: str
    version: int = 1
    seeds: int = Field(ge=1)
    n_datasets: int = Field(ge=1)
    methods: list[str] = Field(min_length=1)
    pairs: list[PairEntry] = Field(min_length=1)
    data: DataChoice = DataChoice()
    budgets: BudgetEntry
    method_budgets: dict[str, BudgetEntry] = Field(default_factory=dict)
    evaluation: EvaluationProtocol
    shared: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of all that the suite file says."""
        return sha256(canonical_json(self.model_dump(mode="json")))

    def budgets_of(self, method: str) -> Budgets:
        """The budgets of a method: the suite's, with the method's own entries in front."""
        own = self.method_budgets.get(method, BudgetEntry())
        merged = {**self.budgets.model_dump(exclude_none=True), **own.model_dump(exclude_none=True)}
        return Budgets(**{"target_steps": 0, **merged})


def suite_names() -> list[str]:
    """Names of the suites in the catalogue."""
    return sorted(path.stem for path in CATALOG.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """Read a suite of the catalogue, or the TOML file at a path; raises InputError saying which entry is wrong."""
    path = Path(name) if name.endswith(".toml") else CATALOG / f"{name}.toml"
    if not path.is_file():
        if path.suffix == ".toml" and path.parent != CATALOG:
            raise InputError(f"there is no suite file {path}")
        raise InputError(f"there is no suite {name!r}{nearest(name, suite_names())}")
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"suite file {path} is not valid TOML: {error}") from error
    return parse_suite(content, str(path.name))


def parse_suite(content: dict[str, Any], where: str) -> Suite:
    """Validate a suite's content; raises InputError naming `where` and the entry."""
    for name in content:
        if name not in Suite.model_fields:
            raise InputError(f"{where}: there is no entry {name!r}{nearest(name, Suite.model_fields)}")
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error
    for what, names in (("config", suite.config), ("method_budgets", suite.method_budgets)):
        for method in names:
            if method not in suite.methods:
                raise InputError(f"{where}: {what} names {method!r}, which is not among the suite's methods")
    if len(set(suite.methods)) < len(suite.methods):
        raise InputError(f"{where}: a method is named twice")
    return suite


def parse_overrides(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Turn `METHOD.FIELD=VALUE` texts into {method: {field: value}}; VALUE is TOML, or else a plain string."""
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        method, dot, field = target.strip().partition(".")
        if not (equals and dot and method and field):
            raise InputError(f"--set {text!r} does not read METHOD.FIELD=VALUE, as in sac.actor_lr=0.001")
        try:
            parsed = tomllib.loads(f"value = {value.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        overrides.setdefault(method, {})[field] = parsed
    return overrides


def variant_name(suite: Suite, overrides: dict[str, dict[str, Any]]) -> str:
    """The name under which a suite's results are kept: its own, or, with overrides, its own and a hash of them."""
    return suite.name if not overrides else f"{suite.name}@{sha256(canonical_json(overrides))[:6]}"


@dataclass(frozen=True)
class PairSpec:
    """A task pair, resolved: the fingerprints hold everything that defines the two tasks' numbers."""

    id: str
    family: str
    level: str
    shift: str
    horizon: int
    source_fingerprint: str
    target_fingerprint: str


@dataclass(frozen=True)
class DatasetRecipe:
    """What decides a generated dataset, byte for byte; the levels of a family share it."""

    family: str
    horizon: int
    source_fingerprint: str
    collection: str
    rollouts: str
    profile: str
    config: dict[str, Any]
    dataset_seed: int
    version: int = 1

    @property
    def id(self) -> str:
        """Folder name of the artefact."""
        return f"{self.family}-{sha256(canonical_json(asdict(self)))[:12]}"


@dataclass(frozen=True)
class RunSpec:
    """What defines a run's results; where it runs, and how it is logged, is not in it."""

    pair: PairSpec
    method: str
    method_version: int
    config: dict[str, Any]
    seed: int
    budgets: Budgets
    evaluation: dict[str, int]
    dataset: DatasetRecipe | None

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json."""
        return {"schema": SCHEMA, **asdict(self)}

    @property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of the hash of the spec."""
        return sha256(canonical_json(self.to_json()))[:12]

    @property
    def folder(self) -> str:
        """Path of the run's folder inside a store."""
        return f"runs/{self.pair.id}/{self.method}/s{self.seed}-{self.run_id}"

    @property
    def label(self) -> str:
        """How the run is named to people."""
        return f"{self.pair.id} {self.method} seed {self.seed}"

    def evaluation_steps(self) -> list[int]:
        """Target steps at which an online method is evaluated: evenly spaced, both ends included."""
        count, total = self.evaluation["count"], self.budgets.target_steps
        return sorted({round(total * i / (count - 1)) for i in range(count)})


def run_spec_from_json(content: dict[str, Any]) -> RunSpec:
    """The RunSpec whose `to_json` this is; raises InputError if it is of another schema."""
    if content.get("schema") != SCHEMA:
        raise InputError(f"the run's spec is of schema {content.get('schema')}, and this version reads {SCHEMA}")
    recipe = content["dataset"]
    return RunSpec(
        pair=PairSpec(**content["pair"]),
        method=content["method"],
        method_version=content["method_version"],
        config=content["config"],
        seed=content["seed"],
        budgets=Budgets(**content["budgets"]),
        evaluation=content["evaluation"],
        dataset=None if recipe is None else DatasetRecipe(**recipe),
    )
