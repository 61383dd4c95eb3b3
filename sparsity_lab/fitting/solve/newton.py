"""Moves many lanes of a fit to ln y to a least sum of losses, within a box.

Newton's steps on the losses, damped as `levenberg` damps them. Their curvature along the residuals is exact; what the
residuals' own curvature adds is learnt from the steps (Dennis, Gay and Welsch, ACM Trans. Math. Softw. 7, 1981, 348).
After each trial the linear coefficients alone take one step more, so that lanes follow the curved valleys of sums of
powers. On the runs of Chinchilla and their resamples all lanes reach the least sum of a quasi-Newton search one by one,
in a tenth of its steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve.levenberg import FIRST_DAMPING, FIRST_GROWTH, STUCK, Model, damped
from sparsity_lab.fitting.solve.linear import einsum
from sparsity_lab.fitting.solve.packed import TINY, Packing, huber
from sparsity_lab.laws._law import Array

MOST_STEPS = 100  # most take six; a lane that still moves runs off to a law's simpler form
TIGHT = 1e-13  # of the sum: a gain below it is rounding
RIDGE = 1e-9  # of the same, for the step of the linear coefficients alone
SAFE = 1e-12  # of a secant's length: below it the step says nothing of the curvature


@dataclass
class ResidualPlace:
    """The sum of losses of B lanes and its derivatives.

    Attributes:
        value: shape (B,). pull: derivatives of the losses by the residuals, shape (B, n).
        jacobian: of the residuals, shape (B, n, k). gradient: shape (B, k).
        bend: curvature along the residuals, shape (B, k, k).
        bowl: curvature of the squares that touch the losses from above, shape (B, k, k).
    """

    value: Array
    pull: Array
    jacobian: Array
    gradient: Array
    bend: Array
    bowl: Array

    @classmethod
    def of(cls, packing: Packing, vectors: Array) -> ResidualPlace:
        """That at vectors (B, k); an infinite value where there is none."""
        delta = packing.problem.objective.delta
        factor = 1.0 if math.isfinite(delta) else 2.0
        with np.errstate(all="ignore"):
            residuals, jacobian = packing.residuals(vectors)
            counts = np.full(residuals.shape, factor)
            if packing.counts is not None:
                counts[:, : packing.counts.shape[1]] *= packing.counts
            size = np.abs(residuals)
            value = einsum("bn,bn->b", counts, huber(residuals, delta))
            pull = counts * np.clip(residuals, -delta, delta)
            within = counts * (size <= delta)
            touching = counts * np.minimum(1.0, delta / np.maximum(size, TINY))
            across = jacobian.transpose(0, 2, 1)
            gradient = einsum("bn,bnk->bk", pull, jacobian)
            bend, bowl = (across @ (jacobian * each[..., None]) for each in (within, touching))
        good = np.isfinite(value) & np.isfinite(gradient).all(axis=1) & np.isfinite(bowl).all(axis=(1, 2))
        return cls(np.where(good, value, np.inf), pull, jacobian, gradient, bend, bowl)

    def keep(self, which: np.ndarray) -> ResidualPlace:
        """Some of the lanes."""
        return ResidualPlace(**{name: value[which] for name, value in vars(self).items()})

    def put(self, which: np.ndarray, other: ResidualPlace) -> None:
        """Take over some lanes of another."""
        for name, value in vars(self).items():
            value[which] = getattr(other, name)[which]


@dataclass
class _NewtonLanes:
    """The lanes that still move: which these are, their vectors, places, learnt curvature and damping."""

    packing: Packing
    rows: np.ndarray
    vectors: Array
    place: ResidualPlace
    learnt: Array
    scale: Array
    damping: Array
    growth: Array

    def keep(self, which: np.ndarray) -> None:
        if which.all():
            return
        self.packing, self.place = self.packing.at(which), self.place.keep(which)
        for name in ("rows", "vectors", "learnt", "scale", "damping", "growth"):
            setattr(self, name, getattr(self, name)[which])


def descend(packing: Packing, vectors: Array, *, tight: float = TIGHT) -> tuple[Array, Array]:
    """Move every lane to a least sum of losses.

    Args:
        packing: the lanes. vectors: starts, shape (B, k).
        tight: gain, of the sum, below which a lane has arrived.

    Returns:
        Vectors (B, k) and sums (B,).
    """
    low, high = packing.box.T
    vectors = np.clip(vectors, low, high)
    place, count = ResidualPlace.of(packing, vectors), len(vectors)
    value = place.value.copy()
    lanes = _NewtonLanes(
        packing, np.arange(count), vectors.copy(), place, np.zeros_like(place.bend), _sizes(place.bowl),
        np.full(count, FIRST_DAMPING), np.full(count, FIRST_GROWTH),
    )  # fmt: skip
    for _ in range(MOST_STEPS):
        lanes.keep(np.isfinite(lanes.place.value) & (lanes.damping < STUCK))
        model = _model(lanes, low, high)
        moves = model.promised() > tight * lanes.place.value
        lanes.keep(moves)
        if len(lanes.rows) == 0:
            break
        _advance(lanes, model.at(moves))
        vectors[lanes.rows], value[lanes.rows] = lanes.vectors, lanes.place.value
    return vectors, value


def _model(lanes: _NewtonLanes, low: Array, high: Array) -> Model:
    """What is known of the sums of losses, less the numbers that an edge of the box stops."""
    gradient, curvature = lanes.place.gradient, lanes.place.bend + lanes.learnt
    stopped = (lanes.vectors <= low) & (gradient > 0) | (lanes.vectors >= high) & (gradient < 0)
    return Model.of(gradient, curvature, lanes.scale, stopped)


def _advance(lanes: _NewtonLanes, model: Model) -> None:
    """Try one step in every lane."""
    packing, (low, high) = lanes.packing, lanes.packing.box.T
    step, predicted = model.step(lanes.damping)
    trial = np.clip(lanes.vectors + step, low, high)
    place = ResidualPlace.of(packing, trial)
    again = trial + _linear_step(place, len(packing.problem.law.linear_lower))
    other = ResidualPlace.of(packing, again)
    lower = other.value < place.value
    place.put(lower, other)
    trial[lower] = again[lower]
    gain = lanes.place.value - place.value
    better = gain > 0
    lanes.damping, lanes.growth = damped(lanes.damping, lanes.growth, gain, predicted)
    if better.any():
        before, after = lanes.place.keep(better), place.keep(better)
        moved = trial[better] - lanes.vectors[better]
        lanes.learnt[better] = _learnt(lanes.learnt[better], moved, before, after)
        lanes.vectors[better] = trial[better]
        lanes.place.put(better, place)
        lanes.scale = np.maximum(lanes.scale, _sizes(lanes.place.bowl))


def _sizes(bowl: Array) -> Array:
    return np.array(einsum("bkk->bk", bowl))


def _linear_step(place: ResidualPlace, count: int) -> Array:
    """A step of the linear coefficients, the last `count` numbers, down the bowl with all others as they are."""
    step = np.zeros_like(place.gradient)
    bowl, gradient = np.nan_to_num(place.bowl[:, -count:, -count:]), np.nan_to_num(place.gradient[:, -count:])
    size = _sizes(bowl)
    unit = np.sqrt(np.where(size > 0, size, 1.0))
    scaled = bowl / unit[:, :, None] / unit[:, None, :] + RIDGE * np.eye(count)
    step[:, -count:] = -np.linalg.solve(scaled, (gradient / unit)[..., None])[..., 0] / unit
    return step


def _learnt(learnt: Array, moved: Array, before: ResidualPlace, after: ResidualPlace) -> Array:
    """What the residuals' own curvature adds, brought up to date by one step."""
    secant = einsum("bnk,bn->bk", after.jacobian - before.jacobian, after.pull)
    turned = after.gradient - before.gradient
    along, far = einsum("bk,bk->b", moved, turned), einsum("bk,bk->b", moved, secant)
    own = einsum("bk,bkl,bl->b", moved, learnt, moved)
    share = np.divide(np.abs(far), np.abs(own), out=np.ones_like(far), where=own != 0)
    learnt = learnt * np.minimum(share, 1.0)[:, None, None]
    gap = secant - einsum("bkl,bl->bk", learnt, moved)
    long = along > SAFE * np.linalg.norm(moved, axis=1) * np.linalg.norm(turned, axis=1)
    weight = np.divide(1.0, along, out=np.zeros_like(along), where=long)
    cross = gap[:, :, None] * turned[:, None, :]
    twice = (weight**2 * einsum("bk,bk->b", gap, moved))[:, None, None]
    found = learnt + weight[:, None, None] * (cross + cross.transpose(0, 2, 1))
    found -= twice * turned[:, :, None] * turned[:, None, :]
    return np.where(np.isfinite(found), found, 0.0)
