"""rho(N): density against size within a family, and whether it rises or falls.

The slope is that of least squares through ln rho against ln N, where a family has three or more sizes. Since
ln rho = ln N^ - ln N, a slope of 0 says that the family's score grows with N as the ruler's does, and one of -1 that it
does not grow at all.

Two errors are in the interval. The ruler's: draw b of its curve moves all models at once, and with them the slope.
The models': they lie off their family's line, by the errors of their scores and by what else tells them apart. This
scatter is taken to be the same for all families of a run and is estimated from all of them, since three sizes leave one
degree of freedom each; its variance is drawn from SSE / chi^2 as that of a one-step ruler is, so that without the
ruler's error the interval is Student's. `scatter` shows how far each family's own models lie off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.inversion import EXTRAPOLATION_LIMIT
from sparsity_lab.fitting.density.notes import listed
from sparsity_lab.fitting.density.trend.entering import Entering, barred, lower_bound
from sparsity_lab.laws._law import Array

DRAWS = 20_000
FEWEST_SIZES = 3
LEVEL = 0.95


@dataclass(frozen=True)
class FamilyLine:
    """Least squares through one family's models; `ln_size` and `ln_rho` have shape (n,).

    `ruler_slopes` are the slopes under the ruler's draws with all scores held, shape (B,).
    """

    family: str
    ln_size: Array
    ln_rho: Array
    ruler_slopes: Array

    @property
    def square(self) -> float:
        """Sum of the squared distances of ln N from its mean."""
        return float(np.sum((self.ln_size - self.ln_size.mean()) ** 2))

    @property
    def slope(self) -> float:
        """d ln rho / d ln N."""
        return float(_slopes(self.ln_size, self.ln_rho))

    @property
    def sse(self) -> float:
        """Sum of the squared distances of ln rho from the line."""
        around = self.ln_rho - self.ln_rho.mean() - self.slope * (self.ln_size - self.ln_size.mean())
        return float(np.sum(around**2))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the scatter."""
        return len(self.ln_size) - 2


def size_rows(
    measured: Sequence[Density], entering: Entering, *, sizes: tuple[float, float], seed: int
) -> list[dict[str, object]]:
    """One row for each family with three or more sizes, by name; N in 1e9 of the ruler's unit.

    Args:
        measured: the densities of a run.
        entering: which of them count: those that may join the trend and have a number, dated or not.
        sizes: smallest and largest reference size, for draws that leave the ruler's reach.
        seed: of the draws.
    """
    lines = family_lines(measured, entering, sizes=sizes)
    intervals = slope_intervals(lines, seed=seed)
    return [_row(line, interval) for line, interval in zip(lines, intervals, strict=True)]


def family_lines(
    measured: Sequence[Density], entering: Entering, *, sizes: tuple[float, float]
) -> list[FamilyLine]:
    """The lines of the families with three or more sizes, by name; arguments as in `size_rows`."""
    families: dict[str, list[Density]] = {}
    for density in measured:
        if density.rho and not barred(density, entering) and lower_bound(density, entering) is None:
            families.setdefault(density.target.family, []).append(density)
    return [
        _line(family, members, sizes)
        for family, members in sorted(families.items())
        if len({density.size for density in members}) >= FEWEST_SIZES
    ]


def slope_intervals(lines: Sequence[FamilyLine], *, seed: int) -> list[tuple[float, float]]:
    """The 95 % interval of each line's slope; the lines share the ruler's draws and the size of the scatter."""
    if not lines:
        return []
    rng = np.random.default_rng(seed)
    freedom = sum(line.freedom for line in lines)
    scatter = np.sqrt(sum(line.sse for line in lines) / rng.chisquare(freedom, DRAWS))
    columns = rng.integers(0, len(lines[0].ruler_slopes), DRAWS)
    intervals = []
    for line in lines:
        alone = scatter * rng.standard_normal(DRAWS) / np.sqrt(line.square)
        low, high = np.quantile(line.ruler_slopes[columns] + alone, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        intervals.append((float(low), float(high)))
    return intervals


def size_sentence(rows: Sequence[dict[str, object]]) -> str:
    """In how many families density rises or falls with size; empty where no family has three sizes."""
    if not rows:
        return ""
    told = [f"{row['family']} {row['slope']:.2f}" for row in rows if row["excludes_zero"]]
    return (
        f"Density against size: {len(told)} of {len(rows)} families with {FEWEST_SIZES} or more sizes have a slope of "
        "ln rho in ln N whose 95 % interval excludes 0" + (f" ({listed(told)})" if told else "")
    )


def _line(family: str, members: Sequence[Density], sizes: tuple[float, float]) -> FamilyLine:
    ln_size = np.log([density.size for density in members])
    ln_rho = np.log([rho for density in members if (rho := density.rho)])
    # A draw that leaves the ruler's reach is as far out as the ruler can tell.
    reach = np.log(sizes[0] / EXTRAPOLATION_LIMIT), np.log(sizes[1] * EXTRAPOLATION_LIMIT)
    draws = np.stack([np.clip(density.inversion.ln_size_ruler_draws, *reach) for density in members])
    return FamilyLine(family, ln_size, ln_rho, _slopes(ln_size, draws.T - ln_size))


def _slopes(ln_size: Array, ln_rho: Array) -> Array:
    """Least-squares slopes over the last axis, shape (..., n) to (...,)."""
    centred = ln_size - ln_size.mean()
    return np.asarray((ln_rho * centred).sum(-1) / (centred**2).sum())


def _row(line: FamilyLine, interval: tuple[float, float]) -> dict[str, object]:
    low, high = interval
    billions = np.exp(line.ln_size) / 1e9
    return {
        "family": line.family,
        "models": len(billions),
        "smallest_b": float(billions.min()),
        "largest_b": float(billions.max()),
        "slope": line.slope,
        "slope_low": low,
        "slope_high": high,
        "excludes_zero": not low <= 0 <= high,
        "middle_b": float(np.exp(line.ln_size.mean()) / 1e9),
        "rho_at_middle": float(np.exp(line.ln_rho.mean())),
        "scatter": float(np.sqrt(line.sse / line.freedom)),
    }
