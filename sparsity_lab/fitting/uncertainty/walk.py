"""Walks lanes outwards from the best values until the objective crosses a level, and finds the crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.uncertainty.lanes import Lanes
from sparsity_lab.laws._law import Array

GROWTH = 1.7  # of the steps outwards
MOST_STEPS = 80
MOST_ROOTS = 40
ROOT = 1e-6  # of the way from the best value to the end


@dataclass
class Ends:
    """Where K lanes cross their level.

    Attributes:
        value: the crossing, or the edge of a lane that never crosses. is_open: which lanes never do.
        theta: the coordinates there, shape (K, k).
    """

    value: Array
    is_open: np.ndarray
    theta: Array


@dataclass(frozen=True)
class OutwardWalk:
    """From where, how far and up to what K lanes go.

    Attributes:
        lane: which lane each goes along, (K,).
        start: values inside the interval, (K,). theta: coordinates there, (K, k). objective: there, (K,).
        tangent: how the coordinates move with the value at first, (K, k).
        step: the first step, signed, (K,). edge: the last value allowed, (K,). level: (K,).
        least: the least objective of all, from which its rise is counted.
    """

    lane: np.ndarray
    start: Array
    theta: Array
    objective: Array
    tangent: Array
    step: Array
    edge: Array
    level: Array
    least: float

    def ends(self, lanes: Lanes) -> Ends:
        """Walk all lanes to their ends."""
        inside, outside, found = _bracketed(self, lanes)
        rows = np.flatnonzero(~found.is_open)
        if len(rows):
            _crossings(self, lanes, rows, inside, outside, found)
        return found


@dataclass
class _Place:
    value: Array
    objective: Array
    theta: Array


def _bracketed(walk: OutwardWalk, lanes: Lanes) -> tuple[_Place, _Place, Ends]:
    """The last places inside the level, the first outside, and the lanes that reach their edge."""
    inside = _Place(walk.start.copy(), walk.objective.copy(), walk.theta.copy())
    outside = _Place(walk.edge.copy(), np.full(len(walk.start), np.inf), walk.theta.copy())
    found = Ends(walk.edge.copy(), np.zeros(len(walk.start), dtype=bool), walk.theta.copy())
    before = _Place(walk.start - walk.step, walk.objective, walk.theta - walk.step[:, None] * walk.tangent)
    step, rows = walk.step.copy(), np.arange(len(walk.start))
    for number in range(MOST_STEPS):
        ahead = inside.value[rows] + step[rows]
        last = np.sign(step[rows]) * (ahead - walk.edge[rows]) >= 0
        last |= number == MOST_STEPS - 1
        ahead = np.where(last, walk.edge[rows], ahead)
        objective, theta = _least(
            lanes, walk.lane[rows], ahead, _straight_on(before, inside, rows, ahead), walk.level[rows]
        )
        crossed = ~(objective <= walk.level[rows])
        outside.value[rows[crossed]], outside.objective[rows[crossed]] = ahead[crossed], objective[crossed]
        outside.theta[rows[crossed]] = theta[crossed]
        still = ~crossed
        before.value[rows[still]], before.theta[rows[still]] = (
            inside.value[rows[still]],
            inside.theta[rows[still]],
        )
        inside.value[rows[still]], inside.objective[rows[still]] = ahead[still], objective[still]
        inside.theta[rows[still]] = theta[still]
        at_edge = still & last
        found.is_open[rows[at_edge]], found.theta[rows[at_edge]] = True, theta[at_edge]
        rows = rows[still & ~last]
        step[rows] *= GROWTH
        if len(rows) == 0:
            break
    if (scan := lanes.scanned()) is not None:
        _beyond_kinks(walk, scan, inside, outside, found)
    return inside, outside, found


def _beyond_kinks(
    walk: OutwardWalk, scan: tuple[Array, Array], inside: _Place, outside: _Place, found: Ends
) -> None:
    """Move brackets out to the last scanned value inside the level: an objective with kinks can cross it twice."""
    places, objectives = scan
    for k in np.flatnonzero(~found.is_open):
        out = np.sign(walk.step[k])
        further = np.flatnonzero((objectives <= walk.level[k]) & (out * (places - outside.value[k]) > 0))
        if len(further) == 0:
            continue
        last = int(further[-1] if out > 0 else further[0])
        beyond = last + int(out)
        inside.value[k], inside.objective[k], inside.theta[k] = places[last], objectives[last], places[last]
        if 0 <= beyond < len(places):
            outside.value[k], outside.objective[k] = places[beyond], objectives[beyond]
            outside.theta[k] = places[beyond]
        else:
            found.is_open[k], found.value[k], found.theta[k] = True, walk.edge[k], places[last]


def _straight_on(before: _Place, inside: _Place, rows: np.ndarray, ahead: Array) -> Array:
    """Coordinates at the next values, on from the last two places in a straight line."""
    way = inside.value[rows] - before.value[rows]
    share = np.divide(ahead - inside.value[rows], way, out=np.zeros(len(rows)), where=way != 0)
    return np.asarray(inside.theta[rows] + share[:, None] * (inside.theta[rows] - before.theta[rows]))


def _least(lanes: Lanes, rows: np.ndarray, values: Array, near: Array, level: Array) -> tuple[Array, Array]:
    """The least objective from nearby, and where that is above the level also from elsewhere."""
    objective, theta = lanes.least(rows, values, near)
    objective = np.where(np.isfinite(objective), objective, np.inf)
    above = objective > level
    other = lanes.elsewhere(rows[above], values[above]) if above.any() else None
    if other is not None:
        again, there = lanes.least(rows[above], values[above], other)
        better = again < objective[above]
        where = np.flatnonzero(above)[better]
        objective[where], theta[where] = again[better], there[better]
    return objective, theta


def _crossings(
    walk: OutwardWalk, lanes: Lanes, rows: np.ndarray, inside: _Place, outside: _Place, found: Ends
) -> None:
    """Regula falsi (the Illinois kind) on the square root of the rise, which is near straight."""
    target = np.sqrt(walk.level - walk.least)

    def height(objective: Array, at: np.ndarray) -> Array:
        return np.asarray(np.sqrt(np.maximum(objective - walk.least, 0.0)) - target[at])

    low, high = (
        height(inside.objective, np.arange(len(target))),
        height(outside.objective, np.arange(len(target))),
    )
    side = np.zeros(len(target), dtype=int)
    for _ in range(MOST_ROOTS):
        a, b = inside.value[rows], outside.value[rows]
        straight = np.isfinite(high[rows]) & (high[rows] > low[rows])
        share = np.divide(-low[rows], high[rows] - low[rows], out=np.full(len(rows), 0.5), where=straight)
        values = a + np.clip(share, 1e-3, 1 - 1e-3) * (b - a)
        share = np.divide(values - a, b - a, out=np.zeros(len(rows)), where=b != a)[:, None]
        near = inside.theta[rows] + share * (outside.theta[rows] - inside.theta[rows])
        objective, theta = _least(lanes, walk.lane[rows], values, near, outside.objective[rows])
        now = height(np.where(np.isfinite(objective), objective, np.inf), rows)
        into = now <= 0
        for place, heights, other, which, sign in (
            (inside, low, high, into, -1),
            (outside, high, low, ~into, 1),
        ):
            at = rows[which]
            place.value[at], place.theta[at], heights[at] = values[which], theta[which], now[which]
            again = at[side[at] == sign]
            other[again] *= 0.5  # the same side twice: the other end weighs less
            side[at] = sign
        found.value[rows], found.theta[rows] = values, theta
        span = np.abs(outside.value[rows] - inside.value[rows])
        close = (np.abs(now) <= ROOT * target[rows]) | (span <= ROOT * np.abs(values - walk.start[rows]))
        rows = rows[~close]
        if len(rows) == 0:
            return
