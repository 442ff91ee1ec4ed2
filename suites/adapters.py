"""A method with the problem that it is given, from a run's spec."""

from typing import Any

from baselines.api import Adapter, Problem
from baselines.config import make_config
from baselines.registry import method
from suites.datasets import load_for_run
from suites.knowledge import knowledge_reader
from suites.problem import open_problem
from suites.sources import load_sources
from suites.spec import RunSpec
from suites.store import Store
from wombet.dataset import ACCEPTED
from wombet.errors import InputError
from wombet.streams import Streams


def build_adapter(spec: RunSpec, store: Store, device: str) -> tuple[Adapter, Problem]:
    """Return a run's adapter as it is before the first tick, and its problem.

    Raises InputError if the installed method, its settings, the task or the dataset are not those of the spec.
    """
    kind = method(spec.method)
    if kind.capabilities.version != spec.method_version:
        raise InputError(
            f"this run was planned with version {spec.method_version} of method {spec.method}, and version "
            f"{kind.capabilities.version} is installed; plan it again"
        )
    config: Any = make_config(kind.Config, spec.config, f"{spec.label}, config")
    problem = open_problem(spec, load_for_run(spec, store, spec.data_part or ACCEPTED))
    problem.knowledge = knowledge_reader(spec.dataset, store)
    problem.sources = load_sources(spec, store, spec.data_part or ACCEPTED)
    return kind(problem, config, Streams(spec.seed).child("method"), device), problem
