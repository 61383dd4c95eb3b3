"""What a fit leaves behind: one `FitResult` a series, and its keys in fits.json.

`FIT_KEYS` documents every key; a test asserts that each entry has these and no others. NaN and infinity are
null in JSON: the number does not exist, which is something else than zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.holdout import HeldOut
from sparsity_lab.fitting.judge.bands import Band, Reach
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.judge.verdict import Verdict
from sparsity_lab.fitting.judge.warmup import DropRow
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve.problem import Solution
from sparsity_lab.fitting.solve.variance import PowerNoise
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.fitting.uncertainty.bootstrap import Draws
from sparsity_lab.fitting.uncertainty.intervals import Profile
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.fitting.uncertainty.other_text import OtherText
from sparsity_lab.laws._law import FALLING, Array, Law
from sparsity_lab.store.results import Shown, Table, plain
from sparsity_lab.store.tables import Row, interval

FIT_KEYS: dict[str, str] = {
    "series": "name of the run, with what sets it apart; of several inputs, table and law, or the value of --by",
    "law": "id of the law",
    "verdict": "identified, weakly identified or not identified",
    "reason": "why the verdict is what it is",
    "bound": "one-sided statement where the data allow no more, or null",
    "formula": "the law in plain text",
    "x": "symbol, meaning and unit of the first input",
    "inputs": "the same of every input",
    "y": "symbol, meaning and unit of y",
    "points": "points used",
    "runs": "different runs among them; null for one input, where they are of one run",
    "dropped_points": "leading points left out",
    "drop_rule": "why that many",
    "law_rule": "why this law",
    "coefficients": "name -> value, low, high (95 %), method (profile); a null end is open; none where the law cannot "
    "describe the points",
    "other_text": "what other text of the corpus would do, since it moves all points measured on it together: "
    "last_point, the standard error it gives the last of them, and of coefficients with a closed interval se (by the "
    "text alone), low and high (95 %, with both); null where that is not known",
    "derived": "name -> the same, of numbers that follow from a coefficient, such as the doubling time of `densing`",
    "sse": "sum of squared residuals (weighted where weighted)",
    "mae": "mean absolute residual, unit of y",
    "rmse": "root mean square residual, unit of y",
    "objective": "what was minimised",
    "objective_value": "its least value",
    "chi2_per_freedom": "sum of squared residuals in units of their standard errors, per degree of freedom; or null",
    "starts": "starts polished",
    "starts_at_best": "starts that reached the best objective within 1 %",
    "at_edge": "whether a search coordinate lies at the edge of its range",
    "condition": "condition number of the Jacobian, columns scaled to unit length",
    "decades": "log10 of largest over smallest x; the least of several inputs",
    "lag1": "correlation of neighbouring residuals; null for several inputs",
    "variance_inflation": "factor on the level of intervals for correlation along a series, 1 where there is none; "
    "simulated 95 % intervals then hold in 91 % or more up to a lag-1 correlation of 0.3, in 84 to 96 % at 0.6",
    "noise": "where its variance is taken for a power |f|^(2k) of the curve: k as power, with low and high (95 %); "
    "else null",
    "windows": "the limit by the first 70 % and 85 % of the points, and whether the limit by all lies in its interval",
    "drift": "test of a term in ln x added to the law: F and its probability",
    "spread": "test of uneven noise: its probability, along x or the curve, and last over first third",
    "aicc": "Akaike's criterion, corrected",
    "bootstrap": "draws, and interval of every coefficient; block is the length of blocks of residuals, null where "
    "whole runs were drawn",
    "profiles": "per profiled coefficient: interval, open sides, level and curve",
    "drop_sensitivity": "coefficients against the number of leading points left out",
    "rivals": "every law: sum of squares, AICc gap, extrapolation errors; and the conclusions",
    "holdout": "the largest values of a column, predicted from the rest by each law and by baselines; null unless "
    "asked for",
    "limit": "y as models grow without end, by the law",
    "extrapolation_ratio": "distance from the last point to the limit over the range the data cover",
    "reach": "x at which y takes the values asked for, and goes half and 0.9 of the way to the limit; of one input",
    "band": "the curve along and beyond the points: x, value, low, high (95 %); of one input",
    "units": "column -> the unit it was read in, and who named that",
    "left_out_rows": "rows of the series that are excluded, or have no x, no y, or an x of 0 where laws begin above 0",
    "data_sha256": "hash of all points of the series",
    "seed": "of the search grid and the bootstrap",
}


@dataclass(frozen=True)
class Coefficient:
    """A coefficient with its 95 % interval and how that was found; an end is NaN where the data give none."""

    value: float
    low: float
    high: float
    method: str = "profile"


@dataclass(frozen=True, repr=False)
class FitResult(Shown):
    """One law on one series, with everything needed to judge it. Keys: `FIT_KEYS`."""

    series: Series
    law: Law
    spec: FitSpec
    solution: Solution
    scale: NoiseScale
    noise: PowerNoise | None
    verdict: Verdict
    coefficients: dict[str, Coefficient]
    other_text: OtherText | None
    derived: dict[str, Coefficient]
    drop_rule: str
    law_rule: str
    sse: float
    condition: float
    decades: float
    lag1: float
    aicc: float
    profiles: dict[str, Profile]
    drop_sensitivity: tuple[DropRow, ...]
    comparison: Comparison
    holdout: HeldOut | None
    fitted: Array = field(repr=False)
    draws: Draws | None = field(repr=False)
    band: Band | None = field(repr=False)
    reaches: tuple[Reach, ...] = ()

    @property
    def name(self) -> str:
        """Of the series, and of its figure and lock."""
        return self.series.name

    @property
    def values(self) -> dict[str, float]:
        """Coefficients without their intervals; none where the law cannot describe the points."""
        return {name: coefficient.value for name, coefficient in self.coefficients.items()}

    @property
    def numbers(self) -> dict[str, Coefficient]:
        """Coefficients, and the numbers that follow from them."""
        return {**self.coefficients, **self.derived}

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
        """What was made least, in words."""
        by = "1/se^2" if self.spec.weighted else "1/|f|^(2k)" if self.noise is not None else ""
        return self.spec.objective.words(weighted_by=by)

    @property
    def residuals(self) -> Array:
        """y less the fitted curve, shape (n,)."""
        return np.asarray(self.series.y - self.fitted)

    @property
    def mae(self) -> float:
        """Mean absolute residual."""
        return float(np.mean(np.abs(self.residuals)))

    @property
    def rmse(self) -> float:
        """Root mean square residual."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def chi2_per_freedom(self) -> float:
        """Near 1 where the standard errors of y explain the scatter; NaN where there are none."""
        se = self.series.se
        if se is None or not np.all(se > 0):
            return math.nan
        freedom = max(len(se) - len(self.law.parameters), 1)
        return float(np.sum((self.residuals / se) ** 2)) / freedom

    @property
    def limit(self) -> float:
        """y as models grow without end, by the law; NaN where there is none."""
        return self.law.limit(self.values) if self.describes else math.nan

    @property
    def extrapolation_ratio(self) -> float:
        """How far the limit lies beyond the last point, in units of the range the data cover."""
        ys = self.series.y
        spread = float(ys.max() - ys.min())
        last = float(ys[0 if self.law.forward == FALLING else -1])
        return abs(self.limit - last) / spread if spread > 0 else math.nan

    @property
    def bootstrap(self) -> dict[str, Any]:
        """Draws, block and intervals, as fits.json has them."""
        draws, alone = self.draws, self.series.runs is None
        if draws is None:
            return {"draws": 0, "block": None, "intervals": {}}
        intervals = {name: draws.interval(name) for name in draws.values}
        return {"draws": len(draws), "block": draws.block if alone else None, "intervals": intervals}

    def to_dict(self) -> dict[str, Any]:
        """The entry of fits.json, with the keys `FIT_KEYS`."""
        series, spec = self.series, self.spec
        entry = {
            "series": series.name,
            "law": self.law.name,
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            "bound": self.verdict.bound,
            "formula": self.law.formula,
            "x": vars(series.x_variable),
            "inputs": [vars(variable) for variable in series.x_variables],
            "y": vars(series.y_variable),
            "points": len(series.y),
            "runs": None if series.runs is None else len(set(series.runs)),
            "dropped_points": series.dropped,
            "objective": self.objective,
            "objective_value": self.solution.objective,
            "starts": self.solution.starts,
            "starts_at_best": self.solution.starts_at_best,
            "at_edge": bool(self.solution.at_edge),
            "variance_inflation": self.scale.inflation,
            "noise": self.noise and {key: getattr(self.noise, key) for key in ("power", "low", "high")},
            "coefficients": {name: vars(coefficient) for name, coefficient in self.coefficients.items()},
            "other_text": None if self.other_text is None else asdict(self.other_text),
            "derived": {name: vars(number) for name, number in self.derived.items()},
            "profiles": {name: vars(profile) for name, profile in self.profiles.items()},
            "drop_sensitivity": [vars(row) for row in self.drop_sensitivity],
            "rivals": {**vars(self.comparison), "rivals": [vars(rival) for rival in self.comparison.rivals]},
            "windows": [vars(window) for window in self.verdict.checks.windows],
            "drift": self.verdict.checks.drift and vars(self.verdict.checks.drift),
            "spread": self.verdict.checks.spread and vars(self.verdict.checks.spread),
            "holdout": None if self.holdout is None else asdict(self.holdout),
            "reach": [vars(place) for place in self.reaches],
            "band": None
            if self.band is None
            else {name: ends.tolist() for name, ends in vars(self.band).items()},
            "units": dict(series.units),
            "left_out_rows": series.left_out,
            "data_sha256": series.sha256,
            "seed": spec.seed,
        }
        others = {key: getattr(self, key) for key in FIT_KEYS if key not in entry}
        return {key: plain({**entry, **others}[key]) for key in FIT_KEYS}

    @property
    def row(self) -> dict[str, object]:
        """The line of fits.csv."""
        row: dict[str, object] = {
            "series": self.name, "law": self.law.name, "verdict": self.verdict.word, "reason": self.verdict.reason,
            "bound": self.verdict.bound, "points": len(self.series.y), "dropped_points": self.series.dropped,
        }  # fmt: skip
        for name, each in self.numbers.items():
            row |= plain({name: each.value, f"{name}_low": each.low, f"{name}_high": each.high})
        if (other := self.other_text) is not None:
            row["last_point_other_text_se"] = other.last_point
            for name, part in other.coefficients.items():
                row |= {f"{name}_other_text_{key}": value for key, value in vars(part).items()}
        row |= {"objective": self.objective, "objective_value": self.solution.objective}
        keys = ("sse", "mae", "rmse", "aicc", "lag1", "condition", "decades")
        row |= {key: plain(getattr(self, key)) for key in keys}
        row |= {"starts": self.solution.starts, "starts_at_best": self.solution.starts_at_best}
        return {**row, "data_sha256": self.series.sha256}

    @property
    def summary(self) -> dict[str, object]:
        """The line of the first table of fits.md: coefficients with intervals, as readers see them."""
        row: dict[str, object] = {
            "series": self.name, "law": self.law.name, "verdict": self.verdict.word,
            "points": len(self.series.y), "dropped": self.series.dropped,
        }  # fmt: skip
        row |= {name: interval(each.value, each.low, each.high) for name, each in self.numbers.items()}
        return {**row, "bound": self.verdict.bound or ""}

    @property
    def line(self) -> str:
        """Law, coefficients with 95 % intervals, and the verdict, in a line."""
        numbers = (
            f"{name} {interval(each.value, each.low, each.high)}" for name, each in self.numbers.items()
        )
        return f"{self.name}: {', '.join([self.law.name, *numbers])}; {self.verdict.word}"

    def _title(self) -> str:
        bound = f" ({self.verdict.bound})" if self.verdict.bound else ""
        return f"{self.name}: {self.law.name}, {self.verdict.word}{bound}: {self.verdict.reason}"

    def _rows(self) -> list[Row]:
        return [self.row]

    def _table(self) -> Table:
        rows = [{"name": name, **plain(vars(each))} for name, each in self.numbers.items()]
        return rows, {"name": "coefficient", "value": "value", "low": "95 % from", "high": "to"}
