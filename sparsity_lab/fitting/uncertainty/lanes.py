"""How well a problem can be met with one number held: the lanes along which intervals are walked.

A lane holds one number at a value and makes the objective least over all else. Many lanes go at once: those of every
coefficient and prediction, to both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sparsity_lab.fitting.solve import engine, levenberg, newton
from sparsity_lab.fitting.solve.batch import Batch, Held
from sparsity_lab.fitting.solve.packed import Packing
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty.coordinates import InCoefficients
from sparsity_lab.laws._law import LOG_LINEAR, Array, Law

TIGHT = 1e-10  # of the sum of squares: ends of intervals need no more
SCANNED = 1001
COARSE = 60  # starts of a lane that seems to have left the interval


class Lanes(Protocol):
    """K lanes, each with a number to hold."""

    def least(self, rows: np.ndarray, values: Array, near: Array) -> tuple[Array, Array]:
        """Least objectives (r,) and where they are (r, k) for some lanes, from starts (r, k)."""

    def elsewhere(self, rows: np.ndarray, values: Array) -> Array | None:
        """Other starts (r, k) for some lanes, the best of a coarse grid; None where there is no other."""

    def scanned(self) -> tuple[Array, Array] | None:
        """All values (m,) of every lane and their least objectives (m,), where these cost nothing; else None."""


@dataclass(frozen=True)
class Sought:
    """Numbers that are linear in the linear coefficients, a lane each, in this order.

    Attributes:
        names: coefficients. points: inputs whose predictions are sought, shape (m,) or (m, inputs).
        targets: values of y whose x is sought, shape (r,): there x is walked and the prediction is held at the target.
        in_ln: whether ln x is walked rather than x.
    """

    names: tuple[str, ...]
    points: Array
    targets: Array
    in_ln: bool = True

    def __len__(self) -> int:
        return len(self.names) + len(self.points) + len(self.targets)

    def held(self, law: Law, rows: np.ndarray, values: Array) -> Held:
        """What some of the lanes hold at their values: the predictions at points of these lanes' own."""
        names, first = len(self.names), len(self.names) + len(self.points)
        which, value = rows.copy(), np.array(values, dtype=float)
        for i, name in enumerate(self.names):
            if law.kind_of(name) == LOG_LINEAR:
                with np.errstate(over="ignore"):
                    value[rows == i] = np.exp(law.parameter(name).power * value[rows == i])
        predicted, walked = (rows >= names) & (rows < first), rows >= first
        own, each = np.unique(rows[predicted] - names, return_inverse=True)
        points, which[predicted] = self.points[own], names + each
        if walked.any():
            places = np.exp(values[walked]) if self.in_ln else values[walked]
            points = np.concatenate([points, places]) if len(points) else places
            which[walked] = names + len(own) + np.arange(walked.sum())
            value[walked] = self.targets[rows[walked] - first]
        return Held(self.names, points, which, value)


@dataclass(frozen=True)
class HeldLanes:
    """Lanes of numbers that are linear in the linear coefficients; coordinates are the law's own."""

    problem: Problem
    sought: Sought

    def least(self, rows: np.ndarray, values: Array, near: Array) -> tuple[Array, Array]:
        """By variable projection with the held combination."""
        theta, sse = levenberg.descend(self._batch(rows, values), near, self._box, tight=TIGHT)
        return sse, theta

    def elsewhere(self, rows: np.ndarray, values: Array) -> Array | None:
        """The best of a coarse grid in every lane."""
        if len(self._box) == 0:
            return None
        grid = coarse_grid(self._box)
        starts = np.tile(grid, (len(rows), 1))
        each = np.repeat(np.arange(len(rows)), len(grid))
        with np.errstate(all="ignore"):
            sse = (
                engine.thinned(self._batch(rows[each], values[each]))
                .project(starts)
                .sse.reshape(len(rows), -1)
            )
        return np.asarray(grid[np.argmin(np.where(np.isfinite(sse), sse, np.inf), axis=1)])

    def scanned(self) -> tuple[Array, Array] | None:
        """None: each value is a search of its own."""
        return None

    @property
    def _box(self) -> Array:
        return self.problem.law.search_box(self.problem.span)

    def _batch(self, rows: np.ndarray, values: Array) -> Batch:
        return Batch.of(self.problem, len(rows), held=self.sought.held(self.problem.law, rows, values))


@dataclass(frozen=True)
class CoordinateLanes:
    """Lanes that hold nonlinear coefficients, each a coordinate of `InCoefficients`.

    Attributes:
        problem: with the law in those coordinates. which: the coordinate of each lane, shape (K,).
    """

    problem: Problem
    law: InCoefficients
    which: np.ndarray

    def scanned(self) -> tuple[Array, Array] | None:
        """Values over the whole box (m,) and their objectives, where there is one coordinate alone."""
        if len(self.law.box) != 1:
            return None
        places = np.linspace(self.law.box[0, 0], self.law.box[0, 1], SCANNED)
        return places, Batch.of(self.problem, SCANNED).project(places[:, None]).sse

    def least(self, rows: np.ndarray, values: Array, near: Array) -> tuple[Array, Array]:
        """With the lane's coordinate at its value."""
        still = np.zeros(near.shape, dtype=bool)
        still[np.arange(len(rows)), self.which[rows]] = True
        starts = np.where(still, values[:, None], near)
        batch = Batch.of(self.problem, len(rows))
        theta, sse = levenberg.descend(batch, starts, self.law.box, still=still, tight=TIGHT)
        return sse, theta

    def elsewhere(self, rows: np.ndarray, values: Array) -> Array | None:
        """The best of a coarse grid over the other coordinates in every lane."""
        if len(self.law.box) < 2:
            return None
        grid = coarse_grid(self.law.box)
        starts = np.tile(grid, (len(rows), 1))
        each = np.repeat(np.arange(len(rows)), len(grid))
        starts[np.arange(len(starts)), self.which[rows][each]] = values[each]
        with np.errstate(all="ignore"):
            sse = (
                engine.thinned(Batch.of(self.problem, len(starts))).project(starts).sse.reshape(len(rows), -1)
            )
        best = np.argmin(np.where(np.isfinite(sse), sse, np.inf), axis=1)
        return np.asarray(starts.reshape(len(rows), len(grid), -1)[np.arange(len(rows)), best])


@dataclass(frozen=True)
class PackedLanes:
    """Lanes of a fit to ln y; their coordinates are the search coordinates and then all linear coefficients.

    Attributes:
        sought: what lanes hold of numbers that are linear in the linear coefficients; None where each holds a search
            coordinate.
        which: the search coordinate that each lane holds, shape (K,).
    """

    problem: Problem
    sought: Sought | None = None
    which: np.ndarray | None = None

    def least(self, rows: np.ndarray, values: Array, near: Array) -> tuple[Array, Array]:
        """With all coefficients moved at once."""
        count, lanes = len(self.problem.law.search_box(self.problem.span)), len(rows)
        held = None if self.sought is None else self.sought.held(self.problem.law, rows, values)
        still = None if self.which is None else self.which[rows]
        packing = Packing.of(self.problem, lanes, held=held, still=still)
        theta = near[:, :count].copy()
        if still is not None:
            theta[np.arange(lanes), still] = values
        vectors, objective = newton.descend(packing, packing.pack(theta, near[:, count:]), tight=TIGHT)
        return objective, np.concatenate(packing.unpack(vectors), axis=1)

    def elsewhere(self, rows: np.ndarray, values: Array) -> Array | None:
        """The best of a coarse grid in every lane, by squares of relative errors, which are near those of ln y."""
        box = self.problem.law.search_box(self.problem.span)
        if len(box) < (1 if self.which is None else 2):
            return None
        grid = coarse_grid(box)
        each, starts = np.repeat(np.arange(len(rows)), len(grid)), np.tile(grid, (len(rows), 1))
        if self.which is not None:
            starts[np.arange(len(starts)), self.which[rows][each]] = values[each]
        held = None if self.sought is None else self.sought.held(self.problem.law, rows[each], values[each])
        batch = Batch.of(self.problem, len(starts), held=held)
        root = (1.0 if batch.root is None else batch.root) / np.abs(batch.y)
        with np.errstate(all="ignore"):
            projection = replace(batch, root=root).project(starts)
        sse = np.where(np.isfinite(projection.sse), projection.sse, np.inf).reshape(len(rows), -1)
        best = np.arange(len(rows)) * len(grid) + np.argmin(sse, axis=1)
        return np.concatenate([starts[best], projection.beta[best]], axis=1)

    def scanned(self) -> tuple[Array, Array] | None:
        """None: each value is a search of its own."""
        return None


def coarse_grid(box: Array) -> Array:
    """Some sixty places over the box, shape (m, q)."""
    fine = engine.seeded_grid(box, np.random.default_rng(0))
    return fine[:: max(1, len(fine) // COARSE)]
