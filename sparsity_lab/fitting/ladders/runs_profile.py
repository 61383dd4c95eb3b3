"""Profile intervals and the verdict of a law over a ladder of runs, for least squares and for Huber losses.

Least squares take the level of `profile`. A sum of Huber losses is no log likelihood: near its least value its
rise in one coefficient is distributed as A/(2B) times an F(1, n - p) variable, with A the mean square of the
clipped residuals psi and B the mean of psi's derivative, the share of residuals within delta (the tau test:
Ronchetti, Statistics and Probability Letters 1, 1982). So the level is S_min + g A F(0.95; 1, n - p)/(2B). For
a delta beyond all residuals it is the level of least squares. Few residuals lie within a delta that is small
against the noise, so B is taken from a window of half the median residual where that is wider. Runs of
several points count as runs: g >= 1 is the variance of sums over runs against that of independent points, and
n is the number of runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from sparsity_lab.fitting.judge import shape
from sparsity_lab.fitting.judge.verdict import NOT, Evidence, Verdict, judge
from sparsity_lab.fitting.solve import diagnostics, engine, profile, robust
from sparsity_lab.fitting.solve.engine import Solution
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solve.profile import CONFIDENCE, Profile
from sparsity_lab.fitting.solve.robust import DELTA, RobustSolution
from sparsity_lab.laws._law import Array

FLOOR = 1e-6  # of the smallest y: where an asymptote that cannot be negative counts as zero
FIRST_STEP = 0.05  # in the logarithm


@dataclass(frozen=True)
class ProfileScale:
    """What turns a rise of the objective into a probability.

    Attributes:
        noise_variance: of one point, so that a coefficient's variance is this times (J^T J)^-1; in y squared
            for least squares, in (ln y) squared for Huber losses.
        inflation: g, for points that share a run. freedom: runs less coefficients, at least 1.
        curvature: B, of half a sum of squares 1.
    """

    noise_variance: float
    inflation: float
    freedom: int
    curvature: float = 1.0

    def rise(self, *, sides: int = 2) -> float:
        """How far the sum of Huber losses, or half a sum of squares, rises to the end of an interval."""
        quantile = f_distribution.ppf(1 - (1 - CONFIDENCE) * 2 / sides, 1, self.freedom)
        return 0.5 * self.curvature * self.noise_variance * self.inflation * float(quantile)


def judged(
    problem: Problem, solution: Solution | RobustSolution, groups: np.ndarray
) -> tuple[dict[str, Profile], Verdict]:
    """Profiles of the asymptote and of every exponent, and the verdict they give.

    Args:
        problem: the law and its points. solution: the best fit, by least squares or by Huber losses.
        groups: the run of each point, shape (n,).
    """
    if misfit := shape.misfit(problem, solution.theta, linear_of(problem, solution)):
        return {}, Verdict(NOT, misfit, describes=False)
    scale = scale_of(problem, solution, groups)
    box = (0.0, float(problem.y.max()))
    names = ([] if problem.law.asymptote is None else [problem.law.asymptote]) + list(problem.law.exponents)
    found = {name: profile_of(problem, solution, name, scale=scale) for name in names}
    evidence = Evidence(
        asymptote=found.get(problem.law.asymptote or ""),
        exponents=tuple(found[name] for name in problem.law.exponents),
        box=box,
        y_range=float(np.ptp(problem.y)),
        condition=condition(problem, solution),
        at_edge=bool(engine.edges(problem, solution.theta)),
        limitless_rival=None,
        better_rival=None,
    )
    return found, judge(evidence)


def linear_of(problem: Problem, solution: Solution | RobustSolution) -> Array:
    """The linear coefficients of a best fit, shape (p,)."""
    return solution.linear if isinstance(solution, RobustSolution) else problem.project(solution.theta).linear


def profile_of(
    problem: Problem, solution: Solution | RobustSolution, name: str, *, scale: ProfileScale
) -> Profile:
    """The profile of the asymptote or of an exponent."""
    if isinstance(solution, RobustSolution):
        return _by_huber(problem, solution, name, scale)
    # The level of least squares, sse (1 + g F/freedom), with the scale's own variance and degrees of freedom.
    return _by_squares(problem, solution, name, scale)


def scale_of(problem: Problem, solution: Solution | RobustSolution, groups: np.ndarray) -> ProfileScale:
    """The scale of a fit: noise, inflation for shared runs, degrees of freedom."""
    runs, count = len(set(groups)), len(problem.law.parameters)
    freedom = max(runs - count, 1)
    spread = runs / freedom
    if not isinstance(solution, RobustSolution):
        residuals = problem.project(solution.theta).residuals
        return ProfileScale(spread * float(np.mean(residuals**2)), _shared(residuals, groups), freedom)
    residuals = robust.log_residuals(_packed(solution), problem)[0]
    psi = np.clip(residuals, -DELTA, DELTA)
    curvature = _mean_curvature(residuals, taken=count / runs)
    variance = spread * float(np.mean(psi**2)) / curvature**2
    return ProfileScale(variance, _shared(psi, groups), freedom, curvature)


def condition(problem: Problem, solution: Solution | RobustSolution) -> float:
    """Condition number of the Jacobian at the best fit, columns scaled to unit length."""
    if not isinstance(solution, RobustSolution):
        return diagnostics.condition(problem, solution)
    jacobian = robust.log_residuals(_packed(solution), problem)[1]
    lengths = np.linalg.norm(jacobian, axis=0)
    return float(np.linalg.cond(jacobian / lengths)) if np.all(lengths > 0) else math.inf


def _mean_curvature(residuals: Array, *, taken: float) -> float:
    """B, the mean derivative of psi: delta times twice the density of residuals at zero.

    A fit pulls about as many runs to zero as it has coefficients, a share `taken` of all; those say nothing
    about the noise.
    """
    size = np.abs(residuals)
    window = max(DELTA, 0.5 * float(np.median(size)))
    inside = (float(np.mean(size <= window)) - taken) / max(1.0 - taken, 1.0 / len(size))
    return DELTA / window * max(inside, 1.0 / len(size))


def _shared(psi: Array, groups: np.ndarray) -> float:
    """g: sum over runs of (sum of psi)^2 against sum of psi^2; 1 where each point is its own run."""
    total = float(psi @ psi)
    _, run = np.unique(groups, return_inverse=True)
    by_run = np.bincount(run, weights=psi)
    return max(1.0, float(by_run @ by_run) / total) if total > 0 else 1.0


def _by_squares(problem: Problem, solution: Solution, name: str, scale: ProfileScale) -> Profile:
    """Least squares: the level is sse + 2 rise, written as the inflation `profile` knows."""
    usual = profile.level_of(problem, solution, 1.0) - solution.sse
    inflation = 2.0 * scale.rise() / usual if usual > 0 else 1.0
    if name == problem.law.asymptote:
        box = (FLOOR * float(problem.y.min()), float(problem.y.max()))
        return profile.of_asymptote(problem, solution, box=box, inflation=inflation)
    return profile.of_exponent(problem, solution, name, inflation=inflation)


def _by_huber(problem: Problem, solution: RobustSolution, name: str, scale: ProfileScale) -> Profile:
    """Huber losses: every packed coordinate is a logarithm, of an exponent or of a weight."""
    law, best = problem.law, _packed(solution)
    if name == law.asymptote:
        assert law.asymptote_column is not None
        coordinate = len(solution.theta) + law.asymptote_column
        edges = (math.log(FLOOR * float(problem.y.min())), math.log(float(problem.y.max())))
    else:
        coordinate = law.exponents[name]
        low, high = law.search_box(problem.span)[coordinate]
        edges = (float(low), float(high))

    def least(value: float, near: Array) -> tuple[float, Array]:
        start = near.copy()
        start[coordinate] = value
        packed, objective = robust.polish(problem, start, DELTA, held=coordinate)
        return objective, packed

    levels = [solution.objective + scale.rise(sides=sides) for sides in (2, 1)]
    walk = profile.ProfileWalk(least, edges, FIRST_STEP, (levels[0], levels[1]))
    return profile.in_own_unit(walk.profile(name, float(best[coordinate]), theta=best))


def _packed(solution: RobustSolution) -> Array:
    return robust.pack(solution.theta, solution.linear)
