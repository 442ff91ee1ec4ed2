"""The families that stay in place: two arms and a cart; their numbers are this project's own design and are frozen."""

from suites.tasks.families import Family, Level
from suites.tasks.initial_states import InitialStates
from suites.tasks.observations import JointObservation, PusherObservation, ReacherObservation
from suites.tasks.rewards import cart_at, never, pole_tilted, push, reach


def pusher() -> Family:
    """Push an object to a goal; entries 7 and 8 of qpos shift it along y and x, 0 and 3 are the arm's pan and elbow."""
    start = {7: (-0.30, -0.17)}
    turned = {0: (-0.3, 0.3), 3: (-0.3, 0.0)}
    moderate = InitialStates(0.02, 0.02, False, {**turned, **start, 8: (-0.20, 0.20)})
    far = InitialStates(0.02, 0.02, False, {0: (-0.6, 0.6), 3: (-0.5, 0.0), 7: (-0.10, 0.05), 8: (0.0, 0.2)})
    return Family(
        name="pusher",
        env_id="Pusher-v5",
        kwargs={},
        observation=PusherObservation(),
        action_dim=7,
        reward=push,
        reward_parameters={"tip_cost": 0.5, "effort_cost": 0.05},
        terminated=never,
        terminated_parameters={},
        horizon=100,
        levels={
            "source": Level(InitialStates(0.0, 0.005, False, {**start, 8: (-0.10, 0.10)}), {"goal": (0.45, -0.05)}),
            "close": Level(InitialStates(0.0, 0.005, False, {**start, 8: (-0.15, 0.15)}), {"goal": (0.45, 0.05)}),
            "moderate": Level(moderate, {"goal": (0.65, -0.05)}),
            "far": Level(far, {"goal": (0.25, -0.35)}),
        },
        group="core",
    )


def cartpole() -> Family:
    """Hold a pole upright with the cart at a set place."""
    return Family(
        name="cartpole",
        env_id="InvertedPendulum-v5",
        kwargs={},
        observation=JointObservation(nq=2, nv=2),
        action_dim=1,
        reward=cart_at,
        reward_parameters={"effort_cost": 0.02},
        terminated=pole_tilted,
        terminated_parameters={"max_angle": 0.2},
        horizon=200,
        levels={
            "source": Level(InitialStates(0.01, 0.01), {"target": 0.0}),
            "close": Level(InitialStates(0.01, 0.01, False, {0: (-0.2, 0.2)}), {"target": 0.2}),
            "moderate": Level(InitialStates(0.01, 0.05, False, {0: (-0.5, 0.3), 1: (-0.05, 0.05)}), {"target": 0.5}),
            "far": Level(InitialStates(0.01, 0.10, False, {0: (0.0, 0.7), 1: (-0.1, 0.1)}), {"target": -0.7}),
        },
        group="smoke",
    )


def reacher() -> Family:
    """Bring a fingertip to a goal."""
    return Family(
        name="reacher",
        env_id="Reacher-v5",
        kwargs={},
        observation=ReacherObservation(),
        action_dim=2,
        reward=reach,
        reward_parameters={"effort_cost": 0.05},
        terminated=never,
        terminated_parameters={},
        horizon=50,
        levels={
            "source": Level(InitialStates(0.1, 0.005), {"goal": (0.14, 0.0)}),
            "close": Level(InitialStates(0.1, 0.005, False, {0: (-0.3, 0.3)}), {"goal": (0.139, 0.02)}),
            "moderate": Level(InitialStates(0.1, 0.05, False, {0: (-0.8, 0.8), 1: (-0.8, 0.8)}), {"goal": (0.0, 0.14)}),
            "far": Level(InitialStates(0.1, 0.05, False, {0: (-1.6, 1.6), 1: (-1.6, 1.6)}), {"goal": (-0.14, 0.0)}),
        },
        group="smoke",
    )
