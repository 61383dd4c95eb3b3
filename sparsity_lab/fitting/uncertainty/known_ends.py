"""Confirms ends of intervals that are known beforehand, such as those of a lock, without walking to them.

A walk to an end takes some twenty searches, one after the other. To confirm an end takes the objective closely inside
and outside of it, and at the places where the walk would have stopped on its way, all in one search: the walk would
have ended between the last of these within the level and the first above it. An open end is confirmed where no place
up to the edge is above the level, or where the level is crossed along an edge of the search. What is not confirmed is
walked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.uncertainty.lanes import Lanes
from sparsity_lab.fitting.uncertainty.walk import GROWTH, MOST_STEPS, Ends, OutwardWalk
from sparsity_lab.laws._law import Array

NEAR = 1e-3  # of the way from the best value: as near to a known end the level has to be crossed
BETWEEN = (0.35, 0.6, 0.8, 0.92)  # of the same way: where the objective has to be within the level as well
EDGE = 1e-4  # of a coordinate's range: as near is at its edge
SECTIONS, MOST_NARROWED = 9, 3  # of the way on which the level is crossed: to 1/729 of it
MOST_RETRIED = 8  # places of a lane that are above the level from a first start
UNKNOWN = math.inf  # an end of which nothing is known; NaN is an open one


@dataclass(frozen=True)
class SearchEdges:
    """The edges of the search coordinates, at which the search rather than the data ends an interval.

    Where an exponent may as well be zero, its rate has no largest value, and the one that belongs to the smallest
    exponent searched is not an end. Limits and exponents have ends of their own there: the curves tend to a family in
    which they are bounded.

    Attributes:
        box: ranges of the search coordinates, shape (q, 2). open_there: the numbers that are open at an edge, (K,).
        which: the coordinate that each number is, shape (K,), or None.
    """

    box: Array
    open_there: np.ndarray
    which: np.ndarray | None = None

    def reached(self, rows: np.ndarray, theta: Array) -> np.ndarray:
        """Which edges, lower and upper, open the intervals of some numbers at their coordinates, shape (r, 2, q)."""
        slack, theta = EDGE * np.ptp(self.box, axis=1), theta[:, : len(self.box)]
        at = np.stack([theta <= self.box[:, 0] + slack, theta >= self.box[:, 1] - slack], axis=1)
        if self.which is not None:
            at[np.arange(len(rows)), :, self.which[rows]] = False
        return np.asarray(at & self.open_there[rows][:, None, None])


@dataclass(frozen=True)
class KnownEnds:
    """Ends of the first K numbers of a walk.

    Attributes:
        ends: lower and upper ones, NaN where open and infinite where nothing is known, shape (2, K).
        edges: of the search.
    """

    ends: Array
    edges: SearchEdges


def confirmed(walk: OutwardWalk, lanes: Lanes, known: Array, edges: SearchEdges) -> tuple[Ends, np.ndarray]:
    """The ends of the lanes of a walk that are as they are known, and which these are, shape (K,).

    Args:
        walk: what is not confirmed would be walked by it. lanes: along which. known: ends (K,). edges: of the search.
    """
    ends = Ends(walk.edge.copy(), np.zeros(len(known), dtype=bool), walk.theta.copy())
    settled = np.zeros(len(known), dtype=bool)
    if lanes.scanned() is not None:  # then a walk costs nothing, and may go beyond kinks
        return ends, settled
    along = [_Along.of(walk, k, float(known[k])) for k in range(len(known))]
    _search(along, walk, lanes)
    for _ in range(MOST_NARROWED):
        if not (
            crossed := [one for one in along if one.crosses_open and edges.open_there[walk.lane[one.lane]]]
        ):
            break
        for one in crossed:
            one.narrow()
        _search(crossed, walk, lanes)
    for k, one in enumerate(along):
        if one.decided and (end := one.end(walk, edges)) is not None:
            settled[k] = True
            ends.value[k], ends.is_open[k], ends.theta[k] = end
    return ends, settled


@dataclass
class _Along:
    """A lane of a walk, with the places outwards at which its objective is computed.

    Attributes:
        lane: its number in the walk. begin: a value within the level. start: coordinates there, shape (k,).
        places: further values, outwards, shape (m,). near: where searches at these start, shape (m, k).
        closing: index of the place closely inside of the known end; -1 of an open end.
        objective, theta: at the places, shapes (m,) and (m, k). decided: the first place above the level is so from
            whatever start.
    """

    lane: int
    level: float
    begin: float
    start: Array
    places: Array
    near: Array
    closing: int
    objective: Array
    theta: Array
    decided: bool = False

    @classmethod
    def of(cls, walk: OutwardWalk, k: int, known: float) -> _Along:
        """The places to confirm an end by; none where nothing is known of it, or it cannot be an end."""
        start, edge, out = float(walk.start[k]), float(walk.edge[k]), math.copysign(1.0, walk.step[k])
        places = start + walk.step[k] * np.cumsum(GROWTH ** np.arange(MOST_STEPS - 1))
        places = np.append(places[out * (edge - places) > 0], edge)
        closing = -1
        if math.isinf(known):
            places = places[:0]
        elif not math.isnan(known):
            way = known - start
            inner, outer = start + way * (1.0 - NEAR), start + way * (1.0 + NEAR)
            between = np.concatenate([places, start + way * np.array(BETWEEN)])
            before, after = between[out * (inner - between) > 0], places[out * (places - outer) > 0]
            before, closing = before[np.argsort(out * before)], len(before)
            possible = out * way > 0 and out * (edge - outer) >= 0
            places = np.concatenate([before, [inner, outer], after[:1]]) if possible else places[:0]
        near = walk.theta[k] + (places - start)[:, None] * walk.tangent[k]
        level, nowhere = float(walk.level[k]), np.full(len(places), np.inf)
        return cls(k, level, start, walk.theta[k], places, near, closing, nowhere, near)

    @property
    def first_above(self) -> int:
        """The index of the first place above the level; the number of places where none is."""
        above = np.flatnonzero(~(self.objective <= self.level))
        return int(above[0]) if len(above) else len(self.places)

    @property
    def last_inside(self) -> Array:
        """The coordinates at the last place before the first above the level, shape (k,)."""
        return self.start if (first := self.first_above) == 0 else self.theta[first - 1]

    @property
    def doubtful(self) -> list[int]:
        """Indices of the places above the level that decide: the first, and the one behind a known end."""
        first, last = self.first_above, len(self.places) - 1
        behind = [last] if self.closing >= 0 and first < last and self.objective[last] > self.level else []
        return [] if first > last else [first, *behind]

    @property
    def crosses_open(self) -> bool:
        """Whether the level is crossed on a side that is known as open."""
        return self.decided and self.closing < 0 and self.first_above < len(self.places)

    def narrow(self) -> None:
        """Put all places between the last within the level and the first above it."""
        first, share = self.first_above, np.arange(1, SECTIONS + 1) / SECTIONS
        outside, far = self.places[first], self.theta[first]
        self.start, self.begin = self.last_inside, self.begin if first == 0 else float(self.places[first - 1])
        self.places = self.begin + share * (outside - self.begin)
        self.near = self.start + share[:, None] * (far - self.start)

    def end(self, walk: OutwardWalk, edges: SearchEdges) -> tuple[float, bool, Array] | None:
        """Where the walk would end, whether it is open there, and the coordinates; None where that is not sure."""
        first, edge = self.first_above, float(walk.edge[self.lane])
        if self.closing < 0:
            if first == len(self.places):
                return (edge, True, self.theta[-1]) if self.places[-1] == edge else None
            lane, sides = np.repeat(walk.lane[self.lane], 2), [self.last_inside, self.theta[first]]
            crossed = edges.reached(lane, np.stack(sides)).all(axis=0)
            return (edge, True, sides[0]) if crossed.any() else None
        if first != self.closing + 1 or not (self.objective[first:] > self.level).all():
            return None
        around = [self.objective[self.closing], self.level, self.objective[first]]
        low, target, high = np.sqrt(np.maximum(np.array(around) - walk.least, 0.0))
        inner, outer = self.places[self.closing], self.places[first]
        value = inner + (target - low) / (high - low) * (outer - inner)
        return float(value), False, self.theta[self.closing]


def _search(along: Sequence[_Along], walk: OutwardWalk, lanes: Lanes) -> None:
    """Find the least objectives at the places of lanes."""
    left = [one for one in along if len(one.places)]
    if not left:
        return
    rows = np.repeat(walk.lane[[one.lane for one in left]], [len(one.places) for one in left])
    values, near = (np.concatenate([getattr(one, name) for one in left]) for name in ("places", "near"))
    objective, theta = lanes.least(rows, values, near)
    parts = np.cumsum([len(one.places) for one in left])[:-1]
    for one, found, there in zip(left, np.split(objective, parts), np.split(theta, parts), strict=True):
        one.objective, one.theta = np.where(np.isfinite(found), found, np.inf), there
    for _ in range(MOST_RETRIED):
        for one in left:
            one.decided = not one.doubtful
        if not (left := [one for one in left if not one.decided]):
            return
        before = [one.first_above for one in left]
        _retry([(one, i) for one in left for i in one.doubtful], walk, lanes)
        for one, first in zip(left, before, strict=True):
            one.decided = one.first_above in (first, len(one.places))
        left = [one for one in left if not one.decided]


def _retry(again: Sequence[tuple[_Along, int]], walk: OutwardWalk, lanes: Lanes) -> None:
    """Search again at places above the level, from the last place within it and from elsewhere."""
    rows = walk.lane[[one.lane for one, _ in again]]
    values = np.array([one.places[i] for one, i in again])
    starts = [np.stack([one.last_inside for one, _ in again])]
    if (other := lanes.elsewhere(rows, values)) is not None:
        starts.append(other)
    times = len(starts)
    objective, theta = lanes.least(np.tile(rows, times), np.tile(values, times), np.concatenate(starts))
    for place, (found, there) in enumerate(zip(objective, theta, strict=True)):
        one, i = again[place % len(again)]
        if found < one.objective[i]:
            one.objective[i], one.theta[i] = found, there
