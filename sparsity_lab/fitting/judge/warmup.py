"""How coefficients move with the number of leading points left out, and how many to leave out.

The first checkpoints of a run lie in its learning-rate warm-up and need not follow the law. Published fits
leave some out without saying how many; the table says what that choice does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from sparsity_lab.fitting.judge import shape, windows
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Coefficients

LARGEST_SHARE = 1 / 3
MOST_COUNTS = 30  # of leading points left out that are tried; of a long series they are evenly spaced
SIGNIFICANCE = 0.01
AUTO_RULE = (
    "the fewest leading points such that no further ones deviate from the fit to the rest "
    "(forecast F-test at 1 %)"
)


@dataclass(frozen=True)
class DropRow:
    """The fit without the first `dropped` points; without coefficients where the law cannot describe the rest."""

    dropped: int
    points: int
    freedom: int
    coefficients: dict[str, float]
    sse: float
    mean_square: float


def sensitivity(problem: Problem, *, seed: int = 0, near: Coefficients | None = None) -> list[DropRow]:
    """Fits of the series without its first 0, 1, 2, ... points, up to a third of them; of a long one without some.

    First are the smallest models, whichever way x goes (`windows.forward`).

    Args:
        problem: the law and all points. seed: of the search grid.
        near: coefficients of a fit to start from, so that nothing is searched.
    """
    rows: list[DropRow] = []
    order = windows.forward(problem.x, problem.law.forward)
    most = int(LARGEST_SHARE * len(problem.y))
    for count in range(0, most + 1, max(1, math.ceil(most / MOST_COUNTS))):
        part = problem.subset(order[count:])
        if part.freedom < 2:
            break
        solution = _warm(part, [near, *(row.coefficients for row in rows[-1:])]) if near else None
        solution = solution or engine.solve(part, seed=seed)
        describes = shape.misfit(part, solution) is None
        rows.append(
            DropRow(
                count,
                len(part.y),
                part.freedom,
                part.coefficients_of(solution) if describes else {},
                solution.objective,
                solution.objective / part.freedom,
            )
        )
    return rows


def _warm(part: Problem, near: Sequence[Coefficients]) -> Solution | None:
    """The best fit from near ones; None where these have no search coordinates."""
    box = part.law.search_box(part.span)
    with np.errstate(all="ignore"):
        starts = [part.law.locate(values, part.span) for values in near if values]
    starts = [np.clip(start, box[:, 0], box[:, 1]) for start in starts if np.all(np.isfinite(start))]
    return engine.refit(part, starts) if starts else None


def choose(rows: Sequence[DropRow]) -> int:
    """How many leading points to leave out, by `AUTO_RULE`.

    The points between drops d and d' follow the same law as the rest unless leaving them out lowers the sum
    of squares by more than noise would: F = ((S_d - S_d')/(d' - d)) / (S_d'/freedom') (Chow's forecast
    test).
    """
    for i, row in enumerate(rows):
        if not any(_deviates(row, later) for later in rows[i + 1 :]):
            return row.dropped
    return rows[-1].dropped


def rule_of(rows: Sequence[DropRow]) -> str:
    """By which rule `choose` chose, with the counts that were tried where not every one was."""
    step = rows[1].dropped - rows[0].dropped if len(rows) > 1 else 1
    return AUTO_RULE if step == 1 else f"{AUTO_RULE}, among the multiples of {step}"


def _deviates(row: DropRow, later: DropRow) -> bool:
    left_out = later.dropped - row.dropped
    statistic = (row.sse - later.sse) / left_out / later.mean_square
    return bool(statistic > f_distribution.ppf(1 - SIGNIFICANCE, left_out, later.freedom))
