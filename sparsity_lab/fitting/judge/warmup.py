"""How coefficients move with the number of leading points left out, and how many to leave out.

The first checkpoints of a run lie in its learning-rate warm-up and need not follow the law. Published fits
leave some out without saying how many; the table says what that choice does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparsity_lab.fitting.judge import shape, windows
from sparsity_lab.fitting.quantiles import f_quantile
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem, Solution

LARGEST_SHARE = 1 / 3
MOST_COUNTS = 30  # of leading points left out; a longer series is fitted at so many counts, evenly spaced
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


def sensitivity(problem: Problem, *, seed: int = 0) -> list[DropRow]:
    """Fits of the series without its first 0, 1, 2, ... points, up to a third of them; of a long one without some.

    First are the smallest models, whichever way x goes (`windows.forward`).
    """
    order = windows.forward(problem.x, problem.law.forward)
    most = min(int(LARGEST_SHARE * len(order)), problem.freedom - 2)
    counts = range(0, most + 1, max(1, math.ceil(most / MOST_COUNTS)))
    solved = engine.solve_parts(problem, [order[count:] for count in counts], seed=seed)
    return [_row(count, part, solution) for count, (part, solution) in zip(counts, solved, strict=True)]


def _row(count: int, part: Problem, solution: Solution) -> DropRow:
    describes = shape.misfit(part, solution) is None
    values = part.coefficients_of(solution) if describes else {}
    sse, freedom = solution.objective, part.freedom
    return DropRow(count, len(part.y), freedom, values, sse, sse / freedom)


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
    return statistic > f_quantile(1 - SIGNIFICANCE, left_out, later.freedom)
