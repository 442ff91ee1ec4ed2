"""The families that walk, run and swim; their numbers are this project's own design and are frozen."""

from suites.tasks.families import Family, Level
from suites.tasks.initial_states import InitialStates
from suites.tasks.observations import JointObservation
from suites.tasks.rewards import fallen, heading, height_outside, never, speed

_NO_POSITION = {"exclude_current_positions_from_observation": True}
_NO_END = {**_NO_POSITION, "terminate_when_unhealthy": False}


def halfcheetah() -> Family:
    """Run at a set speed; far is backwards."""
    wild = {1: (0.0, 0.3)}
    return Family(
        name="halfcheetah",
        env_id="HalfCheetah-v5",
        kwargs=_NO_POSITION,
        observation=JointObservation(nq=9, nv=9, n_omitted=1, n_rates=1, angle_indices=(2,)),
        action_dim=6,
        reward=speed,
        reward_parameters={"alive": 0.0, "effort_cost": 0.1, "floor": -1.0},
        terminated=never,
        terminated_parameters={},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.1, 0.1, True), {"target": 3.0}),
            "close": Level(InitialStates(0.1, 0.1, True, {2: (-0.3, 0.3)}, {0: (-0.5, 1.0)}), {"target": 4.0}),
            "moderate": Level(
                InitialStates(0.1, 0.2, True, {**wild, 2: (-0.8, 0.8)}, {0: (-2.0, 2.0)}), {"target": 5.0}
            ),
            "far": Level(InitialStates(0.1, 0.2, True, {**wild, 2: (-1.5, 1.5)}, {0: (-2.0, 2.0)}), {"target": -3.0}),
        },
        group="core",
    )


def hopper() -> Family:
    """Hop at a set speed without falling; far is backwards."""
    lifted = {1: (0.0, 0.15), 2: (-0.08, 0.08)}
    moderate = InitialStates(
        0.02, 0.05, False, {**lifted, 3: (-0.3, 0.0), 4: (-0.3, 0.0)}, {0: (-0.5, 1.0), 1: (-0.5, 0.5)}
    )
    far = InitialStates(0.02, 0.05, False, {**lifted, 3: (-0.5, 0.0), 4: (-0.5, 0.0)}, {0: (-1.0, 0.5), 1: (-0.5, 0.5)})
    return Family(
        name="hopper",
        env_id="Hopper-v5",
        kwargs=_NO_END,
        observation=JointObservation(nq=6, nv=6, n_omitted=1, n_rates=1, angle_indices=(2,)),
        action_dim=3,
        reward=speed,
        reward_parameters={"alive": 0.25, "effort_cost": 0.05, "floor": 0.0},
        terminated=fallen,
        terminated_parameters={"min_height": 0.7, "max_height": None, "max_pitch": 0.2},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.005, 0.005), {"target": 1.0}),
            "close": Level(InitialStates(0.02, 0.02, False, {1: (0.0, 0.05)}, {0: (0.0, 0.5)}), {"target": 1.4}),
            "moderate": Level(moderate, {"target": 2.0}),
            "far": Level(far, {"target": -1.0}),
        },
        group="core",
    )


def walker2d() -> Family:
    """Walk at a set speed without falling; far is backwards."""
    lifted = {1: (0.0, 0.1)}
    return Family(
        name="walker2d",
        env_id="Walker2d-v5",
        kwargs=_NO_END,
        observation=JointObservation(nq=9, nv=9, n_omitted=1, n_rates=1, angle_indices=(2,)),
        action_dim=6,
        reward=speed,
        reward_parameters={"alive": 0.25, "effort_cost": 0.05, "floor": 0.0},
        terminated=fallen,
        terminated_parameters={"min_height": 0.8, "max_height": 2.0, "max_pitch": 1.0},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.005, 0.005), {"target": 1.0}),
            "close": Level(InitialStates(0.02, 0.02, False, {2: (-0.1, 0.1)}, {0: (0.0, 0.5)}), {"target": 1.4}),
            "moderate": Level(
                InitialStates(0.02, 0.05, False, {**lifted, 2: (-0.3, 0.3)}, {0: (-0.5, 1.0)}), {"target": 2.0}
            ),
            "far": Level(
                InitialStates(0.02, 0.05, False, {**lifted, 2: (-0.5, 0.5)}, {0: (-1.0, 0.5)}), {"target": -1.0}
            ),
        },
        group="core",
    )


def ant() -> Family:
    """Walk at 1 m/s in a set direction of the world without falling."""
    return Family(
        name="ant",
        env_id="Ant-v5",
        kwargs={**_NO_END, "include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0},
        observation=JointObservation(nq=15, nv=14, n_omitted=2, n_rates=2),
        action_dim=8,
        reward=heading,
        reward_parameters={"target": 1.0, "alive": 0.25, "effort_cost": 0.1, "floor": 0.0, "drift_cost": 0.25},
        terminated=height_outside,
        terminated_parameters={"min_height": 0.2, "max_height": 1.0},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.1, 0.1, True), {"degrees": 0.0}),
            "close": Level(InitialStates(0.1, 0.1, True, yaw=(-20.0, 20.0)), {"degrees": 30.0}),
            "moderate": Level(InitialStates(0.1, 0.2, True, yaw=(-60.0, 60.0), tilt=10.0), {"degrees": 90.0}),
            "far": Level(InitialStates(0.1, 0.2, True, yaw=(-180.0, 180.0), tilt=20.0), {"degrees": 180.0}),
        },
        group="core",
    )


def swimmer() -> Family:
    """Swim at 0.25 m/s in a set direction of the world, as the centre of mass counts it."""
    bent = {2: (-0.8, 0.8), 3: (-0.8, 0.8), 4: (-0.8, 0.8)}
    curled = {2: (-1.6, 1.6), 3: (-1.2, 1.2), 4: (-1.2, 1.2)}
    return Family(
        name="swimmer",
        env_id="Swimmer-v5",
        kwargs=_NO_POSITION,
        observation=JointObservation(nq=5, nv=5, n_omitted=2, n_rates=2, rate_of="mass", angle_indices=(2,)),
        action_dim=2,
        reward=heading,
        reward_parameters={"target": 0.25, "alive": 0.0, "effort_cost": 0.02, "floor": -1.0, "drift_cost": 0.25},
        terminated=never,
        terminated_parameters={},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.1, 0.1), {"degrees": 0.0}),
            "close": Level(InitialStates(0.1, 0.1, False, {2: (-0.3, 0.3)}), {"degrees": 30.0}),
            "moderate": Level(InitialStates(0.1, 0.2, False, bent), {"degrees": 90.0}),
            "far": Level(InitialStates(0.1, 0.2, False, curled), {"degrees": 180.0}),
        },
        group="core",
    )


def humanoid() -> Family:
    """Walk at a set speed in a set direction of the world without falling; costly, so asked for by name."""
    left_out = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
    turned = InitialStates(0.02, 0.05, False, {}, {0: (-0.5, 0.5)}, yaw=(-45.0, 45.0))
    spun = InitialStates(0.02, 0.05, False, {}, {0: (-0.5, 0.5)}, yaw=(-180.0, 180.0))
    return Family(
        name="humanoid",
        env_id="Humanoid-v5",
        kwargs={
            **_NO_END,
            **{f"include_{part}_in_observation": False for part in left_out},
            "contact_cost_weight": 0.0,
        },
        observation=JointObservation(nq=24, nv=23, n_omitted=2, n_rates=2),
        action_dim=17,
        reward=heading,
        reward_parameters={"alive": 0.5, "effort_cost": 0.1, "floor": 0.0, "drift_cost": 0.25},
        terminated=height_outside,
        terminated_parameters={"min_height": 1.0, "max_height": 2.0},
        horizon=1000,
        levels={
            "source": Level(InitialStates(0.01, 0.01), {"target": 0.5, "degrees": 0.0}),
            "close": Level(InitialStates(0.01, 0.01, False, {}, {0: (0.0, 0.5)}), {"target": 1.0, "degrees": 0.0}),
            "moderate": Level(turned, {"target": 1.0, "degrees": 60.0}),
            "far": Level(spun, {"target": 1.0, "degrees": 180.0}),
        },
        group="extended",
    )
