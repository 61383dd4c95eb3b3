"""Walks lanes outwards from the best values until the objective crosses a level, and finds the crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.uncertainty.lanes import Lanes
from sparsity_lab.laws._law import Array

GROWTH = 1.7  # of the steps outwards
MOST_STEPS = 80
MOST_ROOTS = 40
MOST_RESUMED = 3
ONWARDS = 0.25  # of the way so far: the first step of a walk that is resumed
JUMP = 0.9  # of the level's rise: less than that next to the crossing is not a crossing
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

    def take(self, other: Ends, rows: np.ndarray) -> None:
        """Put some lanes where another has them."""
        self.value[rows], self.is_open[rows], self.theta[rows] = other.value, other.is_open, other.theta


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

    def at(self, rows: np.ndarray) -> OutwardWalk:
        """That of some lanes."""
        lanes = {name: value[rows] for name, value in vars(self).items() if name != "least"}
        return OutwardWalk(**lanes, least=self.least)

    def ends(self, lanes: Lanes, *, resumed: int = 0) -> Ends:
        """Walk all lanes to their ends.

        A least objective does not jump. Where it seems to, a search above the level has missed the least one, and the
        lane is walked on from inside.
        """
        before, inside, outside, found = _bracketed(self, lanes)
        rows = np.flatnonzero(~found.is_open)
        if len(rows):
            _crossings(self, lanes, rows, (before, inside, outside), found)
        if resumed < MOST_RESUMED and len(rows := self._jumps(inside, outside, found)):
            step = np.sign(self.step[rows]) * np.maximum(
                ONWARDS * np.abs(inside.value - self.start)[rows], 1e-3 * np.abs(self.step[rows])
            )
            onwards = OutwardWalk(
                self.lane[rows], inside.value[rows], inside.theta[rows], inside.objective[rows],
                np.zeros_like(self.tangent[rows]), step, self.edge[rows], self.level[rows], self.least,
            )  # fmt: skip
            further = onwards.ends(lanes, resumed=resumed + 1)
            found.value[rows], found.theta[rows] = further.value, further.theta
            found.is_open[rows] = further.is_open
        return found

    def _jumps(self, inside: _Place, outside: _Place, found: Ends) -> np.ndarray:
        """Lanes whose last places on both sides of the level, next to each other, are far from it."""
        rise = self.level - self.least
        below, above = (
            inside.objective - self.least < JUMP * rise,
            JUMP * (outside.objective - self.least) > rise,
        )
        return np.flatnonzero(~found.is_open & below & above & np.isfinite(outside.objective))


@dataclass
class _Place:
    value: Array
    objective: Array
    theta: Array

    def at(self, rows: np.ndarray) -> _Place:
        """Those of some lanes."""
        return _Place(self.value[rows], self.objective[rows], self.theta[rows])

    def take(self, other: _Place, rows: np.ndarray) -> None:
        """Put some lanes where another has them."""
        self.value[rows], self.objective[rows], self.theta[rows] = other.value, other.objective, other.theta


def _bracketed(walk: OutwardWalk, lanes: Lanes) -> tuple[_Place, _Place, _Place, Ends]:
    """The last two places inside the level, the first outside, and the lanes that reach their edge."""
    inside = _Place(walk.start.copy(), walk.objective.copy(), walk.theta.copy())
    outside = _Place(walk.edge.copy(), np.full(len(walk.start), np.inf), walk.theta.copy())
    found = Ends(walk.edge.copy(), np.zeros(len(walk.start), dtype=bool), walk.theta.copy())
    before = _Place(
        walk.start - walk.step, walk.objective.copy(), walk.theta - walk.step[:, None] * walk.tangent
    )
    step, rows = walk.step.copy(), np.arange(len(walk.start))
    for number in range(MOST_STEPS):
        ahead = inside.value[rows] + step[rows]
        last = np.sign(step[rows]) * (ahead - walk.edge[rows]) >= 0
        last |= number == MOST_STEPS - 1
        ahead = np.where(last, walk.edge[rows], ahead)
        objective, theta = _least(
            lanes, walk.lane[rows], ahead, [_straight_on(before, inside, rows, ahead)], walk.level[rows]
        )
        crossed = ~(objective <= walk.level[rows])
        outside.take(_Place(ahead[crossed], objective[crossed], theta[crossed]), rows[crossed])
        still = ~crossed
        before.take(inside.at(rows[still]), rows[still])
        inside.take(_Place(ahead[still], objective[still], theta[still]), rows[still])
        at_edge = still & last
        found.is_open[rows[at_edge]], found.theta[rows[at_edge]] = True, theta[at_edge]
        rows = rows[still & ~last]
        step[rows] *= GROWTH
        if len(rows) == 0:
            break
    if (scan := lanes.scanned()) is not None:
        _beyond_kinks(walk, scan, inside, outside, found)
    return before, inside, outside, found


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


def _least(
    lanes: Lanes, rows: np.ndarray, values: Array, near: list[Array], level: Array
) -> tuple[Array, Array]:
    """The least objective from the first start, and where that is above the level also from others and elsewhere."""
    objective, theta = lanes.least(rows, values, near[0])
    objective = np.where(np.isfinite(objective), objective, np.inf)
    for start in (*near[1:], None):
        above = np.flatnonzero(objective > level)
        if len(above) == 0:
            break
        other = lanes.elsewhere(rows[above], values[above]) if start is None else start[above]
        if other is not None:
            again, there = lanes.least(rows[above], values[above], other)
            better = again < objective[above]
            objective[above[better]], theta[above[better]] = again[better], there[better]
    return objective, theta


def _crossings(
    walk: OutwardWalk, lanes: Lanes, rows: np.ndarray, places: tuple[_Place, _Place, _Place], found: Ends
) -> None:
    """Regula falsi (the Illinois kind) on the square root of the rise, which is near straight.

    The place outside may lie in another valley, so what is above the level is also sought straight on from inside.

    Args:
        places: the last two inside the level and the first outside.
    """
    before, inside, outside = places
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
        near = [
            inside.theta[rows] + share * (outside.theta[rows] - inside.theta[rows]),
            _straight_on(before, inside, rows, values),
        ]
        objective, theta = _least(lanes, walk.lane[rows], values, near, walk.level[rows])
        now = height(np.where(np.isfinite(objective), objective, np.inf), rows)
        into = now <= 0
        before.take(inside.at(rows[into]), rows[into])
        for place, heights, other, which, sign in (
            (inside, low, high, into, -1),
            (outside, high, low, ~into, 1),
        ):
            at = rows[which]
            place.take(_Place(values[which], objective[which], theta[which]), at)
            heights[at] = now[which]
            again = at[side[at] == sign]
            other[again] *= 0.5  # the same side twice: the other end weighs less
            side[at] = sign
        found.value[rows], found.theta[rows] = values, theta
        span = np.abs(outside.value[rows] - inside.value[rows])
        close = (np.abs(now) <= ROOT * target[rows]) | (span <= ROOT * np.abs(values - walk.start[rows]))
        rows = rows[~close]
        if len(rows) == 0:
            return
