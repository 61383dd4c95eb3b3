"""What a rise of the objective means: the noise of a point, its degrees of freedom, and what correlation adds.

The interval of a number holds all values v with S(v) <= S_min + g s^2 F(0.95; 1, f): s^2 the variance of a point, f the
degrees of freedom, and g how far the number's variance exceeds that of independent points of equal noise. For points
along a series g is (1 + rho)/(1 - rho) for every number; for points of several runs it is a sandwich over the runs, for
each number apart: what a run shifts together moves some numbers and leaves others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from sparsity_lab.fitting.quantiles import f_quantile
from sparsity_lab.fitting.solve import diagnostics, gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

CONFIDENCE = 0.95
# Simulated (a power law and noise of 4 % of it, 10 to 40 points): without it 95 % intervals hold one to three times in
# 100 less often.
WEIGHTS_FOUND = 2.0
LEAST_INFLATION = (
    0.1  # by a sandwich; a smaller estimate of a variance from few runs is too uncertain to be used
)


@dataclass(frozen=True)
class NoiseScale:
    """What turns a rise of the objective into a probability.

    Attributes:
        variance: of a point, in the unit of the objective's residuals squared.
        freedom: degrees of freedom, at least 1.
        inflation: g of a number for which the runs say nothing else.
        covariance: (J^T J)^-1 of the search coordinates and linear coefficients, shape (k, k).
        sandwich: covariance over the runs in units of `variance`, shape (k, k); None where each point is a run.
        weight: how far the objective rises for a squared standard error: 1 for squares, B/2 for Huber losses.
    """

    variance: float
    freedom: int
    inflation: float
    covariance: Array = field(repr=False)
    sandwich: Array | None = field(default=None, repr=False)
    weight: float = 1.0

    def inflation_of(self, gradient: Array) -> float:
        """g of a number with the given gradient by the search coordinates and linear coefficients, shape (k,)."""
        if self.sandwich is None:
            return self.inflation
        plain, over_runs = (
            float(gradient @ matrix @ gradient) for matrix in (self.covariance, self.sandwich)
        )
        return max(over_runs / plain, LEAST_INFLATION) if plain > 0 else 1.0

    def rise(self, gradient: Array, *, sides: int = 2) -> float:
        """How far the objective rises to the end of an interval, or to a one-sided bound."""
        quantile = f_quantile(1 - (1 - CONFIDENCE) * 2 / sides, 1, self.freedom)
        return self.weight * self.inflation_of(gradient) * self.variance * quantile

    def error_of(self, gradient: Array) -> float:
        """The standard error of a number, to first order."""
        variance = self.inflation_of(gradient) * self.variance * float(gradient @ self.covariance @ gradient)
        return math.sqrt(max(variance, 0.0))


def inverse(jacobian: Array) -> Array:
    """(J^T J)^-1 of columns in units of their own, shape (k, k); large where they are near dependent."""
    lengths = np.linalg.norm(jacobian, axis=0)
    lengths[lengths == 0] = 1.0
    scaled = jacobian / lengths
    return np.asarray(
        np.linalg.pinv(scaled.T @ scaled, rcond=1e-14, hermitian=True) / np.outer(lengths, lengths)
    )


def over_runs(jacobian: Array, residuals: Array, runs: np.ndarray, *, variance: float) -> Array:
    """The covariance of coefficients from the scatter of whole runs, in units of a point's variance, (k, k).

    Each run's residuals are first divided by what the fit leaves of them, (1 - H_run), as if the run had been left out
    (the estimate called CR3; Bell and McCaffrey, Survey Methodology 28, 2002).

    Args:
        jacobian: of the curve, weighted as the residuals, shape (n, k). residuals: shape (n,).
        runs: the run of each point, shape (n,).
        variance: of a point.
    """
    bread = inverse(jacobian)
    meat = np.zeros_like(bread)
    for name in np.unique(runs):
        rows = runs == name
        part = jacobian[rows]
        left = np.linalg.lstsq(np.eye(len(part)) - part @ bread @ part.T, residuals[rows], rcond=1e-10)[0]
        score = part.T @ left
        meat += np.outer(score, score)
    count = len(np.unique(runs))
    return np.asarray((count - 1) / count * bread @ meat @ bread / variance)


def scale_of(problem: Problem, solution: Solution) -> NoiseScale:
    """The scale of a fit: noise, degrees of freedom, and what correlation adds.

    A sum of Huber losses is not a log likelihood: near its least value its rise in one number is distributed as A/(2B)
    times an F(1, f) variable, with A the mean square of the clipped residuals psi and B the mean of psi's derivative
    (the tau test: Ronchetti, Statistics and Probability Letters 1, 1982). For a delta beyond all residuals that is the
    level of least squares.
    """
    jacobian, residuals = free_jacobian(problem, solution), problem.residuals(solution)
    count, points = len(problem.law.parameters), len(residuals)
    weight, curvature = 1.0, 1.0
    if problem.objective.huber:
        delta = problem.objective.delta
        curvature = _mean_curvature(residuals, delta, taken=min(count / points, 1.0))
        weight, residuals = curvature / 2.0, np.clip(residuals, -delta, delta)
    freedom = max(points - count, 1)
    variance = float(residuals @ residuals) / freedom / curvature**2
    bread = inverse(jacobian)
    if problem.runs is None or len(np.unique(problem.runs)) == points:
        inflation = diagnostics.variance_inflation(residuals, jacobian) if problem.x.ndim == 1 else 1.0
        return NoiseScale(variance, freedom, inflation, bread, weight=weight)
    free = max(len(np.unique(problem.runs)) - count, 1)
    sandwich = (
        over_runs(jacobian, residuals / curvature, problem.runs, variance=variance) if variance > 0 else None
    )
    return NoiseScale(variance, free, 1.0, bread, sandwich, weight)


def weights_found(scale: NoiseScale) -> NoiseScale:
    """The scale where the weights were found from the same points: it is wider for that by WEIGHTS_FOUND/freedom."""
    wider = 1.0 + WEIGHTS_FOUND / scale.freedom
    sandwich = None if scale.sandwich is None else wider * scale.sandwich
    return replace(scale, inflation=wider * scale.inflation, sandwich=sandwich)


def free_jacobian(problem: Problem, solution: Solution) -> Array:
    """The Jacobian, zero for a linear coefficient that is fixed or at its bound."""
    free = solution.linear > np.asarray(problem.law.linear_lower)
    return np.asarray(
        gradients.jacobian(problem, solution) * np.concatenate([np.ones(len(solution.theta)), free])
    )


def _mean_curvature(residuals: Array, delta: float, *, taken: float) -> float:
    """B, the mean derivative of psi: delta times twice the density of residuals at zero.

    Few residuals lie within a delta that is small against the noise, so a window of half the median residual is taken
    where that is wider. A fit pulls about as many points to zero as it has coefficients, a share `taken` of all; those
    say nothing about the noise.
    """
    size = np.abs(residuals)
    window = max(delta, 0.5 * float(np.median(size)))
    inside = (float(np.mean(size <= window)) - taken) / max(1.0 - taken, 1.0 / len(size))
    return delta / window * max(inside, 1.0 / len(size))
