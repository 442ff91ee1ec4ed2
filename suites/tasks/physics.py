"""A simulation's state as arrays, from which it goes on byte for byte."""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

_INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)


def save_physics(model: Any, data: Any) -> dict[str, Any]:
    """Return all that decides the future of a MuJoCo simulation, in mid-episode too."""
    physics = np.empty(mujoco.mj_stateSize(model, _INTEGRATION))
    mujoco.mj_getState(model, data, physics, _INTEGRATION)
    # Stock rewards read body positions as the last step left them, and the physics state leaves those out.
    return {"physics": physics, "xpos": data.xpos.copy(), "xipos": data.xipos.copy()}


def restore_physics(model: Any, data: Any, state: Mapping[str, Any]) -> None:
    """Put a simulation of the same model back to where `save_physics` found it."""
    mujoco.mj_resetData(model, data)
    mujoco.mj_setState(model, data, np.asarray(state["physics"], np.float64), _INTEGRATION)
    # Not mj_forward, which would change the solver's warm start.
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)
    data.xpos[:], data.xipos[:] = state["xpos"], state["xipos"]
