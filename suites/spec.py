"""What a suite asks for and what a run is: plain data, validated, hashed, without importing any method or simulator."""

import re
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from baselines.api import Budgets
from baselines.config import check_entries, nearest, validation_sentence
from baselines.registry import method_names
from wombet.errors import InputError
from wombet.files import canonical_json, sha256

SCHEMA = 1
CATALOG = Path(__file__).parent / "catalog"
IMPORTED = "imported"
_IMPORTED_ID = re.compile(r"[a-z][a-z0-9_]*-[0-9a-f]{12}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_entries(cls, content: Any) -> Any:
        return check_entries(content, cls.model_fields)


class DataChoice(_Part):
    """How a dataset is generated: single fields of a pair's, and of a variant's, go in front of the suite's.

    `generation` sets fields of GenerationConfig in front of the profile's, those of its parts too
    (`planner = {penalty_scale = 0.0}`). Or, in place of all that, `imported`: the id of a dataset that
    `wombet data import` put into the store.
    """

    collection: Literal["pure", "guided"] = "guided"
    rollouts: Literal["imagined", "executed"] = "imagined"
    profile: str = "quick"
    generation: dict[str, Any] = Field(default_factory=dict)
    imported: str | None = None

    @model_validator(mode="after")
    def _imported_stands_alone(self) -> Self:
        if self.imported is None:
            return self
        if not _IMPORTED_ID.fullmatch(self.imported):
            raise InputError(
                f"data.imported is {self.imported!r}, and must be an id that `wombet data import` printed, "
                "such as reacher-0123456789ab"
            )
        others = sorted(self.model_fields_set - {"imported"})
        if others:
            raise InputError(f"data.imported takes the place of generation; leave out data.{others[0]}, or imported")
        return self


class SourceEntry(_Part):
    """A named source task of a pair: a level of the family, with other reward parameters if `reward` has any.

    `data` has fields of DataChoice that go in front of the row's.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    level: str = "source"
    reward: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)


class PairEntry(_Part):
    """One task pair of a suite: the family's source task, and a target level.

    `sources` are what methods that learn from several source tasks are given: levels, or tables of SourceEntry.
    """

    family: str
    level: str
    shift: Literal["both", "reward", "init"] = "both"
    horizon: int | None = Field(default=None, ge=1)
    data: dict[str, Any] = Field(default_factory=dict)
    sources: list[str | SourceEntry] = Field(default_factory=list)


class Variant(_Part):
    """A row of the table that is a registered method with other settings, or fed other data.

    `data_part` names another part of the same dataset; `data` has fields of DataChoice and gives a dataset of its own.
    `sources` names those of the pair's sources that the row is given; by default it is all of them.
    """

    method: str
    config: dict[str, Any] = Field(default_factory=dict)
    data_part: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    sources: list[str] = Field(default_factory=list)


class BudgetEntry(_Part):
    """Budgets of every method, or, under `method_budgets`, of one."""

    target_steps: int | None = Field(default=None, ge=0)
    offline_updates: int | None = Field(default=None, ge=0)
    source_steps: int | None = Field(default=None, ge=0)


class EvaluationProtocol(_Part):
    """`count` evaluations of `episodes` each, evenly spaced over the target steps, from 0 to the end.

    Runs that learn from the dataset alone before their first target step have one more, a step later.
    """

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
    variants: dict[str, Variant] = Field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of all that the suite file says."""
        return sha256(canonical_json(self.model_dump(mode="json")))

    def variant(self, row: str) -> Variant:
        """What a row of `methods` is: one of the variants, or the method of that name as it is."""
        return self.variants.get(row) or Variant(method=row)

    def budgets_of(self, row: str) -> Budgets:
        """The budgets of a row: the suite's, with its method's and then its own entries in front."""
        merged = self.budgets.model_dump(exclude_none=True)
        for name in (self.variant(row).method, row):
            merged |= self.method_budgets.get(name, BudgetEntry()).model_dump(exclude_none=True)
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
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error
    known = {*suite.methods, *(suite.variant(row).method for row in suite.methods)}
    for what, names in (
        ("config", suite.config),
        ("method_budgets", suite.method_budgets),
        ("variants", suite.variants),
    ):
        for name in names:
            if name not in known:
                raise InputError(
                    f"{where}: {what} names {name!r}, which is not among the suite's methods{nearest(name, known)}"
                )
    _check_variant_names(suite, where)
    if len(set(suite.methods)) < len(suite.methods):
        raise InputError(f"{where}: a method is named twice")
    return suite


def _check_variant_names(suite: Suite, where: str) -> None:
    registered = method_names() if suite.variants else []
    for name, variant in suite.variants.items():
        if name in registered and variant.method != name:
            raise InputError(
                f"{where}: variants names {name!r}, which is a method of its own, and its method is "
                f"{variant.method!r}; give the variant another name"
            )


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
    """What decides a dataset, byte for byte; the levels of a family share it.

    Of an imported dataset that is its content: `config` then holds the hash of its rows alone.
    """

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
    def imported(self) -> bool:
        """Whether the dataset was brought in from elsewhere, so that it cannot be built."""
        return self.collection == IMPORTED

    @property
    def source_name(self) -> str:
        """How the source task is named to people."""
        return "source"

    @property
    def id(self) -> str:
        """Folder name of the artefact."""
        digits = self.config["rows"] if self.imported else sha256(canonical_json(asdict(self)))[:12]
        return f"{self.family}-{digits}"


@dataclass(frozen=True)
class SourceRecipe(DatasetRecipe):
    """The recipe of a dataset of another source task than the family's own: `source` has its level and reward changes.

    A class of its own, so that the recipes of the family's own source task keep their identity.
    """

    source: dict[str, Any] = field(default_factory=dict)

    @property
    def source_name(self) -> str:
        """The level, and the reward parameters that differ from its own."""
        changes = ", ".join(f"{name} = {value}" for name, value in self.source["reward"].items())
        return f"{self.source['level']} with {changes}" if changes else str(self.source["level"])


def recipe_from_json(content: dict[str, Any]) -> DatasetRecipe:
    """The recipe whose `dataclasses.asdict` this is; raises TypeError if it is none."""
    return SourceRecipe(**content) if "source" in content else DatasetRecipe(**content)


@dataclass(frozen=True)
class NamedRecipe:
    """One of several source datasets of a run, under the name that its suite gives it."""

    name: str
    recipe: DatasetRecipe


def imported_recipe(dataset_id: str, family: str, horizon: int, source_fingerprint: str) -> DatasetRecipe:
    """The recipe of an imported dataset, from nothing but its id and the source task that it is read as.

    Raises InputError if the id is one of another family.
    """
    own_family, _, digits = dataset_id.rpartition("-")
    if own_family != family:
        raise InputError(
            f"the imported dataset {dataset_id} is of family {own_family}, and the task pair of {family}; "
            "name it in the `data` of a pair of its own family"
        )
    return DatasetRecipe(
        family=family,
        horizon=horizon,
        source_fingerprint=source_fingerprint,
        collection=IMPORTED,
        rollouts=IMPORTED,
        profile=IMPORTED,
        config={"rows": digits},
        dataset_seed=0,
    )


@dataclass(frozen=True)
class RunSpec:
    """What defines a run's results; where it runs, and how it is logged, is not in it.

    A method that learns from several source tasks has `sources`, in the suite's order, and no `dataset`.
    """

    pair: PairSpec
    method: str
    method_version: int
    config: dict[str, Any]
    seed: int
    budgets: Budgets
    evaluation: dict[str, int]
    dataset: DatasetRecipe | None
    data_part: str | None = None
    sources: tuple[NamedRecipe, ...] = ()
    row: str = field(default="", compare=False)

    @property
    def recipes(self) -> tuple[DatasetRecipe, ...]:
        """The recipes of all datasets that the run needs."""
        own = () if self.dataset is None else (self.dataset,)
        return (*own, *(source.recipe for source in self.sources))

    @property
    def data_id(self) -> str | None:
        """Ids of all datasets that the run needs in one word, joined by +; None if it needs none."""
        return "+".join(recipe.id for recipe in self.recipes) or None

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json; under which name a suite shows the run is not in it."""
        content = {"schema": SCHEMA, **asdict(self)}
        del content["row"]
        # Absent where there are none, so that the identity of such runs is what it was before there were any.
        if not self.sources:
            del content["sources"]
        return content

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
        return f"{self.pair.id} {self.row or self.method} seed {self.seed}"

    def evaluation_steps(self) -> list[int]:
        """Target steps at which an online method is evaluated: evenly spaced, both ends included.

        Of a pretrained run there is one more, `after_switch` steps after the first, to see what the switch did.
        """
        count, total = self.evaluation["count"], self.budgets.target_steps
        after_switch = min(self.evaluation.get("after_switch", 0), total)
        return sorted({after_switch, *(round(total * i / (count - 1)) for i in range(count))})


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
        dataset=None if recipe is None else recipe_from_json(recipe),
        data_part=content["data_part"],
        sources=tuple(
            NamedRecipe(source["name"], recipe_from_json(source["recipe"])) for source in content.get("sources", ())
        ),
    )
