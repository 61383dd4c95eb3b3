"""The largest values of a column held out and predicted from the rest: errors and coverage, compared with baselines.

What a scaling law is for is the next larger model. `--holdout COLUMN` leaves out the rows with the largest values of a
column, whole values at a time and at most three in ten rows, fits every law compared to the others, and says how far
off each prediction is and how many of the held-out points lie in its 95 % band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.quantiles import t_quantile
from sparsity_lab.fitting.solve.variance import PowerNoise
from sparsity_lab.fitting.solved import IntervalsAsked, curve_errors, noise_of, point_errors, solve_and_judge
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.laws._law import Array

LARGEST_SHARE = 0.3
CONFIDENCE = 0.95
LAST, LINE = "the largest kept", "straight line in ln x"


@dataclass(frozen=True)
class HeldOutPrediction:
    """How well the held-out points are predicted.

    Attributes:
        by: a law, or a baseline: the mean of the largest kept values' y, or a straight line in the inputs' logarithms.
        rmse: root mean square error, unit of y. bias: mean of prediction less y.
        coverage: share of the points in the 95 % band of a new point; NaN for baselines.
    """

    by: str
    rmse: float
    bias: float
    coverage: float


@dataclass(frozen=True)
class HeldOut:
    """What was held out, and what became of it.

    Attributes:
        points: held out, all that have at least `least` in the column. kept: fitted.
        predictions: the law first, then its rivals, then baselines.
    """

    points: int
    kept: int
    least: float
    predictions: tuple[HeldOutPrediction, ...]


def held_out(series: Series, spec: FitSpec, laws: Sequence[str]) -> HeldOut:
    """Predict the points with the largest values of `series.held` from the others.

    Args:
        series: the points. spec: how to fit. laws: ids, that of the fit first.

    Raises:
        SparsityLabError: the column has one value, or what is kept is too little for a law.
    """
    assert series.held is not None
    least = _threshold(series.held, series.name)
    out = series.held >= least
    kept, away = replace(series.chosen(~out), noise=None), series.chosen(out)
    noise = noise_of(load_law(laws[0]), kept, spec)
    kept = kept if noise is None else replace(kept, noise=noise.sizes)
    found = [_by_law(law, kept, away, spec, noise) for law in laws]
    predictions = [prediction for prediction in found if prediction is not None]
    if not predictions:
        raise SparsityLabError(
            f"{len(kept.y)} points of {series.name} are too few to predict the {len(away.y)} held out",
            fix="Leave --holdout out, or name another column",
        )
    baselines = (_error(LAST, np.full(len(away.y), _at_largest(kept)), away), _straight(kept, away))
    return HeldOut(len(away.y), len(kept.y), least, (*predictions, *baselines))


def _threshold(values: Array, name: str) -> float:
    """The least value held out: whole values from the largest down, in at most `LARGEST_SHARE` of the points."""
    places = np.unique(values)[::-1]
    if len(places) < 2:
        raise SparsityLabError(
            f"Nothing can be held out of {name}", why=f"All its rows have {places[0]:g} in the column of --holdout",
            fix="Name another column, or leave --holdout out",
        )  # fmt: skip
    shares = [np.mean(values >= place) for place in places[:-1]]
    within = [place for place, share in zip(places[:-1], shares, strict=True) if share <= LARGEST_SHARE]
    return float(within[-1] if within else places[0])


def _by_law(
    name: str, kept: Series, away: Series, spec: FitSpec, noise: PowerNoise | None
) -> HeldOutPrediction | None:
    law = load_law(name)
    if len(kept.y) <= len(law.parameters) or len(np.unique(kept.x, axis=0)) < 2:
        return None
    judged = solve_and_judge(kept, law, spec, comparison=None, asked=IntervalsAsked(profiled=False))
    if not judged.values:
        return None
    problem, solution, scale = judged.problem, judged.solution, judged.scale
    curve = problem.curve(solution, away.x)
    if noise is not None:
        away = replace(away, noise=noise.at(curve))
    point = point_errors(scale, spec, kept, away, curve)
    band = np.hypot(curve_errors(problem, solution, scale, away.x), point)
    half = t_quantile(0.5 + CONFIDENCE / 2, scale.freedom) * band
    return _error(law.name, curve, away, half=half)


def _error(by: str, predicted: Array, away: Series, *, half: Array | None = None) -> HeldOutPrediction:
    gaps = predicted - away.y
    inside = math.nan if half is None else float(np.mean(np.abs(gaps) <= half))
    return HeldOutPrediction(by, float(np.sqrt(np.mean(gaps**2))), float(np.mean(gaps)), inside)


def _at_largest(kept: Series) -> float:
    """The mean y of the kept points with the largest value of the column."""
    assert kept.held is not None
    return float(np.mean(kept.y[kept.held == kept.held.max()]))


def _straight(kept: Series, away: Series) -> HeldOutPrediction:
    """Least squares on 1 and the logarithms of the inputs, or the inputs themselves where one is not above 0."""
    positive = bool(min(kept.x.min(), away.x.min()) > 0)

    def columns(x: Array) -> Array:
        table = x.reshape(len(x), -1)
        return np.column_stack([np.ones(len(x)), np.log(table) if positive else table])

    weights = np.linalg.lstsq(columns(kept.x), kept.y, rcond=None)[0]
    return _error(LINE if positive else "straight line in x", columns(away.x) @ weights, away)
