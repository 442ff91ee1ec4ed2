"""From what was typed to a method's frozen config, with one clear sentence when it does not fit."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from wombet.errors import InputError
from wombet.errors import nearest as nearest

Config = TypeVar("Config")
_UNKNOWN_ENTRY = "unknown_entry"


def make_config(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build a frozen config dataclass from plain values; raises InputError naming `where` and the field.

    Unknown fields, wrong types (no silent conversion, but an integer serves as a float) and values that the dataclass
    refuses in `__post_init__` are errors.
    """
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise InputError(f"{where}: there is no field {name!r}{nearest(name, known)}")
    _check_plain(values, where)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(dict(values)), strict=True)
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error


def config_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain JSON values, all fields resolved."""
    return dict(json.loads(json.dumps(dataclasses.asdict(config))))


def check_entries(content: Any, known: Iterable[str]) -> Any:
    """Return a table as it is, as a validator of a model does; an entry that is not `known` is pydantic's complaint."""
    for name in content if isinstance(content, dict) else ():
        if name not in known:
            raise PydanticCustomError(
                _UNKNOWN_ENTRY, "there is no such entry", {"entry": name, "hint": nearest(name, known)}
            )
    return content


def validation_sentence(error: ValidationError) -> str:
    """Return the first of pydantic's complaints as half a sentence: the field, its value, what is right."""
    found = error.errors(include_url=False)
    # Where a name or a table may stand, a table is not meant as a name.
    meant = (each for each in found if each["type"] != "string_type" or not isinstance(each["input"], dict))
    first = next(meant, found[0])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    path = ".".join(str(part) for part in first["loc"]) or "the value"
    if first["type"] == "missing":
        return f"{path} is missing"
    if first["type"] == _UNKNOWN_ENTRY:
        entry = ".".join(str(part) for part in (*first["loc"], first["ctx"]["entry"]))
        return f"there is no entry {entry!r}{first['ctx']['hint']}"
    return f"{path} is {first['input']!r}, and {first['msg'][0].lower()}{first['msg'][1:]}"


def _check_plain(values: Mapping[str, Any], where: str, inside: str = "") -> None:
    """Raise InputError naming the first field whose value JSON cannot hold: what is not finite, and objects."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            _check_plain(value, where, f"{inside}{name}.")
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            wanted = "give a finite number, true or false, text, or a list or table of these"
            raise InputError(f"{where}: {inside}{name} is {value!r}, which a config cannot hold; {wanted}") from error
