"""Settings of the world model, with their reasons."""

from dataclasses import dataclass

from wombet.errors import InputError

MEASURES = ("elite_std", "max_aleatoric", "max_deviation", "ensemble_std", "pairwise")
"""Names of the uncertainty measures; see `WorldModel.uncertainty`."""

INFERENCE_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class WorldModelConfig:
    """Settings of the ensemble and its training; raises InputError for a value out of range."""

    n_members: int = 7
    """Seven, as in MBPO and MOPO; five suffice on a CPU."""
    n_elites: int = 5
    """Members of lowest held-out error, which alone predict: it drops the odd member whose training failed (MBPO)."""
    hidden_width: int = 200
    """PETS and MBPO; 128 reaches the same error on the planar robots at half the cost."""
    hidden_layers: int = 4
    """MBPO; 3 on a CPU."""
    batch_size: int = 256
    """Rows per member and step (MBPO)."""
    learning_rate: float = 1e-3
    """Adam's (PETS, MBPO)."""
    weight_decay: float | tuple[float, ...] = 1e-6
    """One number, or one per layer (MBPO: 2.5e-5 to 1e-4); inputs and targets are standardised, so little is needed."""
    max_steps: int = 5000
    """Gradient steps of one fit; about 35 000 rows profit from 7500 and more."""
    min_steps: int = 2500
    """Steps below which a fit never stops early, however few the rows: epochs on little data are far too few steps."""
    patience: int = 5
    """Checks in a row without progress of any member after which training stops (MBPO)."""
    check_interval: int = 60
    """Steps between checks on held-out rows, or one epoch if that is longer: a check costs about two steps."""
    holdout_fraction: float = 0.2
    """Share of the rows, in whole trajectories, that is held out (MBPO)."""
    holdout_max: int = 1000
    """Rows beyond which holding out more says little and costs data (MBPO)."""
    logvar_bounds: tuple[float, float] = (-10.0, 0.5)
    """Where the learned bounds of the standardised log-variance begin (PETS)."""
    bound_penalty: float = 0.01
    """Weight of the bounds' width in the loss, which keeps them tight (PETS)."""
    likelihood_beta: float = 0.0
    """Power of the predicted variance that weights the likelihood of an entry (beta-NLL, 2203.09168). 0 is the plain
    likelihood of PETS and MBPO, which lets a member call hard rows noise and stop learning them; the simulators have
    no noise, and 0.5 fitted swimmer's rows five times as closely in 7500 steps (error 0.012 against 0.057)."""
    uncertainty: str = "elite_std"
    """Measure that planning, thresholds and reports use; the default is free of units, so settings carry over."""
    inference_dtype: str = "float32"
    """Precision of weights and activations wherever the elites predict: in plans, imagined rows, uncertainties and the
    open-loop errors of the report. bfloat16 halves a planner's time on a processor with avx512_bf16 and rounds hidden
    activations to three digits; states, outputs, rewards and training stay in float32."""

    def __post_init__(self) -> None:
        for name in ("n_members", "n_elites", "hidden_width", "hidden_layers", "batch_size", "max_steps", "patience"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.n_elites <= self.n_members, "n_elites", self.n_elites, f"at most n_members ({self.n_members})")
        require(0 <= self.min_steps <= self.max_steps, "min_steps", self.min_steps, "between 0 and max_steps")
        require(self.check_interval >= 1, "check_interval", self.check_interval, "at least 1")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        require(0 < self.holdout_fraction < 1, "holdout_fraction", self.holdout_fraction, "between 0 and 1")
        require(self.holdout_max >= 1, "holdout_max", self.holdout_max, "at least 1")
        require(self.logvar_bounds[0] < self.logvar_bounds[1], "logvar_bounds", self.logvar_bounds, "(low, high)")
        require(self.bound_penalty >= 0, "bound_penalty", self.bound_penalty, "zero or more")
        require(0 <= self.likelihood_beta <= 1, "likelihood_beta", self.likelihood_beta, "from 0 to 1")
        layers = self.hidden_layers + 1
        fits = len(self.weight_decays) == layers and min(self.weight_decays) >= 0
        require(fits, "weight_decay", self.weight_decay, f"one number, or {layers}, none of them negative")
        require(self.uncertainty in MEASURES, "uncertainty", self.uncertainty, f"one of {', '.join(MEASURES)}")
        known = self.inference_dtype in INFERENCE_DTYPES
        require(known, "inference_dtype", self.inference_dtype, f"one of {', '.join(INFERENCE_DTYPES)}")

    @property
    def weight_decays(self) -> tuple[float, ...]:
        """The decay of every layer."""
        if isinstance(self.weight_decay, int | float):
            return (float(self.weight_decay),) * (self.hidden_layers + 1)
        return tuple(self.weight_decay)


def require(holds: bool, name: str, value: object, right: str) -> None:
    """Raise InputError, saying what `name` is and what would be right, unless the condition holds."""
    if not holds:
        raise InputError(f"{name} is {value}; it must be {right}")
