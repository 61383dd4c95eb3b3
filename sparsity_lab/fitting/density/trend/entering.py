"""Which models may enter the trend, and as what: a number, a lower bound, or not at all.

By default the models whose N^ lies between the ruler's smallest and largest reference model, which have all tasks, are
dense and are none of the ruler's own models. A model beyond the largest reference model is a lower bound: where rho has
no number, the bound that rho has; where it has, the largest reference size over N, since beyond it the ruler's form
decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from sparsity_lab.fitting.density.densities import MIXTURE, PARTIAL, REFERENCE, Density
from sparsity_lab.fitting.density.inversion import BEYOND, EXTRAPOLATED, EXTRAPOLATION_LIMIT
from sparsity_lab.laws._law import Array

FLAGS = {
    PARTIAL: "--partial",
    MIXTURE: "--mixtures",
    EXTRAPOLATED: "--extrapolated",
    REFERENCE: "--references",
}


@dataclass(frozen=True)
class Entering:
    """Which models join the trend besides those that do by default."""

    partial: bool = False
    mixtures: bool = False
    extrapolated: bool = False
    references: bool = False


@dataclass(frozen=True)
class TrendPoint:
    """One dated density: ln rho, and its draws under the ruler's uncertainty alone, shape (B,).

    `lineage` names the family that models are resampled by. Where `bounded`, ln rho is a lower bound, and no draw
    moves it.
    """

    model: str
    released: date
    ln_rho: float
    ruler_draws: Array
    lineage: str
    bounded: bool = False


def kept_out(density: Density, entering: Entering) -> str:
    """Why a model does not enter, as its flag says; empty where it does."""
    return "no date" if density.released is None else barred(density, entering)


def barred(density: Density, entering: Entering) -> str:
    """Why a model would not enter if it had a date, as its flag says; empty where it would."""
    flags = density.flags
    for flag, may in (
        (REFERENCE, entering.references),
        (PARTIAL, entering.partial),
        (MIXTURE, entering.mixtures),
    ):
        if flag in flags and not may:
            return flag
    if density.rho is None:
        return "" if lower_bound(density, entering) else density.inversion.flag
    below = EXTRAPOLATED in flags and not _above(density)
    return EXTRAPOLATED if below and not entering.extrapolated else ""


def trend_points(measured: Sequence[Density], entering: Entering | None = None) -> list[TrendPoint]:
    """Those that may enter the trend, numbers and lower bounds."""
    entering = entering or Entering()
    return [_point(density, entering) for density in measured if not kept_out(density, entering)]


def left_out(measured: Sequence[Density], entering: Entering) -> str:
    """How many dated models do not enter and why, with the flag that lets them in; empty where all do."""
    counted = Counter(kept_out(d, entering) for d in measured if d.released is not None)
    del counted[""]
    return ", ".join(
        f"{count} {why}" + (f" ({FLAGS[why]})" if why in FLAGS else "")
        for why, count in sorted(counted.items())
    )


def _point(density: Density, entering: Entering) -> TrendPoint:
    assert density.released is not None
    bound, target = lower_bound(density, entering), density.target
    if bound is not None:
        ln_rho, draws = float(np.log(bound)), np.full(len(density.draws), np.log(bound))
    else:
        assert density.rho is not None
        ln_rho = float(np.log(density.rho))
        # A draw that leaves the ruler upwards is as dense as the ruler can tell, not less.
        most = np.log(density.rho / _ratio(density) * EXTRAPOLATION_LIMIT)
        draws = np.minimum(density.inversion.ln_size_ruler_draws - np.log(density.size), most)
    return TrendPoint(target.model, density.released, ln_rho, draws, target.lineage, bound is not None)


def lower_bound(density: Density, entering: Entering) -> float | None:
    """The lower bound of rho that a model enters with; None where it has a number that counts, or no such bound."""
    if density.rho is None:
        return density.low if density.inversion.flag == BEYOND else None
    return density.rho / _ratio(density) if _above(density) and not entering.extrapolated else None


def _above(density: Density) -> bool:
    return _ratio(density) > 1


def _ratio(density: Density) -> float:
    """N^ over the largest reference size; a model with a number has one."""
    assert density.inversion.extrapolation_ratio is not None
    return density.inversion.extrapolation_ratio
