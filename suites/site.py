"""A cluster's settings, from one TOML file."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.config import nearest, validation_sentence
from wombet.errors import InputError

VARIABLE = "WOMBET_SITE"


class Site(BaseModel):
    """How jobs are asked for; every field may be left out.

    `time_minutes`, `memory_gb`, `cpus` and `gpus` are those of one job. Short runs are packed into jobs of about
    `pack_minutes`; `max_parallel` jobs of an array run at a time; an array has at most `max_array` jobs (by default, as
    many as the cluster says). A run that takes longer than `cell_minutes` is ended. `signal_seconds` before its time
    is up a job is told to save itself. A lost run is submitted at most `attempts` times without being asked for.
    `setup` are shell lines that each job begins with, and `sbatch` any further parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_minutes: int = Field(default=240, ge=1)
    memory_gb: float = Field(default=4.0, gt=0)
    cpus: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    setup: list[str] = Field(default_factory=list)
    sbatch: dict[str, str | int | float | bool] = Field(default_factory=dict)
    pack_minutes: float = Field(default=30.0, gt=0)
    max_parallel: int = Field(default=256, ge=1)
    max_array: int | None = Field(default=None, ge=1)
    cell_minutes: float | None = Field(default=None, gt=0)
    signal_seconds: int = Field(default=120, ge=1)
    attempts: int = Field(default=3, ge=1)

    @property
    def pack_seconds(self) -> float:
        """Expected length of a pack, never more than a job is given."""
        return 60 * min(self.pack_minutes, self.time_minutes)


def load_site(path: Path | None) -> Site:
    """Read the profile at `path`, or at $WOMBET_SITE, or take the defaults; raises InputError naming what is wrong."""
    chosen = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if chosen is None:
        return Site()
    if not chosen.is_file():
        raise InputError(f"there is no site profile {chosen} (named by {'--site' if path else '$' + VARIABLE})")
    try:
        content = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"site profile {chosen} is not valid TOML: {error}") from error
    return site_from(content, f"site profile {chosen}")


def site_from(content: dict[str, Any], where: str) -> Site:
    """Return the profile with these entries; raises InputError naming `where` and the entry that is wrong."""
    for name in content:
        if name not in Site.model_fields:
            raise InputError(f"{where} has no entry {name!r}{nearest(name, Site.model_fields)}")
    try:
        site = Site.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error
    if "pack_minutes" in content and site.pack_minutes > site.time_minutes:
        raise InputError(
            f"{where}: pack_minutes is {site.pack_minutes:g}, and must be at most time_minutes ({site.time_minutes})"
        )
    if site.signal_seconds >= 60 * site.time_minutes:
        raise InputError(f"{where}: signal_seconds is {site.signal_seconds}, and must be less than the job's time")
    return site
