"""Reward pieces, rewards and termination rules that run on numpy arrays and torch tensors alike.

Every function takes batches of shape (..., dim), returns shape (...,) in the precision of its input, and uses only the
operators and methods both libraries share, so a planner calls the code that the environment calls.
Rewards are at most 1 per step.
"""

import math
from typing import Any

Batch = Any


def effort(action: Batch) -> Batch:
    """Return the mean squared action entry: 0 at rest, 1 at full effort."""
    return (action * action).mean(-1)


def tent(value: Batch, target: float) -> Batch:
    """Return 1 at `target`, 0 at zero and linear between; beyond the target it falls as it rose."""
    return 1.0 - abs(value - target) / abs(target)


def near(distance: Batch, reach: float, scale: float) -> Batch:
    """Return 1 at distance 0: half of it a line that is zero at `reach`, half a peak of half-width `scale`."""
    return 0.5 * (1.0 - distance / reach) + 0.5 / (1.0 + (distance / scale) ** 2)


def speed(
    obs: Batch, action: Batch, next_obs: Batch, *, target: float, alive: float, effort_cost: float, floor: float
) -> Batch:
    """Reward the mean forward velocity `next_obs[..., 0]` (m/s) for being `target`, which may be negative."""
    track = tent(next_obs[..., 0], target).clip(floor, 1.0)
    return alive + (1.0 - alive) * track - effort_cost * effort(action)


def heading(
    obs: Batch,
    action: Batch,
    next_obs: Batch,
    *,
    target: float,
    degrees: float,
    alive: float,
    effort_cost: float,
    floor: float,
    drift_cost: float,
) -> Batch:
    """Reward the mean planar velocity `next_obs[..., :2]` (m/s) for being `target` along a direction of the world."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along = next_obs[..., 0] * cosine + next_obs[..., 1] * sine
    across = next_obs[..., 1] * cosine - next_obs[..., 0] * sine
    track = (tent(along, target) - drift_cost * abs(across) / abs(target)).clip(floor, 1.0)
    return alive + (1.0 - alive) * track - effort_cost * effort(action)


def cart_at(obs: Batch, action: Batch, next_obs: Batch, *, target: float, effort_cost: float) -> Batch:
    """Reward the cart position `next_obs[..., 0]` (m) for being near `target`."""
    return near(abs(next_obs[..., 0] - target), 2.0, 0.2) - effort_cost * effort(action)


def reach(obs: Batch, action: Batch, next_obs: Batch, *, goal: tuple[float, float], effort_cost: float) -> Batch:
    """Reward the fingertip `next_obs[..., 6:8]` (m) for being near `goal`."""
    x, y = next_obs[..., 6] - goal[0], next_obs[..., 7] - goal[1]
    return near((x * x + y * y) ** 0.5, 0.45, 0.03) - effort_cost * effort(action)


def push(
    obs: Batch, action: Batch, next_obs: Batch, *, goal: tuple[float, float], tip_cost: float, effort_cost: float
) -> Batch:
    """Reward the object `next_obs[..., 17:19]` for being at `goal`, tip `next_obs[..., 14:17]` at the object (m)."""
    object_height = -0.275
    x, y = next_obs[..., 14] - next_obs[..., 17], next_obs[..., 15] - next_obs[..., 18]
    z = next_obs[..., 16] - object_height
    goal_x, goal_y = next_obs[..., 17] - goal[0], next_obs[..., 18] - goal[1]
    tip_distance = (x * x + y * y + z * z) ** 0.5
    goal_distance = (goal_x * goal_x + goal_y * goal_y) ** 0.5
    apart = (goal_distance / 0.3).clip(0.0, 2.0) + tip_cost * (tip_distance / 0.3).clip(0.0, 2.0)
    return 1.0 - apart - effort_cost * effort(action)


def never(next_obs: Batch) -> Batch:
    """Terminate only where an entry of the observation is NaN."""
    return (next_obs != next_obs).any(-1)


def fallen(next_obs: Batch, *, min_height: float, max_height: float | None, max_pitch: float) -> Batch:
    """Terminate where height `next_obs[..., 1]` (m) or pitch `next_obs[..., 2]` (rad) has left its open range."""
    height, pitch = next_obs[..., 1], next_obs[..., 2]
    upright = (height > min_height) & (abs(pitch) < max_pitch)
    if max_height is not None:
        upright = upright & (height < max_height)
    return ~upright


def height_outside(next_obs: Batch, *, min_height: float, max_height: float) -> Batch:
    """Terminate where the height `next_obs[..., 2]` (m) is outside the closed range."""
    height = next_obs[..., 2]
    return ~((height >= min_height) & (height <= max_height))


def pole_tilted(next_obs: Batch, *, max_angle: float) -> Batch:
    """Terminate where the pole's angle `next_obs[..., 1]` (rad) exceeds `max_angle` to either side."""
    return ~(abs(next_obs[..., 1]) <= max_angle)
