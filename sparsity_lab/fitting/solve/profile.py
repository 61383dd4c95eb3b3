"""Profile intervals: for each value of one coefficient, how well can the others make up for it?

The interval holds all values v with S(v) <= S_min (1 + g F(0.95; 1, n - p)/(n - p)), S(v) the least sum of
squares with the coefficient held at v; g >= 1 widens it where the residuals are correlated along the series
(`diagnostics.variance_inflation`). How often such intervals hold is simulated in `coverage`. Where S stays
below that level up to the edge of the physical box, the profile is open: the data do not bound the coefficient
on that side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import f as f_distribution

from sparsity_lab.fitting.solve.engine import Solution, polish, seeded_grid
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import Array

CONFIDENCE = 0.95
CURVE_POINTS = 21
FIRST_STEP = 0.02


@dataclass(frozen=True)
class Profile:
    """The profile of one coefficient.

    Attributes:
        name: the coefficient. value: its best value.
        low, high: ends of the interval; at an open side the edge of the box.
        open_low, open_high: whether the level is never reached on that side.
        excluded: no value within the box reaches the level.
        level: the sum of squares at the interval's ends. curve: (value, sum of squares) pairs, sorted.
        one_sided: where one side alone is open, the 95 % bound on the other (a one-sided test has a lower
            level than the two ends of an interval); NaN elsewhere.
    """

    name: str
    value: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    excluded: bool
    level: float
    curve: tuple[tuple[float, float], ...]
    one_sided: float = math.nan

    @property
    def closed(self) -> bool:
        """Whether the data bound the coefficient on both sides."""
        return not (self.open_low or self.open_high or self.excluded)


Least = Callable[[float, Array], tuple[float, Array]]


@dataclass(frozen=True)
class ProfileWalk:
    """A walk from the best value of a coefficient to both ends of its interval.

    Attributes:
        least: the least objective with the coefficient held, and coordinates of the next start from there.
        edges: of the physical box.
        step: the first one outwards.
        levels: of an interval and of a one-sided bound.
    """

    least: Least
    edges: tuple[float, float]
    step: float
    levels: tuple[float, float]

    def profile(self, name: str, best: float, *, theta: Array) -> Profile:
        """ProfileWalk from the best value of the coefficient, at the coordinates of the best fit."""
        seen: dict[float, float] = {}
        level, level_one = self.levels
        start = float(min(max(best, self.edges[0]), self.edges[1]))
        seen[start], theta = self.least(start, theta)
        if seen[start] > level:
            return Profile(name, best, start, start, False, False, True, level, tuple(seen.items()))
        low, open_low = self._end(theta, start, upwards=False, level=level, seen=seen)
        high, open_high = self._end(theta, start, upwards=True, level=level, seen=seen)
        one_sided = math.nan
        if open_low != open_high and seen[start] <= level_one:
            one_sided, _ = self._end(theta, start, upwards=open_low, level=level_one, seen=seen)
        for value in np.linspace(low, high, CURVE_POINTS):
            seen.setdefault(float(value), self.least(float(value), theta)[0])
        curve = tuple(sorted(seen.items()))
        return Profile(name, best, low, high, open_low, open_high, False, level, curve, one_sided)

    def _end(
        self, theta: Array, start: float, *, upwards: bool, level: float, seen: dict[float, float]
    ) -> tuple[float, bool]:
        """ProfileWalk outwards in growing steps until the level is crossed, then find the crossing."""
        edge, step = (self.edges[1], self.step) if upwards else (self.edges[0], -self.step)
        inside, near = start, theta
        while True:
            outside = max(inside + step, edge) if step < 0 else min(inside + step, edge)
            objective, there = self.least(outside, near)
            seen[outside] = objective
            if objective > level:
                break
            if outside == edge:
                return edge, True
            inside, near, step = outside, there, 1.6 * step

        def above(value: float) -> float:
            # The ends are taken as found: a second search from another start need not meet the same valley.
            return (seen[value] if value in (inside, outside) else self.least(value, near)[0]) - level

        return float(brentq(above, inside, outside, xtol=1e-4 * abs(outside - inside))), False


def _levels(problem: Problem, solution: Solution, inflation: float) -> tuple[float, float]:
    """The level of an interval and that of a one-sided bound."""
    return (
        level_of(problem, solution, inflation),
        level_of(problem, solution, inflation, sides=1),
    )


def level_of(problem: Problem, solution: Solution, inflation: float, *, sides: int = 2) -> float:
    """The sum of squares at the ends of an interval, or at a one-sided bound, for one coefficient."""
    freedom = max(problem.freedom, 1)
    quantile = float(f_distribution.ppf(1 - (1 - CONFIDENCE) * 2 / sides, 1, freedom))
    return solution.sse * (1.0 + inflation * quantile / freedom)


def of_asymptote(
    problem: Problem, solution: Solution, *, box: tuple[float, float], inflation: float = 1.0
) -> Profile:
    """Profile of the law's asymptote, a linear coefficient.

    Args:
        problem: the law and its points.
        solution: the unconstrained best fit.
        box: the physical range of the asymptote; infinite ends stand for a thousand ranges of the data.
        inflation: g.
    """
    column = problem.law.asymptote_column
    assert column is not None
    assert problem.law.asymptote is not None
    reach = float(np.ptp(problem.y)) or 1.0
    best = float(problem.project(solution.theta).linear[column])
    edges = tuple(edge if math.isfinite(edge) else best + math.copysign(1e3 * reach, edge) for edge in box)
    coarse = _coarse_grid(problem)

    def least(value: float, near: Array) -> tuple[float, Array]:
        held = problem.holding(column, value)
        rough = min(coarse, key=lambda theta: held.project(theta).sse, default=near)
        found = [polish(held, start) for start in (near, rough)]
        theta, sse = min(found, key=lambda pair: pair[1])
        return sse, theta

    walk = ProfileWalk(least, (edges[0], edges[1]), FIRST_STEP * reach, _levels(problem, solution, inflation))
    return walk.profile(problem.law.asymptote, best, theta=solution.theta)


def of_exponent(problem: Problem, solution: Solution, name: str, *, inflation: float = 1.0) -> Profile:
    """Profile of an exponent, in the logarithm that the search uses; ends are the exponent's own."""
    coordinate = problem.law.exponents[name]
    low, high = problem.law.search_box(problem.span)[coordinate]

    def least(value: float, near: Array) -> tuple[float, Array]:
        start = near.copy()
        start[coordinate] = value
        theta, sse = polish(problem, start, held=coordinate)
        return sse, theta

    walk = ProfileWalk(least, (low, high), 0.05, _levels(problem, solution, inflation))
    return in_own_unit(walk.profile(name, float(solution.theta[coordinate]), theta=solution.theta))


def in_own_unit(traced: Profile) -> Profile:
    """A profile over a logarithm, its values exponentiated."""
    return replace(
        traced,
        value=math.exp(traced.value),
        low=math.exp(traced.low),
        high=math.exp(traced.high),
        curve=tuple((math.exp(value), sse) for value, sse in traced.curve),
        one_sided=math.exp(traced.one_sided),
    )


def _coarse_grid(problem: Problem) -> list[Array]:
    box = problem.law.search_box(problem.span)
    if len(box) == 0:
        return []
    fine = seeded_grid(box, np.random.default_rng(0))
    return fine[:: 1 if len(box) == 1 else 7]
