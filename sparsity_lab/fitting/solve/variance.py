"""Noise whose variance is a power of the curve: var_i = s^2 |f_i|^(2k), with k found from the points.

The curve and k are found in turn until neither moves (generalized least squares: Carroll and Ruppert, Transformation
and Weighting in Regression, 1988, chapter 2). k has the largest likelihood of the residuals, each over what a fit of
these weights leaves of its noise (Davidian and Carroll, J. Am. Stat. Assoc. 82, 1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.quantiles import chi_squared_quantile
from sparsity_lab.fitting.solve import diagnostics, engine, gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

LARGEST = 20.0  # |k|, far beyond what a few dozen points tell from a kink
MOST_ROUNDS = 60
STILL = 1e-8  # of k, where a round no longer moves it
HALVED_FROM = 20  # the round from which steps are halved: some problems go to and fro
LEAST_LEFT = 0.05  # of a point's noise that a fit leaves in its residual
LOWEST = 0.1  # of the smallest y: what the curve counts for where it is lower
EXACT = 1e-9  # root mean square residual over the range of y, below which what is left is rounding
NEAREST = 1e-3  # of the smallest curve at the points: how near to zero the curve counts elsewhere
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerNoise:
    """The noise of points, relative to each other.

    Attributes:
        power: k. low, high: its 95 % interval by the likelihood; NaN where `LARGEST` is within it.
        centre: mean ln of the curve at the points. smallest: its smallest value there.
        sizes: standard deviations of the points over their geometric mean, shape (n,).
    """

    power: float
    low: float
    high: float
    centre: float
    smallest: float
    sizes: Array

    def at(self, curve: Array) -> Array:
        """Relative standard deviations where the curve has these values."""
        return np.asarray(
            np.exp(self.power * (np.log(np.maximum(np.abs(curve), NEAREST * self.smallest)) - self.centre))
        )


def power_noise(problem: Problem, *, seed: int = 0) -> PowerNoise:
    """The power of the curve that the noise of a problem's points goes with.

    Args:
        problem: a law and its points, without weights and with y above 0. seed: of the search grid.

    Raises:
        SparsityLabError: the curve is not above 0 at all points.
    """
    power, logs = 0.0, np.zeros(len(problem.y))
    for number in range(MOST_ROUNDS):
        weighted = replace(problem, root_weights=np.exp(-power * logs))
        solution = engine.solve(weighted, seed=seed)
        curve = problem.curve(solution)
        # Before its noise is known a curve may be below all that is above 0.
        level = np.log(np.maximum(curve, LOWEST * problem.y.min()))
        logs = level - level.mean()
        squares = _squares(weighted, solution)
        if np.ptp(logs) == 0 or np.sqrt(squares.mean()) <= EXACT * problem.y_range:
            power, squares = 0.0, np.zeros(len(logs))
            break
        before, power = power, _likeliest(squares, logs)
        if number >= HALVED_FROM:
            power = (before + power) / 2.0
        if abs(power - before) <= STILL:
            break
    if not curve.min() > 0:
        raise SparsityLabError(
            f"The noise cannot be a power of the curve of {problem.law.name}",
            why=f"The curve is {curve.min():.3g} at one of the points, and has to be above 0 at all",
            fix="Take the noise for even, --noise even, or fit another law",
        )
    low, high = _interval(power, squares, logs)
    return PowerNoise(power, low, high, float(level.mean()), float(curve.min()), np.exp(power * logs))


def _squares(weighted: Problem, solution: Solution) -> Array:
    """Squared residuals of y, each over the share of its noise that the fit leaves, shape (n,)."""
    basis = diagnostics.fitted_basis(gradients.jacobian(weighted, solution))
    left = np.maximum(1.0 - np.einsum("ij,ij->i", basis, basis), LEAST_LEFT)
    return np.asarray((weighted.y - weighted.curve(solution)) ** 2 / left)


def _likeliest(squares: Array, logs: Array) -> float:
    """The power at which the mean of ln f, by the weighted squares, is that of all points."""

    def mean(power: float) -> float:
        exponents = -2.0 * power * logs
        shares = squares * np.exp(exponents - exponents.max())
        return float(shares @ logs / shares.sum())

    if mean(-LARGEST) <= 0:
        return -LARGEST
    return LARGEST if mean(LARGEST) >= 0 else _root(mean, -LARGEST, LARGEST, xtol=STILL / 100)


def _interval(power: float, squares: Array, logs: Array) -> tuple[float, float]:
    """Where twice the logarithm of the likelihood has fallen by the quantile of chi squared."""
    if not squares.any() or np.ptp(logs) == 0:
        return math.nan, math.nan

    def height(at: float) -> float:
        exponents = -2.0 * at * logs
        return len(logs) * (math.log(squares @ np.exp(exponents - exponents.max())) + float(exponents.max()))

    level = height(power) + chi_squared_quantile(CONFIDENCE, 1)
    ends = [
        _root(lambda at: height(at) - level, edge, power) if height(edge) > level else math.nan
        for edge in (-LARGEST, LARGEST)
    ]
    return ends[0], ends[1]


def _root(function: Callable[[float], float], one: float, other: float, *, xtol: float = 2e-12) -> float:
    """Where a function is zero between two places at which its signs differ."""
    from scipy.optimize import (
        brentq,
    )  # most fits take the noise for even, and are done before this is imported

    return float(brentq(function, one, other, xtol=xtol))
