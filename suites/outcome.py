"""How an attempt at a run or a dataset ended, and how a failure is put into words."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wombet.errors import InputError

Ending = Literal["done", "skipped", "failed", "blocked", "busy", "preempted", "lost"]


@dataclass(frozen=True)
class Outcome:
    """An ending and, unless it is done or skipped, one sentence that says why.

    done: finished now. skipped: was finished before. failed: recorded in error.txt. blocked: its dataset is missing.
    busy: another process is at it. preempted: stopped on request; the next attempt continues it.
    lost: its process died without a word.
    """

    ending: Ending
    message: str = ""


class Preempted(Exception):
    """The attempt was asked to stop, and what is needed to continue is saved."""


def sentence_of(error: BaseException) -> str:
    """Return an exception as one line; its type is named where the message was not written for people."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, InputError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure_text(error: BaseException, what: str, folder: Path) -> str:
    """Return the content of error.txt: what failed, how to repeat it, the traceback, and the sentence last."""
    trace = "".join(traceback.format_exception(error))
    return (
        f"{what} failed.\nFolder: {folder}\nTo repeat it alone: python -m suites.worker {folder}\n\n"
        f"{trace}\n{sentence_of(error)}\n"
    )
