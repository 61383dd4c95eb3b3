"""Both ends of many numbers' intervals, one-sided bounds, and the objective in between."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.uncertainty.known_ends import KnownEnds, confirmed
from sparsity_lab.fitting.uncertainty.lanes import Lanes
from sparsity_lab.fitting.uncertainty.walk import Ends, OutwardWalk
from sparsity_lab.laws._law import Array

CURVE_POINTS = 21


@dataclass(frozen=True)
class Numbers:
    """K numbers that are walked together, each along a lane of its own.

    Attributes:
        best: their best values, shape (K,). theta: coordinates of the lanes there, shape (K, k).
        tangent: how those move with the value at first, shape (K, k). step: the first step, shape (K,).
        rises: of the objective, to an interval's and a one-sided end, shape (2, K).
        edges: lowest and highest possible values, shape (K, 2).
    """

    best: Array
    theta: Array
    tangent: Array
    step: Array
    rises: Array
    edges: Array

    @classmethod
    def together(cls, parts: list[Numbers]) -> Numbers:
        """The numbers of several parts, in order."""
        along = {"rises": 1}
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=along.get(name, 0))
            for name in cls.__dataclass_fields__
        }
        return cls(**joined)


@dataclass(frozen=True)
class Walked:
    """Both ends of K numbers.

    Attributes:
        low, high: the ends. start: where the walks began, shape (K,). inside: whether those reach the level, (K,).
        level: shape (K,).
    """

    numbers: Numbers
    lanes: Lanes
    least: float
    low: Ends
    high: Ends
    start: Array
    inside: np.ndarray
    level: Array

    def ranges(self) -> Array:
        """Lower and upper ends (K, 2): infinite where open, NaN where no possible value reaches the level."""
        low = np.where(self.low.is_open, -math.inf, self.low.value)
        high = np.where(self.high.is_open, math.inf, self.high.value)
        return np.where(self.inside[:, None], np.stack([low, high], axis=1), math.nan)

    def one_sided(self, rows: np.ndarray) -> dict[int, float]:
        """The 95 % bounds on the closed sides of those of some numbers that are open on the other side."""
        numbers, half_open = self.numbers, (self.low.is_open != self.high.is_open) & self.inside
        rows = rows[half_open[rows]]
        if len(rows) == 0:
            return {}
        level = self.least + numbers.rises[1, rows]
        objective, theta = self.lanes.least(rows, self.start[rows], numbers.theta[rows])
        kept = objective <= level
        rows, level = rows[kept], level[kept]
        upwards = self.low.is_open[rows]
        edge = np.where(upwards, self.high.value[rows], self.low.value[rows])
        step = np.where(upwards, 1.0, -1.0) * numbers.step[rows]
        walk = OutwardWalk(
            rows,
            self.start[rows],
            theta[kept],
            objective[kept],
            numbers.tangent[rows],
            step,
            edge,
            level,
            self.least,
        )
        return dict(zip(rows.tolist(), walk.ends(self.lanes).value.tolist(), strict=True))

    def curve(self, rows: list[int]) -> list[tuple[tuple[float, float], ...]]:
        """The objective over the intervals of some numbers, from starts between the best fit and the end."""
        theta, start = self.numbers.theta[rows], self.start[rows, None]
        low, high = self.low.value[rows], self.high.value[rows]
        values = np.linspace(low, high, CURVE_POINTS, axis=1)
        below = values < start
        ends = np.where(below, low[:, None], high[:, None])
        share = np.divide(values - start, ends - start, out=np.zeros_like(values), where=ends != start)
        far = np.where(below[..., None], self.low.theta[rows, None], self.high.theta[rows, None])
        near = theta[:, None] + share[..., None] * (far - theta[:, None])
        lanes = np.repeat(np.array(rows, dtype=int), CURVE_POINTS)
        objective, _ = self.lanes.least(lanes, values.ravel(), near.reshape(len(lanes), theta.shape[1]))
        found = []
        for i, table in enumerate(objective.reshape(len(rows), CURVE_POINTS)):
            points = dict(zip(values[i].tolist(), table.tolist(), strict=True))
            if start[i, 0] == self.numbers.best[rows[i]]:
                points[float(start[i, 0])] = self.least
            found.append(tuple(sorted(points.items())))
        return found


def both_ends(numbers: Numbers, lanes: Lanes, *, least: float, known: KnownEnds | None = None) -> Walked:
    """Walk all numbers down and up.

    Args:
        numbers: what is walked. lanes: along which. least: the objective of the best fit.
        known: ends that are confirmed where they hold, and not walked to.
    """
    start = np.clip(numbers.best, numbers.edges[:, 0], numbers.edges[:, 1])
    level = least + numbers.rises[0]
    objective, theta = np.full(len(start), least), numbers.theta.copy()
    shifted = np.flatnonzero(start != numbers.best)
    if len(shifted):
        objective[shifted], theta[shifted] = lanes.least(shifted, start[shifted], theta[shifted])
    inside = objective <= level
    rows = np.flatnonzero(inside)
    both = np.concatenate([rows, rows])
    signs = np.repeat([-1.0, 1.0], len(rows))
    edge = np.concatenate([numbers.edges[rows, 0], numbers.edges[rows, 1]])
    walk = OutwardWalk(
        both, start[both], theta[both], objective[both], numbers.tangent[both], signs * numbers.step[both], edge,
        level[both], least,
    )  # fmt: skip
    found = walk.ends(lanes) if known is None else _with_known(walk, lanes, known)
    low, high = (
        _placed(found, part, rows, start, theta) for part in (slice(0, len(rows)), slice(len(rows), None))
    )
    return Walked(numbers, lanes, least, low, high, start, inside, level)


def _with_known(walk: OutwardWalk, lanes: Lanes, known: KnownEnds) -> Ends:
    """The ends of all lanes of a walk, down and up; what cannot be confirmed is walked."""
    count = len(walk.lane)
    ends = known.ends[np.repeat([0, 1], count // 2), walk.lane]
    found, settled = confirmed(walk, lanes, ends, known.edges)
    if len(left := np.flatnonzero(~settled)):
        found.take(walk.at(left).ends(lanes), left)
    return found


def _placed(found: Ends, part: slice, rows: np.ndarray, start: Array, theta: Array) -> Ends:
    """One side's ends, those of numbers that were not walked where they began."""
    placed = Ends(start.copy(), np.zeros(len(start), dtype=bool), theta.copy())
    placed.value[rows], placed.is_open[rows] = found.value[part], found.is_open[part]
    placed.theta[rows] = found.theta[part]
    return placed
