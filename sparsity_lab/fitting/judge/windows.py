"""Whether the limit holds still: by the first part of the points, and against a slow drift.

A limit is extrapolated, and its interval takes the law as true. Two tests ask whether it is. The law is refitted to
the first 70 % and the first 85 % of the points: the limit by all of them has to lie in the interval of each part.
And a slow drift, a term in ln x with a weight of its own, must not explain what the law leaves over: a second, slower
power hides in the limit long before windows disagree. Simulated with a power law's own points (n 8 to 100, noise
correlated up to 0.6), both together raise a false alarm in at most 5 sets of 100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.fitting.quantiles import f_tail
from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import FALLING, Array

SHARES = (0.7, 0.85)
DRIFT_LEVEL = 0.025  # of the drift's test; with the windows a false alarm in 20
FEWEST_SPARE = 2  # points beyond the coefficients, below which a part says nothing
TOLD_APART = 1e-6  # of a drift that the law cannot follow, of all of it


@dataclass(frozen=True)
class Window:
    """The limit by the first part of the points.

    Attributes:
        share: of the points. points: how many. value, low, high: the limit and its 95 % interval, at an open side the
            edge of the physical range; or the part of the interval up to the limit by all points, where more is not
            asked for. agrees: whether the limit by all points lies in it.
    """

    share: float
    points: int
    value: float
    low: float
    high: float
    agrees: bool

    @property
    def percent(self) -> str:
        """The share in words."""
        return f"{100 * self.share:.0f} %"


@dataclass(frozen=True)
class Drift:
    """An F-test of a term in ln x added to the law; `p` is its probability under the law."""

    statistic: float
    p: float

    @property
    def found(self) -> bool:
        """Whether the points drift away from the law."""
        return self.p < DRIFT_LEVEL


def forward(x: Array, way: str) -> np.ndarray:
    """Indices that put points in the order in which models grow.

    Args:
        x: shape (n,) or (n, inputs), whose product is the size then. way: RISING, or FALLING where the smallest x comes
            last, as a loss does (`Law.forward`).
    """
    size = x if x.ndim == 1 else x.prod(axis=1)
    return np.argsort(-size if way == FALLING else size, kind="stable")


def refitted(
    problem: Problem,
    limit: Profile,
    scale: NoiseScale,
    *,
    box: tuple[float, float],
    seed: int = 0,
    ends: bool = True,
) -> tuple[Window, ...]:
    """The limit by the first shares of the points, in the order of `forward`.

    Args:
        problem: the law and all of its points. limit: the profile of the law's far end by them.
        scale: of the noise of all points; their correlation is taken for that of a part, whose own residuals are too
            few to say it. box: the physical range of the limit. seed: of the search grid.
        ends: whether the ends of intervals are wanted of parts that agree as well.
    """
    order = forward(problem.x, problem.law.forward)
    parts = [order[: math.ceil(share * len(order))] for share in SHARES]
    enough = {
        share: rows
        for share, rows in zip(SHARES, parts, strict=True)
        if len(rows) - len(problem.law.parameters) >= FEWEST_SPARE and np.ptp(problem.y[rows]) > 0
    }
    windows = []
    solved = engine.solve_parts(problem, list(enough.values()), seed=seed)
    for share, (part, solution) in zip(enough, solved, strict=True):
        own = replace(noise.scale_of(part, solution), inflation=scale.inflation)
        wanted = Wanted(names=(limit.name,), box=box, curves=False)
        there = None if ends else _up_to(limit, part, solution, own, wanted)
        if there is None:
            there = intervals(part, solution, own, wanted).profiles[limit.name]
        agrees = there.low <= limit.value <= there.high
        windows.append(Window(share, len(part.y), there.value, there.low, there.high, agrees))
    return tuple(windows)


def _up_to(
    limit: Profile, part: Problem, solution: Solution, scale: NoiseScale, wanted: Wanted
) -> Profile | None:
    """The part of the limit's interval from its best value to that by all points; None where it ends before."""
    if (weights := dict(part.law.limits).get(limit.name)) is None:
        return None
    best = float(np.dot(weights, solution.linear))
    low, high = sorted(np.clip([best, limit.value], *wanted.box).tolist())
    between = replace(wanted, box=(low, high), known={limit.name: (math.nan, math.nan)})
    there = intervals(part, solution, scale, between).profiles[limit.name]
    return there if there.open_low and there.open_high and low <= limit.value <= high else None


def drift(
    residuals: Array, jacobian: Array, terms: Array, *, inflation: float = 1.0, runs: np.ndarray | None = None
) -> Drift | None:
    """The score test of terms added to a fitted law.

    Args:
        residuals: of the fit, weighted as fitted, shape (n,). jacobian: of the curve by all coefficients, shape (n, p).
        terms: what may drift, ln of each input, weighted like the residuals, shape (n, k).
        inflation: g, for correlation along the series.
        runs: the run of each point, shape (n,), where points share runs: what a run shifts together is not drift, so
            whole runs are counted (Hotelling's test of their sums).

    Returns:
        The test, or None where the points are too few or the law itself follows such terms.
    """
    basis = diagnostics.fitted_basis(jacobian)
    outside = terms - basis @ (basis.T @ terms)
    apart = np.linalg.norm(outside, axis=0) > TOLD_APART * np.linalg.norm(terms, axis=0)
    outside = outside[:, apart]
    count = len(residuals) if runs is None else len(np.unique(runs))
    freedom = count - jacobian.shape[1] - outside.shape[1]
    if outside.shape[1] == 0 or freedom < 1:
        return None
    scores = np.linalg.qr(outside)[0] * residuals[:, None]
    if runs is None:
        share = float(np.sum(scores.sum(axis=0) ** 2)) / float(residuals @ residuals)
    else:
        members = np.unique(runs, return_inverse=True)[1]
        by_run = np.stack([np.bincount(members, weights=column) for column in scores.T], axis=1)
        total = by_run.sum(axis=0)
        share = float(total @ np.linalg.pinv(by_run.T @ by_run) @ total) / count
    if not 0.0 <= share < 1.0:
        return None
    statistic = share / (1.0 - share) * freedom / outside.shape[1] / inflation
    return Drift(statistic, f_tail(statistic, outside.shape[1], freedom))
