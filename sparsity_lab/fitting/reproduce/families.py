"""Families of fits: how limits move with size and shape, how fast runs converge, activations compared.

Limits enter with the standard errors of their profile intervals; a limit that the data do not bound enters no
regression. Questions: Sparsing Law (arXiv 2411.02335): limits against parameters (weak), against the
width-depth ratio (linear, then flat), convergence against data per parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.quantiles import f_tail, normal_quantile, t_quantile, t_tail
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import intervals, noise
from sparsity_lab.laws._law import Array

CONFIDENCE = 0.95
TOKENS_PER_PARAMETER = (20.0, 100.0, 400.0)


@dataclass(frozen=True)
class Limit:
    """The limit of one run with its 95 % interval; NaN where that is open. `parameters` is a count."""

    series: str
    activation: str | None
    parameters: float
    value: float
    low: float
    high: float
    verdict: str

    @property
    def se(self) -> float:
        """Half the interval over 1.96: its standard error, were it symmetric."""
        return (self.high - self.low) / (2 * normal_quantile(0.5 + CONFIDENCE / 2))

    @property
    def bounded(self) -> bool:
        """Whether the data bound it on both sides, so that its standard error means something."""
        return self.verdict != NOT and math.isfinite(self.se) and self.se > 0


@dataclass(frozen=True)
class ScaleFit:
    """A0 = a + s ln N over the runs of one activation: s with its 95 % interval and p-value against none."""

    activation: str | None
    runs: int
    a: float
    s: float
    low: float
    high: float
    p_value: float
    finding: str


@dataclass(frozen=True)
class Bottleneck:
    """Flat, straight, or linear then flat against the width-depth ratio.

    Attributes:
        r_star, low, high: the bottleneck and its 95 % profile interval; NaN where it is not supported.
        straight_p: F-test of a slope against none. bottleneck_p: of the bottleneck against a straight line.
        finding: flat, straight, or linear then flat.
    """

    runs: int
    r_star: float
    low: float
    high: float
    straight_p: float
    bottleneck_p: float
    finding: str


@dataclass(frozen=True)
class Speed:
    """How far a run has come: change of A per doubling of data at data-per-parameter marks, and at its end.

    Attributes:
        per_doubling: (tokens per parameter, change of A per doubling of data), NaN outside the data's range.
        end_tokens_per_parameter: of the last point. remaining: share of the way from first point to limit
            that
            is left at the last one, NaN where the limit is not identified.
    """

    series: str
    per_doubling: tuple[tuple[float, float], ...]
    end_tokens_per_parameter: float
    remaining: float


@dataclass(frozen=True)
class Pair:
    """Two activations at equal parameters: the difference of their limits with its 95 % interval."""

    parameters: float
    first: str
    second: str
    difference: float
    low: float
    high: float
    ratio: float


def limits(results: Sequence[FitResult]) -> list[Limit]:
    """The limits of all runs whose size is known."""
    known = []
    for result in results:
        name, size = result.law.asymptote, result.series.parameters
        if name is None or size is None or not result.describes:
            continue
        limit, series = result.coefficients[name], result.series
        ends = (limit.value, limit.low, limit.high)
        known.append(Limit(series.name, series.activation, size, *ends, result.verdict.word))
    return known


def with_sizes(limits: Sequence[Limit]) -> list[Limit]:
    """The limits of activations that have an error bar at two sizes or more: what there is to draw against size."""
    sizes: dict[str | None, set[float]] = {}
    for limit in limits:
        if math.isfinite(limit.se):
            sizes.setdefault(limit.activation, set()).add(limit.parameters)
    return [limit for limit in limits if len(sizes.get(limit.activation, ())) >= 2]


def against_scale(limits: Sequence[Limit]) -> list[ScaleFit]:
    """The `scale` law over limits bounded on both sides, activation by activation; needs three sizes each."""
    scales = []
    for activation in dict.fromkeys(limit.activation for limit in limits):
        bounded = [limit for limit in limits if limit.activation == activation and limit.bounded]
        if len({limit.parameters for limit in bounded}) >= 3:
            scales.append(_scale(activation, bounded))
    return scales


def _scale(activation: str | None, own: Sequence[Limit]) -> ScaleFit:
    x = np.array([limit.parameters / 1e9 for limit in own])
    y, se = np.array([limit.value for limit in own]), np.array([limit.se for limit in own])
    problem = Problem.of(load_law("scale"), x, y, root_weights=1.0 / se)
    values = problem.coefficients(np.empty(0))
    design = np.stack([np.ones_like(x), np.log(x)], axis=1) / se[:, None]
    spread = np.linalg.inv(design.T @ design)
    # Runs scatter by more than their own errors: the larger of the two variances counts.
    scatter = float(np.sum(((y - problem.law.predict(values, x)) / se) ** 2)) / max(len(x) - 2, 1)
    error = math.sqrt(max(scatter, 1.0) * spread[1, 1])
    freedom = len(x) - 2
    half = t_quantile(0.5 + CONFIDENCE / 2, freedom) * error
    s, p = values["s"], 2 * t_tail(abs(values["s"]) / error, freedom)
    word = "no dependence shown" if p > 1 - CONFIDENCE else "rises with size" if s > 0 else "falls with size"
    return ScaleFit(activation, len(x), values["a"], s, s - half, s + half, p, word)


def width_depth(ratios: Array, values: Array, *, se: Array | None = None) -> Bottleneck:
    """Whether a limit is flat, straight, or linear then flat against the width-depth ratio.

    Args:
        ratios: hidden size over layers, shape (n,), n >= 5. values: limits, shape (n,).
        se: their standard errors, or None for equal weights.
    """
    order = np.argsort(ratios, kind="stable")
    x, y = ratios[order], values[order]
    weights = None if se is None else 1.0 / se[order]
    broken = Problem.of(load_law("width-depth"), x, y, root_weights=weights)
    solution = engine.solve(broken)
    flat, straight = _polynomial(broken, 0), _polynomial(broken, 1)
    n = len(x)
    straight_p = f_test(flat, straight, more=1, freedom=n - 2)
    bottleneck_p = f_test(straight, solution.sse, more=1, freedom=n - 3)
    if bottleneck_p < 1 - CONFIDENCE:
        low, high = _bottleneck_interval(broken, solution)
        r_star = broken.coefficients(solution.theta)["r_star"]
        return Bottleneck(n, r_star, low, high, straight_p, bottleneck_p, "linear then flat")
    word = "straight" if straight_p < 1 - CONFIDENCE else "flat"
    return Bottleneck(n, math.nan, math.nan, math.nan, straight_p, bottleneck_p, word)


def f_test(smaller: float, larger: float, *, more: int, freedom: int) -> float:
    """p-value of `more` further coefficients that lower a sum of squares from `smaller` to `larger`."""
    if larger <= 0:
        return 0.0 if smaller > 0 else 1.0
    statistic = (smaller - larger) / more / (larger / freedom)
    return f_tail(max(statistic, 0.0), more, freedom)


def speed(result: FitResult) -> Speed | None:
    """Convergence of one run against tokens per parameter; None without a size or a law that describes it."""
    size, series, law = result.series.parameters, result.series, result.law
    if size is None or not result.describes:
        return None
    marks = np.array(TOKENS_PER_PARAMETER) * size / 1e9
    change = law.slope(result.values, marks) * marks * math.log(2.0)
    change[(marks < series.x[0]) | (marks > series.x[-1])] = math.nan
    limit, ends = law.limit(result.values), law.predict(result.values, series.x[[0, -1]])
    known = result.verdict.word != NOT and math.isfinite(limit)
    remaining = float((ends[1] - limit) / (ends[0] - limit)) if known else math.nan
    per_doubling = tuple(zip(TOKENS_PER_PARAMETER, map(float, change), strict=True))
    return Speed(series.name, per_doubling, float(series.x[-1]) * 1e9 / size, remaining)


def pairs(limits: Sequence[Limit]) -> list[Pair]:
    """Every two activations at equal parameters, both limits identified."""
    sure = [limit for limit in limits if limit.bounded]
    found = []
    for i, one in enumerate(sure):
        for other in sure[i + 1 :]:
            if one.parameters == other.parameters and one.activation != other.activation:
                gap = other.value - one.value
                half = normal_quantile(0.975) * math.hypot(one.se, other.se)
                ratio = other.value / one.value
                found.append(
                    Pair(one.parameters, one.series, other.series, gap, gap - half, gap + half, ratio)
                )
    return found


def _polynomial(problem: Problem, degree: int) -> float:
    """Weighted sum of squares of a polynomial in r."""
    columns = np.vander(problem.x, degree + 1)
    if problem.root_weights is not None:
        columns = columns * problem.root_weights[:, None]
    linear = np.linalg.lstsq(columns, problem.targets, rcond=None)[0]
    return float(np.sum((problem.targets - columns @ linear) ** 2))


def _bottleneck_interval(problem: Problem, solution: Solution) -> tuple[float, float]:
    """The interval of r*."""
    wanted = intervals.Wanted(names=("r_star",))
    found = intervals.intervals(problem, solution, noise.scale_of(problem, solution), wanted).profiles[
        "r_star"
    ]
    return found.low, found.high
