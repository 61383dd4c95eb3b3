"""Levenberg and Marquardt's method in the search coordinates of many lanes at once, within a box.

Damping is Nielsen's (IMM-REP-1999-05): it falls with the share of the predicted gain that a step brings, and grows
ever faster while steps fail. Lanes that have arrived are no longer computed. Every test is relative to the lane's own
sum of squares, so the unit of y does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve import linear
from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.laws._law import Array

MOST_STEPS = 150
TIGHT = 1e-15  # of the sum of squares: a gain below it is rounding
EXACT = 1e-29  # of the sum of y squared: what is left of points that lie on the curve
FIRST_DAMPING = 1e-3
STUCK = 1e14  # damping at which no step changes theta any more


@dataclass
class _Lanes:
    """The state of the lanes that still move."""

    rows: np.ndarray
    theta: Array
    sse: Array
    residuals: Array
    jacobian: Array
    scale: Array
    damping: Array
    growth: Array

    def keep(self, which: np.ndarray) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[which])


def descend(
    batch: Batch, theta: Array, box: Array, *, still: np.ndarray | None = None, tight: float = TIGHT
) -> tuple[Array, Array]:
    """Move every lane to a least sum of squares.

    Args:
        batch: the lanes. theta: starts, shape (B, q). box: shape (q, 2).
        still: coordinates that stay at their start, shape (B, q) or (q,).
        tight: gain, of the sum of squares, below which a lane has arrived.

    Returns:
        Coordinates (B, q) and sums of squares (B,).
    """
    theta = np.clip(np.array(theta, dtype=float), box[:, 0], box[:, 1])
    still = np.zeros(theta.shape, dtype=bool) if still is None else np.broadcast_to(still, theta.shape)
    if theta.shape[1] == 0 or still.all():
        return theta, batch.project(theta).sse
    lanes = _begin(batch, theta)
    sse = lanes.sse.copy()
    nothing = EXACT * np.maximum(np.einsum("bn,bn->b", batch.y, batch.y), np.finfo(float).tiny)
    for _ in range(MOST_STEPS):
        keep = np.isfinite(lanes.sse) & (lanes.sse > nothing[lanes.rows]) & (lanes.damping < STUCK)
        if not keep.all():
            lanes.keep(keep)
        if len(lanes.rows) == 0:
            break
        arrived = _advance(batch, lanes, box, still, tight)
        theta[lanes.rows], sse[lanes.rows] = lanes.theta, lanes.sse
        if arrived.any():
            lanes.keep(~arrived)
    return theta, sse


def _begin(batch: Batch, theta: Array) -> _Lanes:
    with np.errstate(all="ignore"):
        design = batch.design(theta)
        fit = batch.project(theta, design)
        jacobian = batch.jacobian(theta, design, fit)
    size = len(theta)
    lanes = _Lanes(
        np.arange(size), theta.copy(), fit.sse, fit.residuals, jacobian,
        np.einsum("bnq,bnq->bq", jacobian, jacobian), np.full(size, FIRST_DAMPING), np.full(size, 2.0),
    )  # fmt: skip
    lanes.sse = np.where(np.isfinite(lanes.sse) & np.isfinite(jacobian).all(axis=(1, 2)), lanes.sse, np.inf)
    return lanes


def _advance(batch: Batch, lanes: _Lanes, box: Array, still: np.ndarray, tight: float) -> np.ndarray:
    """Try one step in every lane; which of them have arrived."""
    jacobian = lanes.jacobian * _movable(lanes, box, still[lanes.rows])[:, None, :]
    step = _step(jacobian, lanes)
    trial = np.clip(lanes.theta + step, box[:, 0], box[:, 1])
    step = trial - lanes.theta
    ahead = lanes.residuals + np.einsum("bnq,bq->bn", jacobian, step)
    predicted = lanes.sse - np.einsum("bn,bn->b", ahead, ahead)
    part = batch.at(lanes.rows)
    with np.errstate(all="ignore"):
        design = part.design(trial)
        fit = part.project(trial, design)
    gain = lanes.sse - np.where(np.isfinite(fit.sse), fit.sse, np.inf)
    better = gain > 0
    small = tight * lanes.sse
    arrived = (np.abs(predicted) <= small) & (np.abs(gain) <= small)
    if arrived.any():
        arrived[arrived] = _promised(jacobian[arrived], lanes.residuals[arrived]) <= small[arrived]
    arrived |= ~np.any(step != 0, axis=1)
    if better.any():
        _accept(part, lanes, better, trial, design, fit)
    share = np.divide(gain, predicted, out=np.zeros_like(gain), where=predicted > 0)
    lanes.damping = np.where(
        better,
        lanes.damping * np.maximum(1 / 3, 1 - (2 * np.clip(share, 0, 1) - 1) ** 3),
        lanes.damping * lanes.growth,
    )
    lanes.growth = np.where(better, 2.0, 2 * lanes.growth)
    return np.asarray(arrived)


def _movable(lanes: _Lanes, box: Array, still: np.ndarray) -> np.ndarray:
    """Coordinates that are not held and that no edge of the box stops, shape (B, q)."""
    downhill = -np.einsum("bnq,bn->bq", lanes.jacobian, lanes.residuals)
    stopped = ((lanes.theta <= box[:, 0]) & (downhill < 0)) | ((lanes.theta >= box[:, 1]) & (downhill > 0))
    return np.asarray(~(still | stopped))


def _step(jacobian: Array, lanes: _Lanes) -> Array:
    """The damped step, by orthogonal columns of the Jacobian over the square roots of the damping."""
    size = jacobian.shape[2]
    moving = (jacobian != 0).any(axis=1)
    damped = (np.sqrt(lanes.damping[:, None] * lanes.scale) * moving)[:, :, None] * np.eye(size)
    basis, triangle = linear.orthogonal(np.concatenate([jacobian, damped], axis=1))
    shares = -np.einsum("bnk,bn->bk", basis[:, : jacobian.shape[1]], lanes.residuals)
    return linear.back_substituted(triangle, shares)


def _promised(jacobian: Array, residuals: Array) -> Array:
    """The gain that the undamped step promises: a heavily damped one promises little far from the goal as well."""
    shares = np.einsum("bnk,bn->bk", linear.orthogonal(jacobian)[0], residuals)
    return np.asarray(np.einsum("bk,bk->b", shares, shares))


def _accept(
    part: Batch, lanes: _Lanes, better: np.ndarray, trial: Array, design: Array, fit: linear.LinearFit
) -> None:
    moved = part.at(better)
    solved = linear.LinearFit(fit.beta[better], fit.residuals[better], fit.free[better], fit.pivot[better])
    with np.errstate(all="ignore"):
        jacobian = moved.jacobian(trial[better], design[better], solved)
    lanes.theta[better], lanes.sse[better] = trial[better], solved.sse
    lanes.residuals[better], lanes.jacobian[better] = solved.residuals, np.nan_to_num(jacobian)
    lanes.scale[better] = np.maximum(lanes.scale[better], np.einsum("bnq,bnq->bq", jacobian, jacobian))
