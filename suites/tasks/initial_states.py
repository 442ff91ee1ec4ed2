"""Distributions of initial simulator states, and drawing from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class InitialStates:
    """A distribution of (qpos, qvel) around a base state, in metres, radians and seconds.

    `qpos_noise` is the half-width of uniform noise on every entry of qpos; `qvel_noise` is the same for qvel, or a
    standard deviation if `normal_qvel`. `qpos` and `qvel` add a uniform draw from (low, high) to the entry they name by
    index. In degrees, `yaw` turns a free joint about the vertical and `tilt` at most so far about a horizontal axis.
    """

    qpos_noise: float = 0.0
    qvel_noise: float = 0.0
    normal_qvel: bool = False
    qpos: Mapping[int, Range] = field(default_factory=dict)
    qvel: Mapping[int, Range] = field(default_factory=dict)
    yaw: Range | None = None
    tilt: float = 0.0


def draw(
    initial: InitialStates, base_qpos: Array, base_qvel: Array, free_root: bool, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return one draw (qpos, qvel); with `free_root`, qpos[3:7] is a unit quaternion."""
    qpos, qvel = base_qpos.copy(), base_qvel.copy()
    if initial.qpos_noise:
        qpos += generator.uniform(-initial.qpos_noise, initial.qpos_noise, qpos.size)
    if initial.qvel_noise:
        unit = generator.standard_normal(qvel.size) if initial.normal_qvel else generator.uniform(-1.0, 1.0, qvel.size)
        qvel += initial.qvel_noise * unit
    for values, ranges in ((qpos, initial.qpos), (qvel, initial.qvel)):
        for index in sorted(ranges):
            values[index] += generator.uniform(*ranges[index])
    if free_root:
        # Entry-wise noise leaves the quaternion off the unit sphere.
        turned = _turn(initial, qpos[3:7], generator)
        qpos[3:7] = turned / np.linalg.norm(turned)
    return qpos, qvel


def _turn(initial: InitialStates, quaternion: Array, generator: np.random.Generator) -> Array:
    if initial.tilt:
        angle = np.deg2rad(generator.uniform(0.0, initial.tilt))
        axis = generator.uniform(0.0, 2.0 * np.pi)
        quaternion = _product(_rotation(angle, (np.cos(axis), np.sin(axis), 0.0)), quaternion)
    if initial.yaw is not None:
        angle = np.deg2rad(generator.uniform(*initial.yaw))
        quaternion = _product(_rotation(angle, (0.0, 0.0, 1.0)), quaternion)
    return quaternion


def _rotation(angle: float, axis: tuple[float, float, float]) -> Array:
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * np.asarray(axis))])


def _product(left: Any, right: Any) -> Array:
    scalar = left[0] * right[0] - left[1:] @ right[1:]
    vector = left[0] * right[1:] + right[0] * left[1:] + np.cross(left[1:], right[1:])
    return np.array([scalar, *vector])
