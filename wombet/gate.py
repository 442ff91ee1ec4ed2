"""The model gate: is what the model imagines worth as much as what really happens?

Imagined rollouts of a weak model are useless and look no worse than others by their own uncertainty, so a recipe that
imagines first compares closed-loop rollouts from the same starts, in the simulator and in the model.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet.rollouts import Rollouts


class GateError(RuntimeError):
    """The model's imagination is too far from reality to generate data in it."""


@dataclass(frozen=True)
class GateResult:
    """Rewards per step over the whole length of the gate's trajectories; what follows an early end counts as zero."""

    real: float
    imagined: float
    real_steps: float  # mean length
    imagined_steps: float  # mean length
    tolerance: float  # largest gap that passes

    @property
    def gap(self) -> float:
        """Imagined minus real reward per step."""
        return self.imagined - self.real

    @property
    def passed(self) -> bool:
        """Whether imagination may be used."""
        return bool(np.isfinite(self.gap)) and abs(self.gap) <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "gap": self.gap, "passed": self.passed}


def compare(real: Rollouts, imagined: Rollouts, length: int, tolerance: float) -> GateResult:
    """Compare closed-loop rollouts of `length` steps from the same starts."""
    per_step = [float(rollouts.sums(rollouts.data.reward_source).mean()) / length for rollouts in (real, imagined)]
    return GateResult(per_step[0], per_step[1], float(real.steps.mean()), float(imagined.steps.mean()), tolerance)


def check_gate(result: GateResult) -> None:
    """Raise GateError unless the gate was passed."""
    if not result.passed:
        raise GateError(
            f"the model imagines {result.imagined:.3f} reward per step where the simulator gives {result.real:.3f} "
            f"from the same starts, a gap above {result.tolerance:g}; give the source task more steps, or generate "
            'with rollouts="executed"'
        )


def calibrate(
    uncertainty: NDArray[np.float32], uncertainty_factor: float, hard_stop_factor: float
) -> tuple[float, float]:
    """Return (threshold on a trajectory's mean u, hard stop on a row's u) from the u of real rows under the planner.

    The rows must be unseen by the model. The threshold is a multiple of their mean, which is what it is compared with,
    and the stop one of their 99 % quantile, since u has heavy tails at contacts.
    """
    values = uncertainty.astype(np.float64)
    return uncertainty_factor * float(values.mean()), hard_stop_factor * float(np.quantile(values, 0.99))
