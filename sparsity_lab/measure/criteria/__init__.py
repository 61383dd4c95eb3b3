"""One file per rule that says which neurons contribute weakly: a score, a scope and one number, the knob.

A criterion file holds `KNOB`, the knob's range and the coordinate the search runs on, and `bind(subject, seed=...)`,
which returns the rule for one model and text, a `Bound`. A measurement calls it in this order: `pilot` (rough, on part
of the text), `calibrate` (the whole text, a range of knobs), `refine` (one knob) where needed, then `visitor(knob)`
for each sparse pass. A criterion whose thresholds can be applied to another text also has `threshold_score()`, the
score they are on. One that calibrates nothing on the text at a fixed knob says so in its `KNOB`; a text may then be
measured in parts.

The files build on four others:

    _by_threshold.py   one threshold for all layers, or one a layer at a quantile of the dense scores; and thresholds
                       given by a record
    _per_token.py      rules that decide from each token's own scores; nothing is calibrated
    _scores.py         the score: |a_i| or |s_i|, times one, the column norm, or the mean of |u_i| over a text
    _tally.py          the dense run of rules that do not need CETT
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search.counts import Counts, DenseSums, Floats, Ints
from sparsity_lab.measure.search.noise import Replicates
from sparsity_lab.measure.thresholds.masks import CountingVisitor

SLIVER_LOW, SLIVER_HIGH = 1e-6, 1e-4  # of the range from 0 to 1, left out by a search at its ends


@dataclass(frozen=True)
class Knob:
    """The one number of a criterion.

    Attributes:
        symbol: how the field writes it.
        low: smallest value allowed.
        high: largest value allowed.
        start: a value typical of PPL-1 %, where a search begins.
        scale: the coordinate of the search: ln(knob), or ln(knob / (1 - knob)); `none` has nothing to search.
        rising: True where a larger knob drops more neurons.
        slope: first guess of d ln(loss rise) / d(coordinate).
        calibrates: what a fixed knob needs of the whole text: quantiles of the scores, the curve of CETT against the
            threshold, or nothing. It says whether a text may be measured in parts, and how much memory a layer takes.
    """

    symbol: str
    low: float
    high: float
    start: float
    scale: Literal["log", "logit", "none"]
    rising: bool
    slope: float
    calibrates: Literal["nothing", "quantile", "cett"] = "quantile"

    def to_x(self, value: float) -> float:
        """Coordinate of a knob value; it grows with the number of neurons dropped."""
        x = math.log(value) if self.scale == "log" else math.log(value / (1.0 - value))
        return x if self.rising else -x

    def from_x(self, x: float) -> float:
        """Knob value of a coordinate; one beyond the ends of a search gives the value at that end."""
        low, high = self.ends()
        held = min(max(x, low), high)
        signed = held if self.rising else -held
        return math.exp(signed) if self.scale == "log" else 1.0 / (1.0 + math.exp(-signed))

    def ends(self) -> tuple[float, float]:
        """Smallest and largest coordinate of a search: the open interval, less a sliver at each end.

        At the ends themselves all or nothing is dropped, whatever the model: no value there says how far a target is.
        """
        inner_low = max(self.low, SLIVER_LOW)
        inner_high = min(self.high, 1.0 - SLIVER_HIGH) if self.high <= 1.0 else self.high
        a, b = self.to_x(inner_low), self.to_x(inner_high)
        return min(a, b), max(a, b)

    def around(self, value: float, *, span: float) -> tuple[float, float]:
        """Knob values a factor `span` below and above one, in the coordinate's terms; an end of the range alone.

        Where such a step would reach an end of the range it goes a part of the way there: thresholds at an end are
        no ordinary numbers, and a curve drawn up to them would say nothing of those in between.
        """
        if value <= self.low or value >= self.high:
            return value, value
        wide = math.log(span)
        return self._stepped(value, -wide), self._stepped(value, wide)

    def _stepped(self, value: float, step: float) -> float:
        """The value a step of its logarithm, or of its logit, away, inside the open range."""
        if self.scale != "log":
            return 1.0 / (1.0 + (1.0 - value) / value * math.exp(-step))
        end, stepped = self.high if step > 0 else self.low, value * math.exp(step)
        if abs(stepped - value) < abs(end - value):
            return stepped
        return end + (value - end) * min(0.5, math.exp(-abs(step)))

    def check(self, value: float, *, criterion: str) -> float:
        """The value where it is allowed.

        Raises:
            SparsityLabError: outside the knob's range, or not a number.
        """
        if not self.low <= value <= self.high:
            raise SparsityLabError(
                f"The knob {self.symbol} = {value:g} of {criterion} is outside its range "
                f"{self.low:g} to {self.high:g}",
                fix="Give --knob a number in that range",
            )
        return value


@dataclass(frozen=True)
class ThresholdDrift:
    """What another sample of the text would have made of the knob at which a layer's threshold is held.

    Attributes:
        layers: float64 [replicates, layers], deviations of the knob's coordinate x, as in whole resamples.
        ratio_slopes: float64 [layers], d (activation ratio of the model) / dx of each layer's threshold; None where
            the calibration did not count the activations between two thresholds.
    """

    layers: Floats
    ratio_slopes: Floats | None


class Bound(Protocol):
    """A criterion tied to one model and text."""

    def pilot(self, rows: Ints) -> Counts:
        """Calibrate roughly on the windows `rows`; returns their dense losses."""
        ...

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """Calibrate exactly on the whole text for knobs in this range; returns the dense losses."""
        ...

    def refine(self, knob: float) -> None:
        """Make the calibration at one knob as exact as the text allows; may pass over the text again."""
        ...

    def sums(self) -> DenseSums:
        """What the calibrating dense pass over the whole text summed."""
        ...

    def covers(self, knob: float) -> bool:
        """Whether the exact calibration holds at this knob."""
        ...

    def doubtful(self, knob: float) -> bool:
        """Whether thresholds at this knob are interpolated, and may be further from the exact ones than a percent."""
        ...

    def drift(self, knob: float, draws: Replicates, dense: Counts) -> ThresholdDrift | None:
        """How far off the thresholds at a knob are as the text varies; None where that is not known, or nothing."""
        ...

    def visitor(self, knob: float) -> CountingVisitor:
        """What to run the model under at this knob; exact where calibrated, else by the pilot."""
        ...

    def thresholds(self, knob: float) -> list[float] | None:
        """Thresholds on the score, layer by layer; None where the rule has none."""
        ...

    def score_weights(self) -> list[Tensor] | None:
        """Weights of the score that were measured on the text, [F] of each layer; None where it has none."""
        ...
