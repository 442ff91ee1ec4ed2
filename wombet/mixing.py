"""The share of offline rows in a minibatch, and the rules that adapt it (alpha_t of the paper, Section 4).

The paper says that alpha_t is driven by an exponential average of the TD error on recent online data, that a larger
error means more offline data, and that it stabilises; the formulas are reconstructions of ours. The signal is free of
the reward's scale, a ratio of two exponential averages z_t = ema(error) / ema(scale), see `wombet.mixing_signal`; z_0
is the mean of z_t over the first `calibration_updates` updates of the online phase.
"""

from dataclasses import dataclass
from typing import Any

from wombet.errors import InputError

RULES = ("proportional", "integral", "leaky_integral", "schedule", "fixed", "append", "online_only")
SIGNALS = ("td_over_spread", "online_over_offline", "unseen_over_spread")


@dataclass(frozen=True)
class MixingConfig:
    """How the offline share is set; the fields that a rule does not use do not matter to it."""

    mixing: str = "proportional"  # rule; ours: the paper's text gives the direction, not the formula
    mixing_signal: str = "td_over_spread"  # what the adaptive rules listen to
    offline_fraction: float = 0.5  # share under "fixed": RLPD's symmetric sampling
    mixing_minimum: float = 0.05  # ours: never starve either source
    mixing_maximum: float = 0.75  # ours: also the share while z_0 is being measured
    mixing_ema: float = 0.1  # weight of the newest measurement
    mixing_interval: int = 100  # environment steps between measurements
    calibration_updates: int = 2000  # updates over which z_0 is averaged
    mixing_gain: float = 0.05  # step of the integral rules; ours
    mixing_leak: float = 0.1  # pull of "leaky_integral" towards the proportional share; ours


def check_mixing(config: MixingConfig) -> None:
    """Raise InputError unless the rule exists and its numbers are in range."""
    if config.mixing not in RULES:
        raise InputError(f"mixing is {config.mixing!r}; it must be one of {', '.join(RULES)}")
    if config.mixing_signal not in SIGNALS:
        raise InputError(f"mixing_signal is {config.mixing_signal!r}; it must be one of {', '.join(SIGNALS)}")
    if not 0 <= config.mixing_minimum <= config.mixing_maximum <= 1:
        raise InputError("mixing_minimum and mixing_maximum must satisfy 0 <= minimum <= maximum <= 1")
    for name in ("offline_fraction", "mixing_ema", "mixing_leak"):
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"{name} is {getattr(config, name)}; it must be between 0 and 1")
    for name in ("mixing_interval", "calibration_updates"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; it must be at least 1")


class Mixture:
    """The offline share alpha_t over time."""

    def __init__(self, config: MixingConfig) -> None:
        check_mixing(config)
        self.config = config
        self.fraction = {"fixed": config.offline_fraction, "online_only": 0.0}.get(config.mixing, config.mixing_maximum)
        self.error: float | None = None
        self.scale: float | None = None
        self.reference: float | None = None
        self._calibration: list[float] = []

    @property
    def measures(self) -> bool:
        """Whether the rule needs TD errors."""
        return self.config.mixing in ("proportional", "integral", "leaky_integral")

    @property
    def signal(self) -> float | None:
        """z_t, or None before the first measurement."""
        return None if self.error is None or self.scale is None else self.error / max(self.scale, 1e-3)

    def advance(self, progress: float, offline_share: float) -> None:
        """Set the share of the rules that use no TD error.

        "schedule" goes by the progress of the online phase in [0, 1]; "append" by the offline rows' share of all rows,
        as if they had been put into one buffer.
        """
        low, high = self.config.mixing_minimum, self.config.mixing_maximum
        if self.config.mixing == "schedule":
            self.fraction = high + (low - high) * min(1.0, max(0.0, progress))
        elif self.config.mixing == "append":
            self.fraction = offline_share

    def observe(self, error: float, scale: float, updates: int) -> None:
        """Take a measurement made after `updates` updates of the online phase, and move the share.

        `error` is a mean |y - Q| and `scale` what it is held against, in the same units (see `wombet.mixing_signal`).
        """
        self.error = self._average(self.error, error)
        self.scale = self._average(self.scale, scale)
        z = self.signal
        assert z is not None
        if updates <= self.config.calibration_updates:
            self._calibration.append(z)
        elif self.reference is None:
            self.reference = sum(self._calibration) / len(self._calibration) if self._calibration else z
        if self.reference is not None:
            self._move(z, max(self.reference, 1e-12))

    def _move(self, z: float, reference: float) -> None:
        low, high = self.config.mixing_minimum, self.config.mixing_maximum
        proportional = low + (high - low) * min(1.0, z / reference)
        if self.config.mixing == "proportional":
            self.fraction = proportional
            return
        moved = self.fraction + self.config.mixing_gain * (z - 0.7 * reference)
        if self.config.mixing == "leaky_integral":
            moved += self.config.mixing_leak * (proportional - self.fraction)
        self.fraction = min(high, max(low, moved))

    def _average(self, old: float | None, new: float) -> float:
        return new if old is None else (1 - self.config.mixing_ema) * old + self.config.mixing_ema * new

    def state(self) -> dict[str, Any]:
        """Return everything that decides the share from here on."""
        return {
            "fraction": self.fraction,
            "error": self.error,
            "scale": self.scale,
            "reference": self.reference,
            "calibration": list(self._calibration),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.fraction = state["fraction"]
        self.error, self.scale, self.reference = state["error"], state["scale"], state["reference"]
        self._calibration = list(state["calibration"])
