"""The final performance bound with real figures, and whether it says anything.

(13)  J(pi) >= J~(pi) - 2 / (1 - gamma) * (estimation + dynamics), where
(11)  estimation = V_max / (1 - gamma) * sqrt((log|F| + log(1 / delta)) / |D|)      for a finite class F,
(12)  dynamics = alpha * gamma * L_V / (1 - gamma) * Delta                          with Delta = W1(model, truth) on D.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from wombet.errors import InputError

Label = Literal["bound", "estimate"]
"""bound: cannot be exceeded, if the paper's assumptions hold. estimate: measured on a sample, or assumed."""
ESTIMATION_BASIS = "the theorem's constant is taken as V_max, and the rows as independent, which both favour the bound"


@dataclass(frozen=True)
class Term:
    """One figure of the bound, what it is, and where it comes from."""

    name: str
    symbol: str
    value: float
    label: Label
    basis: str


@dataclass(frozen=True)
class Range:
    """Smallest and largest discounted return of an episode of at least one and at most `horizon` steps."""

    lowest: float
    largest: float
    value_bound: float


def final_bound(
    penalised_return: float,
    n_rows: int,
    n_parameters: int,
    lipschitz: float,
    model_error: float,
    offline_share: float,
    reward_range: tuple[float, float],
    discount: float,
    horizon: int,
    delta: float = 0.05,
    parameter_bits: int = 32,
    reward_label: Label = "bound",
    model_error_label: Label = "estimate",
) -> dict[str, Any]:
    """Return every term of (10)-(13) with its label and basis, the bound's value, and whether it is vacuous.

    `penalised_return` is discounted, as in `lower_bound`; `n_rows` the rows learnt from; `n_parameters` those of one
    critic, whose class is finite because parameters have `parameter_bits`; `lipschitz` (reward per distance) and
    `model_error` (distance) in the same units; `offline_share` is alpha; `reward_range` the rewards of one step, of
    which `reward_label` says whether they are limits or only the extremes that were seen. The bound is vacuous if it is
    no larger than the smallest possible return. `rows_needed` and `model_error_needed` say where that would end if the
    other term were zero, or are None where nothing would do. Raises InputError for a figure out of its range.
    """
    _check(n_rows, n_parameters, lipschitz, model_error, offline_share, reward_range, discount, horizon, delta)
    if not math.isfinite(penalised_return) or parameter_bits < 1:
        raise InputError(
            f"penalised_return is {penalised_return} and parameter_bits {parameter_bits}; they must be "
            "finite and at least 1"
        )
    if {reward_label, model_error_label} - set(get_args(Label)):
        raise InputError(f"labels are {reward_label!r} and {model_error_label!r}; they must be bound or estimate")
    limits, steps = _range(reward_range, discount, horizon), 1 / (1 - discount)
    log_class = n_parameters * parameter_bits * math.log(2)
    log_total, slope = log_class + math.log(1 / delta), offline_share * discount * lipschitz * steps
    estimation, dynamics = limits.value_bound * steps * math.sqrt(log_total / n_rows), slope * model_error
    gap = 2 * steps * (estimation + dynamics)
    value, room = penalised_return - gap, penalised_return - limits.lowest
    terms = [
        Term("penalised model return", "J~", penalised_return, "estimate", "mean over planned trajectories"),
        Term("largest value", "V_max", limits.value_bound, reward_label, "the reward's range over the horizon"),
        Term("size of the class", "log|F|", log_class, "bound", f"all critics of {parameter_bits}-bit parameters"),
        Term("Lipschitz constant", "L_V", lipschitz, "estimate", "steepness of a learnt value or of returns"),
        Term("model error", "Delta", model_error, model_error_label, "W1 of the model on the data"),
        Term("estimation (11)", "|Q - Q_alpha|", estimation, "estimate", ESTIMATION_BASIS),
        Term("dynamics (12)", "|Q_alpha - Q*|", dynamics, "estimate", "a product with the estimated L_V"),
        Term("gap", "2 / (1 - gamma) [(11) + (12)]", gap, "estimate", "a bound fed with estimates is an estimate"),
    ]
    return {
        "terms": [asdict(term) for term in terms],
        "lower_bound": value,
        "lowest_return": limits.lowest,
        "largest_return": limits.largest,
        "vacuous": value <= limits.lowest,
        "rows_needed": _rows_needed(2 * steps * steps * limits.value_bound, log_total, room),
        "model_error_needed": room / (2 * steps * slope) if room > 0 and slope > 0 else None,
        "sentence": _sentence(value, limits, horizon),
    }


def _range(reward_range: tuple[float, float], discount: float, horizon: int) -> Range:
    low, high = reward_range
    steps = (1 - discount**horizon) / (1 - discount)
    # An episode may end after its first step, which is the worst where every reward is positive.
    return Range(min(low, low * steps), max(high, high * steps), max(abs(low), abs(high)) * steps)


def _rows_needed(coefficient: float, log_total: float, room: float) -> int | None:
    return math.floor((coefficient / room) ** 2 * log_total) + 1 if room > 0 else None


def _sentence(value: float, limits: Range, horizon: int) -> str:
    possible = f"where discounted returns over {horizon} steps lie between {limits.lowest:.4g} and {limits.largest:.4g}"
    if value <= limits.lowest:
        return f"The final bound promises a return of at least {value:.4g}, {possible}: it is vacuous."
    share = (value - limits.lowest) / (limits.largest - limits.lowest) if limits.largest > limits.lowest else 1.0
    return (
        f"The final bound promises a return of at least {value:.4g}, {possible}: it is not vacuous, and lies "
        f"{100 * share:.0f} % of the way up, as far as its estimated terms are right."
    )


def _check(
    n_rows: int,
    n_parameters: int,
    lipschitz: float,
    model_error: float,
    offline_share: float,
    reward_range: tuple[float, float],
    discount: float,
    horizon: int,
    delta: float,
) -> None:
    low, high = reward_range
    demands = {
        "n_rows": (n_rows, n_rows >= 1, "at least 1"),
        "n_parameters": (n_parameters, n_parameters >= 1, "at least 1"),
        "lipschitz": (lipschitz, 0 <= lipschitz < math.inf, "finite and not negative"),
        "model_error": (model_error, 0 <= model_error < math.inf, "finite and not negative"),
        "offline_share": (offline_share, 0 <= offline_share <= 1, "from 0 to 1"),
        "reward_range": (reward_range, -math.inf < low <= high < math.inf, "finite, the smaller first"),
        "discount": (discount, 0 < discount < 1, "above 0 and below 1, or (13) is infinite"),
        "horizon": (horizon, horizon >= 1, "at least 1"),
        "delta": (delta, 0 < delta < 1, "between 0 and 1"),
    }
    for name, (value, right, wanted) in demands.items():
        if not right:
            raise InputError(f"{name} is {value}; it must be {wanted}")
