"""CETT against threshold, layer by layer, and its inverse: eps_l(c), the largest eps whose mean CETT is <= c.

CETT of one token (ReLU^2 Wins, arXiv 2402.03804, eq. 3; Sparsing Law, arXiv 2411.02335, eq. 2):
||sum over dropped i of a_i W_d[:, i]|| / ||y||, the norm of the sum, bias excluded. Its mean over valid tokens is
nearly monotone in eps and nearly a power of it: a few exact edges a layer around the answer give the level of
ln eps against ln c, and a rougher curve with many edges how it bends between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from sparsity_lab.measure.counts import Floats

LARGEST = float(np.finfo(np.float32).max)


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
    """

    edges: Floats
    cett: Floats
    reached: NDArray[np.bool_]
    top: Floats
    resolved: bool = False
    shape: CettCurves | None = None

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
            return float(np.float32(edges[np.flatnonzero(cett <= c)[-1]]))
        shape = None if self.shape is None else (self.shape.edges[layer], self.shape.cett[layer])
        return float(np.float32(math.exp(_invert(edges, cett, math.log(c), shape=shape))))

    def cover(self, c: float) -> bool:
        """Whether c lies inside the measured part of the curve of every layer that was reached."""
        return c <= 0 or c >= 1 or bool(np.all(self.holds(c)))

    def holds(self, c: float) -> NDArray[np.bool_]:
        """Which layers' curves have c inside their measured part, or no tokens at all, bool [layers]."""
        return ((self.cett[:, 0] <= c) & (self.cett[:, -1] > c)) | (self.top <= c) | ~self.reached


def _invert(edges: Floats, cett: Floats, log_c: float, *, shape: tuple[Floats, Floats] | None) -> float:
    """ln eps where the curve comes to c: what the shape says, mended by what it misses at the curve's own edges."""
    x, y = _inverse(edges, cett)
    bent = None if shape is None else _inverse(*shape)
    if bent is None or len(bent[0]) < 2 or len(x) < 2:
        return _along(x, y, log_c)
    missed = np.array([value - _along(*bent, place) for place, value in zip(x, y, strict=True)])
    return _along(*bent, log_c) + _along(x, missed, log_c)


def _inverse(edges: Floats, cett: Floats) -> tuple[Floats, Floats]:
    """ln c and ln eps where c rises; the largest eps with mean <= c inverts the lowest value still to come."""
    lowest = np.minimum.accumulate(cett[::-1])[::-1]
    rising = (lowest > 0) & np.append(np.diff(lowest) > 0, True)
    if rising.sum() < 2:
        return np.zeros(1), np.log(edges[:1])
    return np.log(lowest[rising]), np.log(edges[rising])


def _along(x: Floats, y: Floats, at: float) -> float:
    """A monotone curve through the points, straight on beyond them."""
    if len(x) < 2:
        return float(y[0])
    if x[0] <= at <= x[-1]:
        return float(PchipInterpolator(x, y)(at))
    (x0, x1), (y0, y1) = (x[:2], y[:2]) if at < x[0] else (x[-2:], y[-2:])
    return float(y0 + (y1 - y0) * np.clip((at - x0) / (x1 - x0), -20, 3))
