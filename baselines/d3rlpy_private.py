"""The only place that touches private names of d3rlpy, which may change with any release; a test watches them.

Used of CQLImpl: `_compute_conservative_loss` (replaced), `_compute_policy_is_values`, `_compute_random_is_values`,
`_q_func_forwarder` and `_conservative_weight`; of CalQLImpl: `_compute_policy_is_values` (watched).
"""

from typing import Any

import torch
from torch import Tensor


def press_up_real_rows_only(impl: Any, n_real: int, first: int) -> None:
    """Give d3rlpy's CQL the conservative term of COMBO (2102.08363) for batches whose first `n_real` rows are real.

    Values of the policy's actions are pressed down in the states from row `first` on, those of recorded actions up in
    the real rows alone. The rest of the update stays d3rlpy's.
    """

    def conservative_loss(obs_t: Tensor, act_t: Tensor, obs_tp1: Tensor, returns_to_go: Tensor) -> Tensor:
        states, following = obs_t[first:], obs_tp1[first:]
        sampled = (
            impl._compute_policy_is_values(states, states, returns_to_go),
            impl._compute_policy_is_values(following, states, returns_to_go),
            impl._compute_random_is_values(states),
        )
        pressed_down = torch.cat([values - log_density for values, log_density in sampled], 2).logsumexp(2).mean(1)
        pressed_up = impl._q_func_forwarder.compute_expected_q(obs_t[:n_real], act_t[:n_real], "none").mean((1, 2))
        return impl._conservative_weight * (pressed_down - pressed_up)

    impl._compute_conservative_loss = conservative_loss


def watch_bounded_values(impl: Any) -> list[float]:
    """Return a list to which d3rlpy's Cal-QL then appends which share of the policy's values its bound has lifted.

    An update appends twice: for actions of the policy in the states, and in the following states.
    """
    lifted: list[float] = []
    bounded = impl._compute_policy_is_values

    def watched(policy_obs: Tensor, value_obs: Tensor, returns_to_go: Tensor) -> tuple[Tensor, Tensor]:
        values, log_density = bounded(policy_obs, value_obs, returns_to_go)
        lifted.append(float((values == returns_to_go).float().mean()))
        return values, log_density

    impl._compute_policy_is_values = watched
    return lifted
