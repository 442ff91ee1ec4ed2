"""From what was typed to a method's frozen config, with one clear sentence when it does not fit."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from wombet.errors import InputError
from wombet.errors import nearest as nearest

Config = TypeVar("Config")


def make_config(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build a frozen config dataclass from plain values; raises InputError naming `where` and the field.

    Unknown fields, wrong types (no silent conversion, but an integer serves as a float) and values that the dataclass
    refuses in `__post_init__` are errors.
    """
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise InputError(f"{where}: there is no field {name!r}{nearest(name, known)}")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(dict(values), allow_nan=False), strict=True)
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a value is one that a config cannot hold ({error})") from error


def config_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain JSON values, all fields resolved."""
    return dict(json.loads(json.dumps(dataclasses.asdict(config))))


def validation_sentence(error: ValidationError) -> str:
    """Return the first of pydantic's complaints as half a sentence: the field, its value, what is right."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    path = ".".join(str(part) for part in first["loc"]) or "the value"
    return f"{path} is {first['input']!r}, and {first['msg'][0].lower()}{first['msg'][1:]}"
