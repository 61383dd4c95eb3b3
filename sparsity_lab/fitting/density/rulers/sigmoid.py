"""Fits S = d + c / (1 + exp(-gamma (x - l))) to a few points, many data sets at once.

With x = ln N this is the one-step ruler, with x = -loss the second step of the two-step one (Densing Law of
LLMs, arXiv 2412.04315, equation 3). The floor d is held or kept near chance; c, gamma and l move, c between
a little and 1 - d. All bootstrap data sets are solved together by Levenberg-Marquardt on (ln gamma, l,
logit of c in its interval): 1,000 draws of an eight-point ruler take 0.2 s. `fitting.solve` fits one data set at a
time; with its `engine` the same draws take 12 s from the best fit alone and 160 s from its grid of starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.laws._law import Array

SMALLEST_SPAN = 0.02
ITERATIONS = 80
FIRST_DAMPING, LAST_DAMPING = 1e-2, 1e6
# Per point, of the diagonal: a few times the rounding of a sum of squares. With less, two coordinates that
# the data cannot tell apart would make the normal equations singular.
LEAST_DAMPING = 1e-15
CONVERGED = 1e-10
FREE_PARAMETERS = 3
# Of (ln gamma, middle, logit of c in its interval, floor); the floor's are set at each fit.
_LOW, _HIGH = np.array([-7.0, -np.inf, -14.0, 0.0]), np.array([5.0, np.inf, 14.0, 1.0])


@dataclass
class ScoreSigmoid:
    """Curves of score against x, one for each entry of the coefficients, which broadcast to one shape; gamma > 0."""

    floor: Array
    span: Array
    gamma: Array
    middle: Array

    @property
    def ceiling(self) -> Array:
        """The score at infinite x."""
        return self.floor + self.span

    def score(self, x: Array | float) -> Array:
        """The score at x."""
        return self.floor + self.span * expit(self.gamma * (x - self.middle))

    def inverse(self, score: Array | float) -> Array:
        """The x of a score: +inf at or above the ceiling, -inf at or below the floor."""
        share = (np.asarray(score) - self.floor) / self.span
        inside = np.clip(share, 1e-300, 1 - 1e-16)
        x = self.middle + np.log(inside / (1 - inside)) / self.gamma
        return np.where(share >= 1, np.inf, np.where(share <= 0, -np.inf, x))


def expit(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def fit(
    x: Array, ys: Array, *, floor: float, ceiling: float | None = None, floor_room: float = 0.0
) -> tuple[ScoreSigmoid, Array]:
    """Least squares for each row of `ys`, shape (B, n), against `x`, shape (n,).

    Returns the curves, coefficients of shape (B,), and their sums of squared residuals.

    Args:
        x: abscissae, increasing scores expected.
        ys: one data set a row, 0-to-1 units.
        floor: d, held within `floor_room` of this.
        ceiling: d + c, held too; None lets it move.
        floor_room: how far the floor may move either way.
    """
    span = None if ceiling is None else (ceiling - floor - SMALLEST_SPAN) / (1 - floor - SMALLEST_SPAN)
    shares = (0.999, 0.8, 0.6, 0.35, 0.15) if span is None else (min(span, 1 - 1e-6),)
    limits = np.stack([_LOW, _HIGH])
    limits[:, 3] = max(0.0, floor - floor_room), floor + floor_room
    free = np.array([True, True, ceiling is None, floor_room > 0])
    # All starts of all data sets descend together: rows do not feel one another, and a step costs by the call.
    starts = np.concatenate([_start(x, ys, floor, share) for share in shares])
    repeated = np.tile(ys, (len(shares), 1))
    data = _Data(x, repeated, np.ones(repeated.shape))
    theta, sse = _levenberg_marquardt(starts, data, free=free, limits=limits)
    by_start = sse.reshape(len(shares), len(ys))
    best = np.argmin(by_start, axis=0) * len(ys) + np.arange(len(ys))
    return _natural(theta[best]), sse[best]


def fit_without(curve: ScoreSigmoid, x: Array, scores: Array, left_out: NDArray[np.bool_]) -> ScoreSigmoid:
    """Least squares without some points, begun at the fit to all: coefficients of shape (B,).

    Args:
        curve: the fit to all points, coefficients of shape (1,); its floor is held.
        x, scores: the points, shape (n,).
        left_out: which of them each fit goes without, shape (B, n).
    """
    share = (curve.span - SMALLEST_SPAN) / (1 - curve.floor - SMALLEST_SPAN)
    logit = np.log(np.clip(share, 1e-9, 1) / np.clip(1 - share, 1e-9, 1))
    begin = np.stack([np.log(curve.gamma), curve.middle, logit, curve.floor], axis=-1)
    limits = np.stack([_LOW, _HIGH])
    limits[:, 3] = curve.floor[0]
    rows = len(left_out)
    data = _Data(x, np.broadcast_to(scores, left_out.shape), (~left_out).astype(float))
    free = np.array([True, True, True, False])
    return _natural(_levenberg_marquardt(np.repeat(begin, rows, axis=0), data, free=free, limits=limits)[0])


def _start(x: Array, ys: Array, floor: float, share: float) -> Array:
    """A straight line through logit((y - d) / c) for one guess of c."""
    span = SMALLEST_SPAN + share * (1 - floor - SMALLEST_SPAN)
    z = np.clip((ys - floor) / span, 0.01, 0.99)
    logit = np.log(z / (1 - z))
    centred = x - x.mean()
    slope = np.maximum((logit @ centred) / (centred @ centred), 1e-2)
    middle = x.mean() - logit.mean(axis=1) / slope
    rest = np.full(len(ys), np.log(share / (1 - share))), np.full(len(ys), floor)
    return np.stack([np.log(slope), middle, *rest], axis=1)


def _natural(theta: Array) -> ScoreSigmoid:
    """The curves of coordinates, whose last axis has length 4."""
    span = SMALLEST_SPAN + (1 - theta[..., 3] - SMALLEST_SPAN) * expit(theta[..., 2])
    return ScoreSigmoid(theta[..., 3], span, np.exp(theta[..., 0]), theta[..., 1])


@dataclass(frozen=True)
class _Data:
    """Data sets over the same x: x has shape (n,), ys and the weights of their residuals (B, n)."""

    x: Array
    ys: Array
    weights: Array

    def rows(self, which: NDArray[np.intp]) -> _Data:
        """Some of the data sets."""
        return _Data(self.x, self.ys[which], self.weights[which])

    def residuals(self, theta: Array) -> Array:
        """Weighted residuals, shape (B, n)."""
        return np.asarray(self.weights * (_natural(theta[:, None]).score(self.x[None]) - self.ys))

    def jacobian(self, theta: Array) -> Array:
        """Weighted derivatives of the score by (ln gamma, middle, logit, floor), shape (B, n, 4)."""
        curve = _natural(theta[:, None])
        distance = self.x[None] - curve.middle
        s = expit(curve.gamma * distance)
        slope = curve.span * s * (1 - s) * curve.gamma
        q = expit(theta[:, 2:3])
        by_logit = s * (1 - curve.floor - SMALLEST_SPAN) * q * (1 - q)
        each = np.stack([slope * distance, -slope, by_logit, 1 - q * s], axis=2)
        return np.asarray(self.weights[:, :, None] * each)


def _levenberg_marquardt(
    theta: Array, data: _Data, *, free: NDArray[np.bool_], limits: Array
) -> tuple[Array, Array]:
    """Descend from `theta`, shape (B, 4); coordinates that are not free stay. Returns theta and SSE."""
    theta = np.clip(theta, *limits)
    sse = np.sum(data.residuals(theta) ** 2, axis=1)
    rows, points = data.ys.shape
    damping, least = np.full(rows, FIRST_DAMPING), LEAST_DAMPING * points
    going = np.arange(rows)
    for _ in range(ITERATIONS):
        left = data.rows(going)
        tried = _step(theta[going], left, damping[going], free=free, limits=limits)
        tried_sse = np.sum(left.residuals(tried) ** 2, axis=1)
        gain = sse[going] - tried_sse
        better = gain > 0
        settled = (better & (gain < CONVERGED * sse[going])) | (damping[going] >= LAST_DAMPING)
        moved = going[better]
        theta[moved], sse[moved] = tried[better], tried_sse[better]
        damping[going] = np.maximum(np.where(better, damping[going] * 0.3, damping[going] * 8), least)
        going = going[~settled]
        if not len(going):
            break
    return theta, sse


def _step(theta: Array, data: _Data, damping: Array, *, free: NDArray[np.bool_], limits: Array) -> Array:
    """One damped Gauss-Newton step of each row in its free coordinates, kept within the limits."""
    residuals = data.residuals(theta)
    jacobian = data.jacobian(theta) * free
    transposed = jacobian.transpose(0, 2, 1)
    normal = transposed @ jacobian
    # A coordinate that is not free has a row of zeros; with 1 on its diagonal its step is exactly 0.
    ridge = np.where(free, damping[:, None] * (np.einsum("bii->bi", normal) + 1e-9), 1.0)
    gradient = transposed @ residuals[:, :, None]
    step = np.linalg.solve(normal + ridge[:, :, None] * np.eye(len(free)), gradient)[:, :, 0]
    return np.asarray(np.clip(theta - np.clip(step, -2, 2), *limits))
