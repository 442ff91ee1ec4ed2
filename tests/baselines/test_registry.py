"""Methods by name: lazy, forgiving of typos with a hint, open to other packages."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from baselines import registry
from baselines.registry import method, method_names
from baselines.scripted import ZeroPolicy
from wombet.errors import InputError


def test_every_registered_method_can_be_imported() -> None:
    for name in method_names():
        assert method(name).capabilities.kind


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'wombet'"):
        method("wombat")
    with pytest.raises(InputError, match="known are"):
        method("qqqqq")


def test_asking_for_names_imports_no_method() -> None:
    code = "import baselines.registry as r, sys; r.check_method_name('bc'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch):
    def declare(name: str, value: str) -> None:
        points = [EntryPoint(name, value, registry.ENTRY_POINT_GROUP)]
        monkeypatch.setattr(
            registry, "entry_points", lambda group: points if group == registry.ENTRY_POINT_GROUP else []
        )

    yield declare
    method.cache_clear()


def test_a_method_of_another_package_is_found_by_its_entry_point(foreign) -> None:
    foreign("nothing", "baselines.scripted:ZeroPolicy")
    assert "nothing" in method_names()
    assert method("nothing") is ZeroPolicy


def test_a_foreign_method_cannot_take_one_of_our_names(foreign) -> None:
    foreign("sac", "baselines.scripted:ZeroPolicy")
    with pytest.raises(InputError, match=r"'sac'.* is taken"):
        method_names()


def test_a_foreign_method_that_cannot_be_imported_spares_the_rest(foreign) -> None:
    foreign("broken", "no_such_package:Thing")
    assert method("zero") is ZeroPolicy
    with pytest.raises(InputError, match=r"'broken'.*cannot be imported"):
        method("broken")


@pytest.mark.parametrize(
    ("value", "lacks"),
    [
        ("baselines.api:Problem", "lacks `capabilities`"),
        ("baselines.registry:method", "lacks `capabilities`"),
        ("tests.baselines.test_registry:WithoutConfig", "lacks `Config`"),
    ],
)
def test_what_is_no_adapter_is_named_with_what_it_lacks(foreign, value: str, lacks: str) -> None:
    foreign("mine", value)
    with pytest.raises(InputError, match=f"method 'mine' of {value} {lacks}"):
        method("mine")


class WithoutConfig:
    capabilities = ZeroPolicy.capabilities
