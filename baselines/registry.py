"""Methods by name; nothing is imported until a method is used."""

import importlib
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from baselines.api import Adapter, Capabilities
from baselines.config import nearest
from wombet.errors import InputError

ENTRY_POINT_GROUP = "wombet.methods"

_OWN = {
    "random": "baselines.scripted:RandomPolicy",
    "zero": "baselines.scripted:ZeroPolicy",
    "bc": "baselines.bc:BehaviourCloning",
    "bc-best-decile": "baselines.bc:BestDecile",
    "iql": "baselines.iql:IQL",
    "cql": "baselines.cql:CQL",
    "td3+bc": "baselines.td3bc:TD3BC",
    "awac": "baselines.awac:AWAC",
    "mopo": "baselines.mopo:MOPO",
    "combo": "baselines.combo:COMBO",
    "sac": "baselines.actor_critic:SAC",
    "sac-sb3": "baselines.sb3_off_policy:SACSB3",
    "td3": "baselines.sb3_off_policy:TD3",
    "ppo": "baselines.sb3_ppo:PPO",
    "rlpd": "baselines.actor_critic:RLPD",
    "awac-finetune": "baselines.awac_finetune:AWACFinetune",
    "iql-finetune": "baselines.iql_finetune:IQLFinetune",
    "cql-finetune": "baselines.cql_finetune:CQLFinetune",
    "cal-ql": "baselines.cal_ql:CalQL",
    "pex": "baselines.pex:PEX",
    "cql-sac": "baselines.pretrained:CQLToSAC",
    "wsrl": "baselines.wsrl:WSRL",
    "off2on": "baselines.off2on:Off2On",
    "hy-q": "baselines.hyq:HyQ",
    "sac-offline-buffer": "baselines.hyq:SACOfflineBuffer",
    "wombet": "baselines.actor_critic:WOMBET",
    "wombet-iterated": "baselines.iterated:IteratedWOMBET",
    "mtop-state": "baselines.multi_source.adapter:MTOPState",
    "source-policy": "baselines.controls:SourcePolicy",
    "sac-continued": "baselines.controls:ContinuedSAC",
    "target-planning": "baselines.controls:TargetPlanning",
}


def method_names() -> list[str]:
    """Names of all registered methods, those of other packages too."""
    return [*_OWN, *_foreign()]


@cache
def method(name: str) -> type[Adapter]:
    """Import and return a method's adapter class.

    Raises InputError with the nearest name if there is none, and if what is registered is no adapter.
    """
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        return _adapter(name, getattr(importlib.import_module(module), attribute), _OWN[name])
    foreign = _foreign()
    if name not in foreign:
        raise InputError(f"there is no method {name!r}{nearest(name, method_names())}")
    try:
        loaded = foreign[name].load()
    except Exception as error:  # whatever another package does when it is imported
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise InputError(f"method {name!r} of {foreign[name].value} cannot be imported: {reason}") from error
    return _adapter(name, loaded, foreign[name].value)


def check_method_name(name: str) -> None:
    """Raise InputError with the nearest name unless the method is registered; imports no method."""
    if name not in method_names():
        raise InputError(f"there is no method {name!r}{nearest(name, method_names())}")


def _adapter(name: str, loaded: Any, where: str) -> type[Adapter]:
    """Return the class as an adapter's; raises InputError if it lacks what is asked before it is built."""
    if not isinstance(getattr(loaded, "capabilities", None), Capabilities):
        raise InputError(f"method {name!r} of {where} lacks `capabilities`, a baselines.api.Capabilities")
    if not is_dataclass(getattr(loaded, "Config", None)):
        raise InputError(f"method {name!r} of {where} lacks `Config`, a frozen dataclass of its settings")
    return cast(type[Adapter], loaded)


def _foreign() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in _OWN or (point.name in found and found[point.name].value != point.value):
            raise InputError(f"the method name {point.name!r} of {point.value} is taken; rename it in that package")
        found[point.name] = point
    return found
