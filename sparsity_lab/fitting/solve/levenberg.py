"""Levenberg and Marquardt's method in the search coordinates of many lanes at once, within a box.

Damping is Nielsen's (IMM-REP-1999-05): it falls with the share of the predicted gain that a step brings, and grows
ever faster while steps fail. Lanes that have arrived are no longer computed. Every test is relative to the lane's own
sum of squares, so the unit of y does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.fitting.solve.linear import einsum
from sparsity_lab.laws._law import Array

MOST_NUMBERS = 1 << 16  # points times lanes that are moved together: more would not stay in the cache
MOST_STEPS = 150
TIGHT = 1e-16  # of the sum of squares: a gain below it is rounding
ROUNDING = 1e-13  # of the same: a step that promises less and fails is lost in rounding
EXACT = 1e-29  # of the sum of y squared: what is left of points that lie on the curve
FIRST_DAMPING, FIRST_GROWTH = 1e-3, 2.0
STUCK = 1e14  # damping at which no step changes theta any more
FLAT = 1e-14  # curvature, in units of each number's own, below which a direction is taken for this steep


@dataclass(frozen=True)
class Model:
    """Quadratic models of what B lanes make least, along their own axes.

    Attributes:
        slope, bend: first and second derivatives along each axis, in units of each number, shape (B, k).
        axes: shape (B, k, k), or None for one number. unit: of each number, shape (B, k).
    """

    slope: Array
    bend: Array
    axes: Array | None
    unit: Array

    @classmethod
    def of(cls, gradient: Array, curvature: Array, scale: Array, stopped: np.ndarray) -> Model:
        """The models of gradients (B, k) and curvatures (B, k, k), less the numbers that are stopped.

        Args:
            scale: curvature along each number, which gives its unit, shape (B, k).
        """
        unit = np.sqrt(np.where(scale > 0, scale, 1.0))
        free = ~stopped / unit
        scaled = curvature * free[:, :, None] * free[:, None, :]
        if scaled.shape[1] == 1:
            return cls(gradient * free, scaled[..., 0], None, unit)
        bend, axes = np.linalg.eigh(scaled)
        return cls(einsum("bkl,bk->bl", axes, gradient * free), bend, axes, unit)

    def at(self, rows: np.ndarray) -> Model:
        """Those of some lanes."""
        if rows.all():
            return self
        axes = None if self.axes is None else self.axes[rows]
        return Model(self.slope[rows], self.bend[rows], axes, self.unit[rows])

    def promised(self) -> Array:
        """The gain at the lowest point, shape (B,)."""
        return np.asarray(0.5 * (self.slope**2 / np.maximum(np.abs(self.bend), FLAT)).sum(axis=1))

    def step(self, damping: Array) -> tuple[Array, Array]:
        """The damped step (B, k), downhill whatever the curvature, and the gain it promises (B,)."""
        along = -self.slope / (np.abs(self.bend) + damping[:, None])
        gain = -(along * (self.slope + 0.5 * self.bend * along)).sum(axis=1)
        return (along if self.axes is None else einsum("bkl,bl->bk", self.axes, along)) / self.unit, gain


@dataclass
class _Lanes:
    """The lanes that still move: which these are, and where they are."""

    batch: Batch
    rows: np.ndarray
    still: np.ndarray
    theta: Array
    sse: Array
    residuals: Array
    jacobian: Array
    scale: Array
    damping: Array
    growth: Array

    def keep(self, which: np.ndarray) -> None:
        if which.all():
            return
        self.batch = self.batch.at(which)
        for name in ("rows", "still", "theta", "sse", "residuals", "jacobian", "scale", "damping", "growth"):
            setattr(self, name, getattr(self, name)[which])


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
    if (chunk := max(MOST_NUMBERS // batch.y.shape[1], 1)) < len(theta):
        parts = [np.arange(start, min(start + chunk, len(theta))) for start in range(0, len(theta), chunk)]
        ended = [_descend(batch.at(rows), theta[rows], box, still[rows], tight) for rows in parts]
        return np.concatenate([at for at, _ in ended]), np.concatenate([sse for _, sse in ended])
    return _descend(batch, theta, box, still, tight)


def _descend(batch: Batch, theta: Array, box: Array, still: np.ndarray, tight: float) -> tuple[Array, Array]:
    """`descend` of lanes few enough to be moved together."""
    lanes = _begin(batch, theta, still)
    sse = lanes.sse.copy()
    nothing = EXACT * np.maximum(einsum("bn,bn->b", batch.y, batch.y), np.finfo(float).tiny)
    with np.errstate(all="ignore"):
        for _ in range(MOST_STEPS):
            lanes.keep(np.isfinite(lanes.sse) & (lanes.sse > nothing[lanes.rows]) & (lanes.damping < STUCK))
            model = _model(lanes, box)
            promised = model.promised()
            lost = (lanes.growth > FIRST_GROWTH) & (promised <= ROUNDING * lanes.sse)
            moves = (promised > tight * lanes.sse) & ~lost
            lanes.keep(moves)
            if len(lanes.rows) == 0:
                break
            _advance(lanes, model.at(moves), box)
            theta[lanes.rows], sse[lanes.rows] = lanes.theta, lanes.sse
    return theta, sse


def _begin(batch: Batch, theta: Array, still: np.ndarray) -> _Lanes:
    with np.errstate(all="ignore"):
        design = batch.design(theta)
        fit = batch.project(theta, design, slopes=True)
        jacobian = batch.jacobian(theta, design, fit)
    size = len(theta)
    lanes = _Lanes(
        batch, np.arange(size), still, theta.copy(), fit.sse, fit.residuals, jacobian,
        einsum("bnq,bnq->bq", jacobian, jacobian), np.full(size, FIRST_DAMPING), np.full(size, FIRST_GROWTH),
    )  # fmt: skip
    lanes.sse = np.where(np.isfinite(lanes.sse) & np.isfinite(jacobian).all(axis=(1, 2)), lanes.sse, np.inf)
    return lanes


def _model(lanes: _Lanes, box: Array) -> Model:
    """What is known of the sums of squares, less coordinates that are held or that an edge of the box stops."""
    gradient = 2 * einsum("bnq,bn->bq", lanes.jacobian, lanes.residuals)
    stopped = (lanes.theta <= box[:, 0]) & (gradient > 0) | (lanes.theta >= box[:, 1]) & (gradient < 0)
    curvature = 2 * lanes.jacobian.transpose(0, 2, 1) @ lanes.jacobian
    return Model.of(gradient, curvature, 2 * lanes.scale, lanes.still | stopped)


def _advance(lanes: _Lanes, model: Model, box: Array) -> None:
    """Try one step in every lane."""
    step, predicted = model.step(lanes.damping)
    trial = np.minimum(np.maximum(lanes.theta + step, box[:, 0]), box[:, 1])
    design = lanes.batch.design(trial)
    fit = lanes.batch.project(trial, design, slopes=True)
    sse = fit.sse
    gain = lanes.sse - np.where(np.isfinite(sse), sse, np.inf)
    better = gain > 0
    lanes.damping, lanes.growth = damped(lanes.damping, lanes.growth, gain, predicted)
    if not better.any():
        return
    moved, rows = lanes.batch, slice(None) if better.all() else better
    if rows is better:
        moved, trial, design = moved.at(better), trial[better], design[better]
        fit, sse = fit.at(better), sse[better]
    jacobian = moved.jacobian(trial, design, fit)
    if not np.isfinite(jacobian).all():
        jacobian = np.nan_to_num(jacobian)
    lanes.theta[rows], lanes.sse[rows] = trial, sse
    lanes.residuals[rows], lanes.jacobian[rows] = fit.residuals, jacobian
    lanes.scale[rows] = np.maximum(lanes.scale[rows], einsum("bnq,bnq->bq", jacobian, jacobian))


def damped(damping: Array, growth: Array, gain: Array, predicted: Array) -> tuple[Array, Array]:
    """The next damping of lanes, and its growth should they fail again, by what the last step gained; (B,) each."""
    share = np.divide(gain, predicted, out=np.zeros(len(gain)), where=predicted > 0)
    eased = damping * np.maximum(1 / 3, 1 - (2 * np.minimum(np.maximum(share, 0), 1) - 1) ** 3)
    better = gain > 0
    return np.where(better, eased, damping * growth), np.where(better, FIRST_GROWTH, 2 * growth)
