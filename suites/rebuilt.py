"""A finished dataset at its place, also where published results have its card and not its rows."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wombet.dataset import load_card
from wombet.errors import InputError
from wombet.files import sync_folder


def put_in_place(made: Path, folder: Path) -> None:
    """Move a dataset that was made to its place, or its rows beside the card that was published without them.

    The published card, its costs and its diagnosis stay. Raises InputError if the rows, model or agent are not those
    that the card tells of.
    """
    if (folder / "card.json").is_file():
        _check_same(load_card(made), load_card(folder), folder)
        for part in sorted(path for path in made.iterdir() if path.is_dir()):
            shutil.rmtree(folder / part.name, ignore_errors=True)
            os.replace(part, folder / part.name)
        sync_folder(folder)
        shutil.rmtree(made)
    else:
        os.replace(made, folder)
        sync_folder(folder.parent)


def differing_content(card: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name what two cards give different hashes for: rows, a part, source rows, or the file of a model or agent."""
    hashes, others = _content_hashes(card), _content_hashes(other)
    return [name for name in sorted(hashes.keys() | others.keys()) if hashes.get(name) != others.get(name)]


def _content_hashes(card: Mapping[str, Any]) -> dict[str, str]:
    hashes = {"rows": str(card.get("sha256"))}
    hashes |= {f"part {name}": str(entry.get("sha256")) for name, entry in card.get("parts", {}).items()}
    if "source" in card:
        hashes["source rows"] = str(card["source"].get("sha256"))
    return hashes | {str(name): str(digest) for name, digest in card.get("files", {}).items()}


def _check_same(made: Mapping[str, Any], published: Mapping[str, Any], folder: Path) -> None:
    differing = differing_content(made, published)
    if differing:
        raise InputError(
            f"the dataset {folder.name} was built again and is not the published one (not the same "
            f"{' and '.join(differing)}; {_versions(made, published)}); continue with those versions and on such a "
            "processor, or run the suite in a new store"
        )


def _versions(made: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    ours, theirs = made.get("versions", {}), published.get("versions", {})
    told = [
        f"{name} {ours.get(name)} here and {theirs.get(name)} there"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    return ", ".join(told) or "the versions are the same"
