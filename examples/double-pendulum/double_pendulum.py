"""A task family of another package: hold two poles upright, one on the other, with the cart at a set place."""

from suites.tasks import Family, InitialStates, JointObservation, Level


def upright_at(obs, action, next_obs, *, place, effort_cost):
    """Reward upright poles and a cart that is near `place` (m); the cart leads the observation, two angles follow."""
    lean = abs(next_obs[..., 1]) + abs(next_obs[..., 1] + next_obs[..., 2])
    away = abs(next_obs[..., 0] - place)
    return 1.0 - lean.clip(0.0, 1.0) - 0.5 * away.clip(0.0, 1.0) - effort_cost * (action * action).mean(-1)


def fallen(next_obs, *, max_angle):
    """Terminate where the lower pole leans further than `max_angle` (rad)."""
    return ~(abs(next_obs[..., 1]) < max_angle)


def family():
    """Levels differ in the place to be at, and in how far from upright an episode begins."""
    return Family(
        name="double_pendulum",
        env_id="InvertedDoublePendulum-v5",
        kwargs={},
        observation=JointObservation(nq=3, nv=3),
        action_dim=1,
        reward=upright_at,
        reward_parameters={"effort_cost": 0.02},
        terminated=fallen,
        terminated_parameters={"max_angle": 0.8},
        horizon=100,
        levels={
            "source": Level(InitialStates(qpos_noise=0.01, qvel_noise=0.01), {"place": 0.0}),
            "close": Level(InitialStates(qpos_noise=0.02, qvel_noise=0.02), {"place": 0.2}),
            "far": Level(InitialStates(qpos_noise=0.05, qpos={0: (-0.5, 0.5)}), {"place": -0.6}),
        },
    )
