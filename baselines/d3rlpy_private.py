"""The only place that touches private names of d3rlpy, which may change with any release; a test watches them.

Used of CQLImpl: `_compute_conservative_loss` (replaced), `_compute_policy_is_values`, `_compute_random_is_values`,
`_q_func_forwarder` and `_conservative_weight`; of CalQLImpl: `_compute_policy_is_values` (watched). Of AWACImpl
`compute_target` is replaced, which is no private name, but part of the inside.
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


def back_up_the_policys_own_actions(impl: Any) -> None:
    """Give d3rlpy's AWAC the target of its paper: the smallest target value of an action that the policy would take.

    d3rlpy 2 leaves it SAC's: with an entropy term at a temperature of 1, which at rewards of at most 1 per step is most
    of the value, and with actions that are squashed after the noise, where this policy's are clipped.
    """

    def target(batch: Any) -> Tensor:
        with torch.no_grad():
            following = batch.next_observations
            action = impl.inner_sample_action(following)
            return torch.stack([critic(following, action).q_value for critic in impl.modules.targ_q_funcs]).amin(0)

    impl.compute_target = target
