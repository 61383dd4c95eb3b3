"""CETT against threshold, layer by layer, and its inverse: eps_l(c), the largest eps whose mean CETT is <= c.

CETT of one token (ReLU^2 Wins, arXiv 2402.03804, eq. 3; Sparsing Law, arXiv 2411.02335, eq. 2):
||sum over dropped i of a_i W_d[:, i]|| / ||y||, the norm of the sum, bias excluded. Its mean over valid tokens is
nearly monotone in eps, and c / (top - c) nearly a power of it, top the CETT of dropping everything: a few exact
edges a layer around the answer give the level of ln eps against the log odds of c, and a rougher curve with many
edges how it bends between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from sparsity_lab.measure.search.counts import Floats

LARGEST = float(np.finfo(np.float32).max)
NARROWEST = 1.0 - 1e-6  # a bracket's lower end over its upper one, at most
ALMOST = 1.0 - 1e-6  # of the CETT of dropping everything: nearer to it a curve is flat
ROUNDING = 1.005  # sums differ in their last bits from pass to pass, and thresholds must not hang on such


@dataclass(frozen=True)
class CettCurves:
    """Mean CETT against threshold, layer by layer.

    Attributes:
        edges: float64 [layers, edges], thresholds on the score, increasing.
        cett: float64 [layers, edges], mean CETT at each.
        reached: bool [layers], False for experts to which no token was routed: their threshold is 0.
        top: float64 [layers], share of tokens whose output is not zero: CETT once everything is dropped.
        resolved: whether every step of the curves is an edge, so that nothing is left to interpolate.
        shape: rougher curves with more edges, which say how the curves bend between theirs.
        events: int64 [layers], activations between the first and the last edge, where they were counted.
    """

    edges: Floats
    cett: Floats
    reached: NDArray[np.bool_]
    top: Floats
    resolved: bool = False
    shape: CettCurves | None = None
    events: NDArray[np.int64] | None = None

    def thresholds(self, c: float) -> list[float]:
        """eps_l(c) of each layer, float32 values; 0 at c = 0, everything is dropped at c = 1."""
        if c <= 0 or c >= 1:
            return [0.0 if c <= 0 else LARGEST] * len(self.edges)
        return [self._threshold(layer, c) for layer in range(len(self.edges))]

    def _threshold(self, layer: int, c: float) -> float:
        edges, cett = self.edges[layer], self.cett[layer]
        if not self.reached[layer]:
            return 0.0
        if self.top[layer] <= c:  # a layer that hardly ever fires: all it does may go
            return LARGEST
        if self.resolved and cett[0] <= c:
            return _float32_at_most(edges[np.flatnonzero(cett <= c)[-1]])
        eps = math.exp(self._invert(layer, c))
        if cett[0] <= c < cett[-1]:  # then it certainly lies between two edges
            last = int(np.flatnonzero(cett <= c)[-1])
            eps = min(max(eps, edges[last]), edges[last + 1])
        return float(np.float32(eps))

    def _invert(self, layer: int, c: float) -> float:
        """ln eps where a curve comes to c: what the shape says, mended by what it misses at the curve's own edges."""
        if layer not in self._inverses:
            self._inverses[layer] = self._inverse(layer)
        lines = self._inverses[layer]
        if not lines:
            return math.log(self.edges[layer, 0])
        place = _odds(c, self.top[layer])
        return sum(line.at(place) for line in lines)

    @cached_property
    def _inverses(self) -> dict[int, tuple[_Line, ...]]:
        """By layer, lines whose sum is ln eps against log odds of c; of those layers that were asked about."""
        return {}

    def _inverse(self, layer: int) -> tuple[_Line, ...]:
        own = self._rising(layer)
        bent = None if self.shape is None else self.shape._rising(layer)
        if bent is None or len(bent.x) < 2:
            return (own,) if len(own.x) else ()
        missed = np.array([value - bent.at(at) for at, value in zip(own.x, own.y, strict=True)])
        return (bent, _Line(own.x, missed)) if len(own.x) else (bent,)

    def doubt(self, c: float) -> float:
        """How far interpolated thresholds move where every other edge is left out: the largest share over layers."""
        if self.resolved or not 0 < c < 1:
            return 0.0
        halves = [self.without(slice(1, -1, 2)), self.without(slice(2, -1, 2))]
        own, *others = (np.array(curves.thresholds(c)) for curves in (self, *halves))
        seen = (own > 0) & (own < LARGEST)
        return max(float(np.abs(np.log(other[seen] / own[seen])).max(initial=0.0)) for other in others)

    def without(self, dropped: slice) -> CettCurves:
        """The same curves with fewer edges."""
        kept = np.delete(np.arange(self.edges.shape[1]), dropped)
        return replace(self, edges=self.edges[:, kept], cett=self.cett[:, kept])

    def between_edges(self, thresholds: Sequence[float]) -> Floats:
        """Where thresholds lie among the edges, as weights of these in a mean over ln eps, float64 [layers, edges].

        All are zero for a layer that keeps everything, or nothing.
        """
        shares = np.zeros_like(self.edges)
        for layer, eps in enumerate(thresholds):
            if self.reached[layer] and 0.0 < eps < LARGEST:
                units = np.eye(self.edges.shape[1])
                shares[layer] = [np.interp(np.log(eps), np.log(self.edges[layer]), unit) for unit in units]
        return shares

    def per_log_cett(self, events: NDArray[np.int64]) -> Floats:
        """So many activations of each layer between its first and last edge, over d ln c, float64 [layers]; or 0."""
        low, high = self.cett[:, 0], self.cett[:, -1]
        known = self.reached & (low > 0) & (high > low)
        width = np.log(np.where(known, high, np.e) / np.where(known, low, 1.0))
        return np.where(known, events / width, 0.0)

    def _rising(self, layer: int) -> _Line:
        """ln eps over log odds of c where c rises; the largest eps with mean <= c inverts the lowest value to come."""
        edges, top = self.edges[layer], self.top[layer]
        lowest = np.minimum.accumulate(self.cett[layer][::-1])[::-1]
        rising = (lowest > 0) & (lowest < top * ALMOST) & np.append(np.diff(lowest) > 0, True)
        return _Line(_odds(lowest[rising], top), np.log(edges[rising]))

    def within(self, low: float, high: float) -> Floats:
        """Thresholds that bracket those of the values of c from `low` to `high`, finite ones, float64 [layers, 2].

        A layer that gives nothing on a share of the tokens has no threshold at values of c that its curve never
        comes to; its bracket ends at the curve's last edge, above all scores that were seen.
        """
        ends = np.array([self.thresholds(low), self.thresholds(high)], dtype=np.float64).T
        last = self.edges[:, -1:]
        ends = np.where(ends < LARGEST, ends, last)
        return np.stack([np.minimum(ends[:, 0], ends[:, 1] * NARROWEST), ends[:, 1]], axis=1)

    def bracket(self, c: float) -> Floats:
        """The edges on either side of eps(c) where a curve holds c, else what `within` gives, float64 [layers, 2]."""
        ends = self.within(c, c)
        for layer in np.flatnonzero((self.cett[:, 0] <= c) & (self.cett[:, -1] > c)):
            last = int(np.flatnonzero(self.cett[layer] <= c)[-1])
            ends[layer] = self.edges[layer, last] / ROUNDING, self.edges[layer, last + 1] * ROUNDING
        return ends

    def cover(self, c: float) -> bool:
        """Whether c lies inside the measured part of the curve of every layer that was reached."""
        return c <= 0 or c >= 1 or bool(np.all(self.holds(c)))

    def holds(self, c: float) -> NDArray[np.bool_]:
        """Which layers' curves have c inside their measured part, or no tokens at all, bool [layers]."""
        return ((self.cett[:, 0] <= c) & (self.cett[:, -1] > c)) | (self.top <= c) | ~self.reached


def _float32_at_most(value: float) -> float:
    """The largest float32 that is not above a value: rounded up it could drop the score that lies next above."""
    nearest = np.float32(value)
    return float(nearest if nearest <= value else np.nextafter(nearest, np.float32(0)))


def _odds(c: Any, top: float) -> Any:
    """ln(c / (top - c)), in which ln eps is nearly straight from small c up to where everything is dropped."""
    return np.log(c) - np.log(np.maximum(top - c, (1 - ALMOST) * top))


@dataclass(frozen=True)
class _Line:
    """A monotone curve through points, straight on beyond them.

    Attributes:
        x: increasing. y: at each.
    """

    x: Floats
    y: Floats

    def at(self, place: float) -> float:
        x, y = self.x, self.y
        if len(x) < 2:
            return float(y[0])
        if x[0] <= place <= x[-1]:
            return float(self._between(place))
        (x0, x1), (y0, y1) = (x[:2], y[:2]) if place < x[0] else (x[-2:], y[-2:])
        return float(y0 + (y1 - y0) * np.clip((place - x0) / (x1 - x0), -20, 3))

    @cached_property
    def _between(self) -> PchipInterpolator:
        return PchipInterpolator(self.x, self.y)
