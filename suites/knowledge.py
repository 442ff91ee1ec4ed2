"""What a finished build holds beside its rows, read when a method asks for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines.api import SourceKnowledge
from suites.datasets import AGENT, MODEL, config_of
from suites.spec import DatasetRecipe
from suites.store import Store
from wombet.dataset import load_card, load_source
from wombet.errors import InputError
from wombet.files import sha256
from wombet.serialization import loads


def knowledge_reader(recipe: DatasetRecipe | None, store: Store) -> Callable[[], SourceKnowledge] | None:
    """Return what reads what a dataset's making left behind, or None where there is nothing to read."""
    if recipe is None or recipe.imported:
        return None
    return lambda: read_knowledge(recipe, store)


def read_knowledge(recipe: DatasetRecipe, store: Store) -> SourceKnowledge:
    """Read a finished dataset's model, agent and source rows; raises InputError if a file is missing or changed."""
    folder = store.dataset_folder(recipe.id)
    card = load_card(folder)
    return SourceKnowledge(
        config=config_of(recipe),
        model_state=_read(folder, MODEL, card),
        agent_state=_read(folder, AGENT, card) if AGENT in card["files"] else None,
        penalty=card["planner"]["penalty"],
        source=load_source(folder),
    )


def _read(folder: Path, name: str, card: dict[str, Any]) -> Any:
    path = folder / name
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data) != card["files"].get(name):
        raise InputError(f"{path} is missing or was changed; build the dataset again")
    return loads(data)
