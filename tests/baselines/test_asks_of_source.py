"""What a method says it needs of a dataset's making is what it fails without, so that a plan can refuse it at once."""

import dataclasses
from typing import Any

import pytest

from baselines.api import AsksOfSource
from baselines.config import config_dict, make_config
from baselines.registry import method, method_names
from suites.contract.problem import knowledge, small_problem
from suites.contract.run import SMALL
from wombet.errors import InputError
from wombet.streams import Streams

SETTINGS: dict[str, dict[str, Any]] = {
    "mopo": {"dynamics": "source"},
    "combo": {"dynamics": "source"},
    "wombet": {"penalised_rows": "all"},
}
FED = [name for name in method_names() if method(name).capabilities.needs_dataset]
CASES = [*((name, {}) for name in FED), *SETTINGS.items(), ("wombet", {"init": "source"})]


def config_of(name: str, settings: dict[str, Any]) -> Any:
    fields = {field.name for field in dataclasses.fields(method(name).Config)}
    values = {key: value for key, value in SMALL.items() if key in fields} | settings
    return make_config(method(name).Config, values, name)


def begins(name: str, config: Any, left: Any) -> bool:
    """Whether the method is built, or fails for another reason than what it lacks of the dataset's making."""
    problem, _ = small_problem(method(name).capabilities, 0)
    problem.knowledge = None if left is None else lambda: left
    try:
        method(name)(problem, config, Streams(0), "cpu")
    except InputError as error:
        return "generated here" not in str(error) and "source agent, and the dataset" not in str(error)
    return True


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_method_begins_without_what_it_does_not_ask_for_and_not_without_what_it_does(
    name: str, settings: dict[str, Any]
) -> None:
    config, kind = config_of(name, settings), method(name)
    asked = kind.asks_of_source(config_dict(config)) if isinstance(kind, AsksOfSource) else None
    assert begins(name, config, None) == (asked is None)
    by_agent = asked in ("agent", "networks")
    assert begins(name, config, dataclasses.replace(knowledge(), agent_state=None)) != by_agent
    assert begins(name, config, knowledge())


def test_who_goes_on_from_the_agents_networks_has_their_sizes() -> None:
    for name, settings in (("wombet", {"init": "source"}), ("sac-continued", {})):
        config = config_of(name, {**settings, "hidden_width": 2 * SMALL["hidden_width"]})
        problem, _ = small_problem(method(name).capabilities, 0)
        with pytest.raises(InputError, match=r"its settings have hidden_width = .*, and the source agent"):
            method(name)(problem, config, Streams(0), "cpu")
