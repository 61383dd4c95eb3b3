"""Whether a law can describe which way its points go: down, up, level, or one after the other.

Least squares find coefficients for every law and all points. Where the points rise and the law can only fall, its
moving part gets no weight, and what is left of it is a mean: its exponents then are those of nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.judge.slopes import CONFIDENCE, FALLS, RISES, Trend, line
from sparsity_lab.fitting.quantiles import t_quantile
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array
from sparsity_lab.store.tables import number

UNCHANGING = "the values do not change at all: there is nothing for a law to explain"
ONE_POINT = 0.02  # of its whole way, where a curve moves at one point alone
SHORTEST_ARM = 0.25  # of the longer one
NO_WEIGHT = 1e-9  # of the range of y, below which a column moves nothing


def misfit(problem: Problem, solution: Solution) -> str | None:
    """Why the law's best curve describes nothing of the points, or None where it may.

    Args:
        problem: the law and its points. solution: its best fit.
    """
    law, theta, linear = problem.law, solution.theta, solution.linear
    if np.ptp(problem.y) == 0:
        return UNCHANGING if len(law.parameters) > 1 else None
    design = law.design(theta, problem.x, problem.span)
    for column in _one_way_columns(problem, design):
        if np.ptp(design[:, column]) * abs(linear[column]) <= NO_WEIGHT * np.ptp(problem.y):
            return _without(problem, design[:, column])
    if problem.x.ndim > 1:
        return None
    way, curve = trend(problem.x, problem.y), design @ linear
    change = float(curve[np.argmax(problem.x)] - curve[np.argmin(problem.x)])
    if reason := _spike(problem, curve, change):
        return reason
    if (way.way == RISES and change < 0) or (way.way == FALLS and change > 0):
        goes, go = ("falls", "rise") if change < 0 else ("rises", "fall")
        return f"{law.name} cannot describe these points: its best curve {goes}, and they {go} ({_slope(problem, way)})"
    return None


def _spike(problem: Problem, curve: Array, change: float) -> str | None:
    """The sentence on a curve that moves at the first point alone, where the others go somewhere."""
    others = problem.x > problem.x.min()
    if np.ptp(curve[others]) > ONE_POINT * abs(change):
        return None
    way = trend(problem.x[others], problem.y[others])
    go = {RISES: "rise", FALLS: "fall"}.get(way.way)
    return go and (
        f"{problem.law.name} cannot describe these points: its best curve moves at the first one alone, and the others "
        f"{go} ({_slope(problem, way)})"
    )


def bend(problem: Problem, solution: Solution, *, rejects: float) -> str | None:
    """The sentence on points that steepen where the law's best curve does not, or None.

    A parabola in ln x has to steepen, beyond its error, further than the one through the law's curve at the same
    points, and to explain the points better by more than an AICc that rejects the law.

    Args:
        problem: the law and its points. solution: its best fit. rejects: an AICc gap that does.
    """
    if problem.objective.log or (parabola := _parabola(problem, problem.y)) is None:
        return None
    curve = problem.curve(solution)
    by_law = _parabola(problem, curve)
    weights = 1.0 if problem.root_weights is None else problem.root_weights
    sse = float(np.sum((weights * (problem.y - curve)) ** 2))
    own = diagnostics.aicc(sse, points=len(problem.y), coefficients=len(problem.law.parameters))
    slope, curvature = parabola.bent[1], parabola.bent[0]
    further = abs(curvature - (0.0 if by_law is None else by_law.bent[0]))
    sure = min(abs(curvature), further) > parabola.quantile * math.sqrt(parabola.spread[0, 0])
    if not (curvature * slope > 0 and sure and own - parabola.aicc > rejects):
        return None
    steeper = "rise" if slope > 0 else "fall"
    symbol = problem.law.inputs[0].symbol
    return (
        f"{problem.law.name} cannot bend as these points do: they {steeper} ever faster with ln {symbol} "
        "(a parabola explains them far better by AICc)"
    )


def turn(problem: Problem, *, below: float) -> str | None:
    """Where the points turn, so that no curve of one direction describes them; None where they do not.

    A parabola in ln x has to have an AICc below a bound, slopes at its two ends that differ in sign, each beyond its
    error (Lind and Mehlum, Oxford Bulletin of Economics and Statistics 72, 2010), and a shorter arm that is not a
    mere warm-up compared with the longer one.

    Args:
        problem: the law and its points, of one input.
        below: the AICc that the best curve of one direction has, less what rejects it.
    """
    if (parabola := _parabola(problem, problem.y)) is None or not below - parabola.aicc > 0:
        return None
    x, bent = np.log(problem.x), parabola.bent
    ends = np.array([[2.0 * (edge - x.mean()), 1.0, 0.0] for edge in (x.min(), x.max())])
    slopes, errors = ends @ bent, np.sqrt(np.einsum("ij,jk,ik->i", ends, parabola.spread, ends))
    sure = np.abs(slopes) > parabola.quantile * errors
    if not sure.all() or slopes[0] * slopes[1] >= 0:
        return None
    vertex = -bent[1] / (2.0 * bent[0])
    arms = np.abs(bent[0]) * (np.array([x.min(), x.max()]) - x.mean() - vertex) ** 2
    if arms.min() < SHORTEST_ARM * arms.max():
        return None
    first, then = ("fall", "rise") if slopes[0] < 0 else ("rise", "fall")
    place = number(math.exp(float(x.mean() + vertex)), 3)
    symbol = problem.law.inputs[0].symbol
    return (
        f"{problem.law.name} cannot describe these points: they {first} until {symbol} = {place} and then {then}, and "
        "no law compared does (a parabola explains them far better by AICc)"
    )


@dataclass(frozen=True)
class _Parabola:
    """A parabola in centered ln x: coefficients from the square down, their covariance, Student's quantile, AICc."""

    bent: Array
    spread: Array
    quantile: float
    aicc: float


def _parabola(problem: Problem, y: Array) -> _Parabola | None:
    """The weighted parabola through values at the problem's points; None for several inputs or too few points."""
    if problem.x.ndim > 1 or problem.x.min() <= 0 or len(y) < 5:
        return None
    x = np.log(problem.x)
    weights = np.ones(len(x)) if problem.root_weights is None else problem.root_weights
    design = np.vander(x - x.mean(), 3) * weights[:, None]
    bent = np.asarray(np.linalg.lstsq(design, weights * y, rcond=None)[0], dtype=float)
    residuals = weights * y - design @ bent
    sse, freedom = float(residuals @ residuals), len(x) - 3
    return _Parabola(
        bent,
        np.linalg.pinv(design.T @ design) * sse / freedom,
        t_quantile(0.5 + CONFIDENCE / 2, freedom),
        diagnostics.aicc(sse, points=len(x), coefficients=3),
    )


def trend(x: Array, y: Array) -> Trend:
    """The slope of y against ln x, or against x where it is not positive throughout."""
    return line(np.log(x) if x.min() > 0 else x, y)


def _one_way_columns(problem: Problem, design: Array) -> list[int]:
    """Columns whose weight cannot be negative and that are neither a level nor a fixed part: they go one way only."""
    law = problem.law
    levels = np.flatnonzero((design == design[0]).all(axis=0) & (design[0] != 0))
    fixed = {law.asymptote_column, *levels.tolist(), *(column for column, _ in law.offset_columns)}
    return [j for j, low in enumerate(law.linear_lower) if math.isfinite(low) and j not in fixed]


def _without(problem: Problem, column: Array) -> str:
    """The sentence on a column that got no weight: which way it goes, and along which input."""
    law, inputs = problem.law, problem.x.reshape(len(problem.y), -1)
    along = [
        float(np.sum((one - one.mean()) * (column - column.mean())) / (np.ptp(one) or 1.0))
        for one in inputs.T
    ]
    chief = int(np.argmax(np.abs(along)))
    goes, go = ("fall", "fall") if along[chief] < 0 else ("rise", "rise")
    name = law.inputs[chief].symbol
    if inputs.shape[1] > 1:
        return f"{law.name} cannot describe these points: it can only {goes} with {name}, and they do not {go} with it"
    way = trend(problem.x, problem.y)
    really = {RISES: "they rise", FALLS: "they fall"}.get(way.way, f"they do not {go}")
    return (
        f"{law.name} cannot describe these points: it can only {goes}, and {really} ({_slope(problem, way)})"
    )


def _slope(problem: Problem, way: Trend) -> str:
    per = "factor e of" if problem.x.min() > 0 else "unit of"
    ends = f"[{number(way.low, 3)}, {number(way.high, 3)}]"
    return f"slope {number(way.slope, 3)} {ends} per {per} {problem.law.inputs[0].symbol}"
