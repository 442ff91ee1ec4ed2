"""Settings of the planner, with their reasons."""

from dataclasses import dataclass

from wombet.world_model_config import require

OPTIMISERS = ("icem", "cem")
PROPAGATIONS = ("mean", "tsinf", "ts1")

STATES_AT_ONCE = 65_536
"""States that a planner follows together: far more than it takes to be fast, and few enough for a small memory."""


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of model-predictive control by sampling; raises InputError for a value out of range."""

    optimiser: str = "icem"
    """icem (2008.06389) needs far fewer samples than cem, the one of PETS (1805.12114)."""
    horizon: int = 15
    """Steps looked ahead: 12 to 30 alone, 4 to 8 with a terminal value."""
    population: int = 64
    """Sequences drawn per iteration; with icem, in the first."""
    iterations: int = 3
    """Refinements of the sampling distribution per plan."""
    n_elites: int = 10
    """Best sequences that the next distribution is fitted to."""
    momentum: float = 0.1
    """Weight of the old mean and spread in the new ones (iCEM and PETS)."""
    noise_beta: float = 1.0
    """icem: exponent of the noise along time; 0 is white, 1 suits running robots, 2 and more reaching ones."""
    init_std: float = 0.5
    """Spread of the first iteration, in half ranges of the action (iCEM and PETS); 0.1 around a good policy."""
    keep_fraction: float = 0.3
    """icem: share of the elites that also competes in the next iteration and, shifted, in the next plan."""
    population_decay: float = 1.25
    """icem: factor by which the population shrinks per iteration, down to twice the elites."""
    propagation: str = "mean"
    """mean: all elites predict from one state, which moves to the mean of their means, so the uncertainty is that of
    the state. tsinf, ts1: sampled particles that keep their elite, or change it every step (PETS)."""
    n_particles: int = 5
    """tsinf and ts1: particles per sequence, a multiple of the model's elites (PETS: 20)."""
    discount: float = 0.99
    """Of reward and penalty per step; 1 in PETS."""
    penalty_scale: float = 1.0
    """c in lambda = c * mean |reward| / q95(u): free of units; 1 made the bound on the real return hold, 3 and more
    defeat an uncertainty filter."""
    replan_interval: int = 1
    """Actions executed per plan: 2 halves the cost for a loss of a few per cent."""
    n_policy_proposals: int = 0
    """Rollouts of the guide in the model that compete in the first iteration; 0 is the paper's planner."""
    proposal_noise: float = 0.2
    """Standard deviation of the noise on the actions of all proposals but the first."""
    terminal_value: bool = False
    """Whether the guide's value ends the sum; off is the paper's planner."""
    terminal_penalty: float = 0.0
    """lambda_V in units of lambda: how much the uncertainty where the plan ends lowers its terminal value."""

    def __post_init__(self) -> None:
        require(self.optimiser in OPTIMISERS, "optimiser", self.optimiser, f"one of {', '.join(OPTIMISERS)}")
        require(self.propagation in PROPAGATIONS, "propagation", self.propagation, f"one of {', '.join(PROPAGATIONS)}")
        for name in ("horizon", "population", "iterations", "n_elites", "n_particles", "replan_interval"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(
            self.n_elites <= self.population, "n_elites", self.n_elites, f"at most {self.population}, the population"
        )
        interval = self.replan_interval
        require(interval <= self.horizon, "replan_interval", interval, f"at most {self.horizon}, the horizon")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(self.init_std > 0, "init_std", self.init_std, "positive")
        require(0 <= self.keep_fraction <= 1, "keep_fraction", self.keep_fraction, "from 0 to 1")
        require(self.population_decay >= 1, "population_decay", self.population_decay, "at least 1")
        require(0 < self.discount <= 1, "discount", self.discount, "above 0 and at most 1")
        for name in ("noise_beta", "penalty_scale", "n_policy_proposals", "proposal_noise", "terminal_penalty"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "zero or more")

    @property
    def needs_guide(self) -> bool:
        """Whether proposals or a terminal value are asked for: both deviate from the paper's planner."""
        return self.terminal_value or self.n_policy_proposals > 0

    @property
    def n_kept(self) -> int:
        """How many elites compete again."""
        if self.optimiser == "cem" or self.keep_fraction == 0:
            return 0
        return max(1, int(self.keep_fraction * self.n_elites))

    @property
    def states_per_episode(self) -> int:
        """The most states that are followed at a time to plan for one episode."""
        sequences = max(self.population_at(0) + self.n_kept, self.n_policy_proposals)
        return sequences if self.propagation == "mean" else sequences * self.n_particles

    @property
    def episodes_at_once(self) -> int:
        """How many episodes are planned for together; more than these are taken in turn."""
        return max(1, STATES_AT_ONCE // self.states_per_episode)

    def population_at(self, iteration: int) -> int:
        """Sequences drawn in an iteration."""
        if self.optimiser == "cem":
            return self.population
        shrunk = int(self.population * self.population_decay**-iteration)
        return min(self.population, max(2 * self.n_elites, shrunk))


PETS_CEM = PlannerConfig(
    optimiser="cem",
    horizon=30,
    population=500,
    iterations=5,
    n_elites=50,
    propagation="tsinf",
    n_particles=20,
    discount=1.0,
)
"""PETS on HalfCheetah (1805.12114 and its code): 1.5 million model rows per step, for accelerators."""


def calibrated_penalty(scale: float, mean_abs_reward: float, uncertainty_q95: float) -> float:
    """Return lambda, the price of one unit of uncertainty, so that its 95 % quantile costs `scale` mean rewards."""
    require(uncertainty_q95 > 0, "the 95 % quantile of the uncertainty", uncertainty_q95, "positive")
    return scale * mean_abs_reward / uncertainty_q95
