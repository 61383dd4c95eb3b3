"""Rival laws on the same points, compared by AICc and by how well they extrapolate.

Rolling origin: fit on the first 50, 60, 70, 80 and 90 % of the points, predict all the rest; the score is the
root mean square error over all predictions. The 70 % origin is also given alone. A small gap is called a tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.fitting.judge import shape, windows
from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import FALLING, RISING

ORIGINS = (0.5, 0.6, 0.7, 0.8, 0.9)
HELD_OUT = 0.7
AICC_TIE = 2.0
AICC_REJECTS = 10.0
# Two extrapolation errors within this factor are not distinguished by a few dozen correlated errors.
ERROR_TIE = 1.2


@dataclass(frozen=True)
class Rival:
    """One law's standing.

    Attributes:
        aicc_gap: AICc less that of the best law. rolling_rmse, held_out_rmse: in the unit of y, NaN where
            the points do not suffice.
        describes: whether the law can describe which way the points go; it has no coefficients where it cannot.
    """

    law: str
    coefficients: dict[str, float]
    sse: float
    aicc: float
    aicc_gap: float
    rolling_rmse: float
    held_out_rmse: float
    describes: bool = True


@dataclass(frozen=True)
class Comparison:
    """All laws, best AICc first, with what may be concluded."""

    rivals: tuple[Rival, ...]
    best_by_aicc: str
    aicc_ties: tuple[str, ...]
    best_by_extrapolation: str | None
    extrapolation_ties: tuple[str, ...]

    def find(self, law: str) -> Rival | None:
        """The entry of one law, or None where it was not among the rivals."""
        return next((rival for rival in self.rivals if rival.law == law), None)


def compare(problems: Sequence[Problem], *, seed: int = 0, extrapolate: bool = True) -> Comparison:
    """Fit each law to the same points and rank them; laws with too many coefficients are left out.

    Args:
        problems: the rivals, each on the same points; the first are those of the smallest models, whichever way x goes
            (`windows.forward`), by what the laws say.
        seed: of the search grid.
        extrapolate: whether to refit on the first shares of the points as well.
    """
    way = FALLING if any(each.law.forward == FALLING for each in problems) else RISING
    problems = [each.subset(windows.forward(each.x, way)) for each in problems]
    coefficients = {each.law.name: len(each.law.parameters) for each in problems}
    entries = [_entry(one, seed, extrapolate) for one in problems if one.freedom >= 1]
    entries.sort(key=lambda entry: (entry.aicc, coefficients[entry.law]))
    return _conclude(tuple(replace(e, aicc_gap=_gap(e.aicc, entries[0].aicc)) for e in entries))


def _entry(problem: Problem, seed: int, extrapolate: bool) -> Rival:
    law, solution = problem.law, engine.solve(problem, seed=seed)
    describes = shape.misfit(problem, solution) is None
    # What is left of points that do not change is rounding.
    sse = float(np.sum(problem.residuals(solution) ** 2)) if np.ptp(problem.y) > 0 else 0.0
    errors = extrapolation_errors(problem, ORIGINS if extrapolate else (), seed=seed)
    return Rival(
        law=law.name,
        coefficients=problem.coefficients_of(solution) if describes else {},
        sse=sse,
        aicc=diagnostics.aicc(sse, points=len(problem.y), coefficients=len(law.parameters)),
        aicc_gap=math.nan,
        rolling_rmse=rms(errors.values()),
        held_out_rmse=rms([errors[HELD_OUT]] if extrapolate else []),
        describes=describes,
    )


def _gap(aicc: float, least: float) -> float:
    return 0.0 if aicc == least else aicc - least


def extrapolation_errors(
    problem: Problem, shares: Sequence[float], *, seed: int = 0
) -> dict[float, np.ndarray]:
    """Errors of predicting the points after each first share from those before; NaN where too few."""
    rows = np.arange(len(problem.y))
    firsts = {share: math.ceil(share * len(rows)) for share in shares}
    enough = {share: first for share, first in firsts.items() if first > len(problem.law.parameters)}
    solved = engine.solve_parts(problem, [rows[:first] for first in enough.values()], seed=seed)
    curves = {
        share: part.curve(solution, problem.x) for share, (part, solution) in zip(enough, solved, strict=True)
    }
    return {
        share: curves[share][first:] - problem.y[first:]
        if share in curves
        else np.full(len(rows) - first, math.nan)
        for share, first in firsts.items()
    }


def rms(errors: Iterable[np.ndarray]) -> float:
    """Root mean square of all errors; NaN where one is missing or there are none."""
    together = np.concatenate([np.empty(0), *errors])
    return float(np.sqrt(np.mean(together**2))) if len(together) else math.nan


def _conclude(rivals: tuple[Rival, ...]) -> Comparison:
    near = tuple(r.law for r in rivals[1:] if r.aicc_gap < AICC_TIE)
    scored = sorted((r for r in rivals if math.isfinite(r.rolling_rmse)), key=lambda r: r.rolling_rmse)
    best = scored[0].law if scored else None
    ties = tuple(r.law for r in scored[1:] if r.rolling_rmse < ERROR_TIE * scored[0].rolling_rmse)
    return Comparison(rivals, rivals[0].law if rivals else "", near, best, ties)
