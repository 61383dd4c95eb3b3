"""What a fit leaves behind: one `FitResult` a series, and its keys in fits.json.

`FIT_KEYS` documents every key; a test asserts that each entry has these and no others. NaN and infinity are
null in JSON: the number does not exist, which is something else than zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.bands import Band, Reach
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.judge.verdict import Verdict
from sparsity_lab.fitting.judge.warmup import DropRow
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.uncertainty.bootstrap import Draws
from sparsity_lab.fitting.uncertainty.intervals import Profile
from sparsity_lab.laws._law import FALLING, Array, Law, Span

FIT_KEYS: dict[str, str] = {
    "series": "name of the run, with what sets it apart",
    "law": "id of the law",
    "verdict": "identified, weakly identified or not identified",
    "reason": "why the verdict is what it is",
    "bound": "one-sided statement where the data allow no more, or null",
    "formula": "the law in plain text",
    "x": "symbol, meaning and unit of x",
    "y": "symbol, meaning and unit of y",
    "points": "points used",
    "dropped_points": "leading points left out",
    "drop_rule": "why that many",
    "law_rule": "why this law",
    "coefficients": "name -> value, low, high (95 %), method (profile, bootstrap); a null end is open; none where the "
    "law cannot describe the points",
    "sse": "sum of squared residuals (weighted where weighted)",
    "mae": "mean absolute residual, unit of y",
    "objective": "what was minimised",
    "starts": "starts polished",
    "starts_at_best": "starts that reached the best sum of squares within 1 %",
    "at_edge": "whether a search coordinate lies at the edge of its range",
    "condition": "condition number of the Jacobian, columns scaled to unit length",
    "decades": "log10 of largest over smallest x",
    "lag1": "correlation of neighbouring residuals",
    "variance_inflation": "factor on the profile's level for that correlation, 1 where none",
    "chi2_per_freedom": "sum of squares over se^2 and degrees of freedom, about 1 where the errors are right; null "
    "where not weighted",
    "windows": "the limit by the first 70 % and 85 % of the points, and whether the limit by all lies in its interval",
    "drift": "test of a term in ln x beside the law: F and its probability",
    "spread": "test of uneven noise: its probability, along x or the curve, and last over first third",
    "aicc": "Akaike's criterion, corrected",
    "bootstrap": "draws, block length and interval of every coefficient",
    "profiles": "per profiled coefficient: interval, open sides, level and curve",
    "drop_sensitivity": "coefficients against the number of leading points left out",
    "rivals": "every law: sum of squares, AICc gap, extrapolation errors; and the conclusions",
    "limit": "y as models grow without end, by the law",
    "extrapolation_ratio": "distance from the last point to the limit over the range the data cover",
    "reach": "x at which y takes the values asked for, and goes half and 0.9 of the way to the limit",
    "band": "the curve along and beyond the points: x, value, low, high (95 %)",
    "units": "column -> the unit it was read in, and who named that",
    "left_out_rows": "rows of the series without an x, or with an x of 0, that are left out",
    "data_sha256": "hash of all points of the series",
    "seed": "of the search grid and the bootstrap",
}


@dataclass(frozen=True)
class Coefficient:
    """A coefficient with its 95 % interval and how that was found."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class FitResult:
    """One law on one series, with everything needed to judge it. Keys: `FIT_KEYS`."""

    series: Series
    law: Law
    span: Span
    verdict: Verdict
    coefficients: Mapping[str, Coefficient]
    drop_rule: str
    law_rule: str
    sse: float
    mae: float
    weighted: bool
    starts: int
    starts_at_best: int
    at_edge: bool
    condition: float
    decades: float
    lag1: float
    variance_inflation: float
    aicc: float
    bootstrap: Mapping[str, Any]
    profiles: Mapping[str, Profile]
    drop_sensitivity: tuple[DropRow, ...]
    comparison: Comparison
    seed: int
    residuals: Array = field(repr=False)
    draws: Draws | None = field(repr=False)
    band: Band | None = field(repr=False)
    reaches: tuple[Reach, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Coefficients without their intervals; none where the law cannot describe the points."""
        return {name: one.value for name, one in self.coefficients.items()}

    @property
    def describes(self) -> bool:
        """Whether the law can describe the points, so that it has coefficients, a limit and a curve."""
        return self.verdict.describes

    @property
    def drawn(self) -> tuple[Law, Mapping[str, float]]:
        """The law whose curve is drawn: this one, or the best rival where this one cannot describe the points."""
        if self.describes:
            return self.law, self.values
        for rival in self.comparison.rivals:
            if rival.describes:
                return load_law(rival.law), rival.coefficients
        return load_law("constant"), {"A0": float(np.mean(self.series.y))}

    @property
    def objective(self) -> str:
        """What was minimised, in words."""
        return "sum of squares weighted by 1/se^2" if self.weighted else "sum of squares"

    @property
    def chi2_per_freedom(self) -> float:
        """Sum of squared residuals over squared standard errors and degrees of freedom; NaN where not weighted."""
        if not self.weighted or self.series.se is None:
            return math.nan
        freedom = len(self.series.y) - len(self.law.parameters)
        return float(np.sum((self.residuals / self.series.se) ** 2)) / freedom if freedom else math.nan

    @property
    def limit(self) -> float:
        """y as models grow without end, by the law; NaN where there is none."""
        return self.law.limit(self.values) if self.describes else math.nan

    @property
    def extrapolation_ratio(self) -> float:
        """How far the limit lies beyond the last point, in units of the range the data cover."""
        ys = self.series.y
        last, spread = float(ys[0 if self.law.forward == FALLING else -1]), float(ys.max() - ys.min())
        return abs(self.limit - last) / spread if spread > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """The entry of fits.json."""
        series = self.series
        entry = {
            "series": series.name,
            "law": self.law.name,
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            "bound": self.verdict.bound,
            "formula": self.law.formula,
            "x": vars(series.x_variable),
            "y": vars(series.y_variable),
            "points": len(series.y),
            "dropped_points": series.dropped,
            "coefficients": {name: vars(one) for name, one in self.coefficients.items()},
            "profiles": {name: vars(one) for name, one in self.profiles.items()},
            "drop_sensitivity": [vars(row) for row in self.drop_sensitivity],
            "rivals": {**vars(self.comparison), "rivals": [vars(r) for r in self.comparison.rivals]},
            "windows": [vars(window) for window in self.verdict.checks.windows],
            "drift": self.verdict.checks.drift and vars(self.verdict.checks.drift),
            "spread": self.verdict.checks.spread and vars(self.verdict.checks.spread),
            "limit": self.limit,
            "extrapolation_ratio": self.extrapolation_ratio,
            "reach": [vars(one) for one in self.reaches],
            "band": None
            if self.band is None
            else {name: ends.tolist() for name, ends in vars(self.band).items()},
            "units": dict(series.units),
            "left_out_rows": series.left_out,
            "data_sha256": series.sha256,
        }
        own = {key: getattr(self, key) for key in FIT_KEYS if key not in entry}
        return {key: plain({**entry, **own}[key]) for key in FIT_KEYS}


def plain(value: Any) -> Any:
    """JSON's own types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
