"""One law on one set of points, at many search coordinates at once, for many variants of the points.

A variant has other values (a resample), other weights (points left out have weight zero), or holds one number: a
coefficient of the paper, or the prediction at a point. Variable projection leaves a problem in the search coordinates
alone (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973); a held number that is linear in the linear coefficients is
met while these are solved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparsity_lab.fitting.solve import linear
from sparsity_lab.fitting.solve.linear import Combination, LinearFit, einsum
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import LOG_LINEAR, Array, Law, Span

STEP = 1e-6  # of numeric derivatives by a search coordinate


@dataclass(frozen=True)
class Held:
    """One number held in each of B lanes: a coefficient by name, or the prediction at a point.

    Attributes:
        names: coefficients that lanes hold. points: inputs at which lanes hold predictions, shape (m,) or (m, inputs).
        which: shape (B,); an index into names, or len(names) + an index into points.
        value: shape (B,); a coefficient that is LOG_LINEAR is held by the exponential that is linear.
    """

    names: tuple[str, ...]
    points: Array
    which: np.ndarray
    value: Array

    def at(self, rows: np.ndarray) -> Held:
        """Some of the lanes."""
        return replace(self, which=self.which[rows], value=self.value[rows])

    def combination(self, law: Law, span: Span, theta: Array, *, slopes: bool = False) -> Combination:
        """The weights and values of the linear coefficients at theta (B, q), with slopes by central differences."""
        if not slopes:
            return Combination(self.weights(law, span, theta), self.value)
        axes = theta.shape[1]
        steps = STEP * np.eye(axes)[:, None]
        weights = self.weights(law, span, np.concatenate([theta[None], theta + steps, theta - steps]))
        ahead, behind = weights[1 : 1 + axes], weights[1 + axes :]
        return Combination(weights[0], self.value, (ahead - behind).transpose(1, 0, 2) / (2 * STEP))

    def weights(self, law: Law, span: Span, theta: Array) -> Array:
        """Weights of the linear coefficients at theta (..., B, q), shape (..., B, p)."""
        found, levels = np.empty((*theta.shape[:-1], len(law.linear_lower))), dict(law.limits)
        for name, rows in self._by_name:
            level = levels.get(name)
            found[..., rows, :] = (
                coefficient_weights(law, span, name, theta[..., rows, :]) if level is None else level
            )
        rows, lanes, places = self._by_point
        if len(rows):
            found[..., rows, :] = law.design(theta[..., rows, :], self.points, span)[..., lanes, places, :]
        return found

    @cached_property
    def _by_name(self) -> list[tuple[str, np.ndarray]]:
        """The coefficients that are held, each with its lanes."""
        rows = [(self.which == i).nonzero()[0] for i in range(len(self.names))]
        return [(name, own) for name, own in zip(self.names, rows, strict=True) if len(own)]

    @cached_property
    def _by_point(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lanes that hold predictions, their number among these, and their places in points."""
        rows = (self.which >= len(self.names)).nonzero()[0]
        return rows, np.arange(len(rows)), self.which[rows] - len(self.names)


def coefficient_weights(law: Law, span: Span, name: str, theta: Array) -> Array:
    """How a coefficient of the paper (or its exponential) is made of the linear ones at theta (..., q), (..., p)."""
    if (known := law.weights_of(name, theta, span)) is not None:
        return known
    count, lanes = len(law.linear_lower), theta.shape[:-1]
    units = np.zeros((count, *lanes, count))
    for j in range(count):
        units[j, ..., j] = 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = law.assemble(np.array([theta] * count), units, span)[name]
        if law.parameter(name).kind == LOG_LINEAR:
            parts = np.nan_to_num(np.exp(law.parameter(name).power * parts), nan=0.0)
    whole = parts if parts.shape == (count, *lanes) else np.broadcast_to(parts, (count, *lanes))
    return whole.transpose(*range(1, whole.ndim), 0)


@dataclass(frozen=True)
class Batch:
    """B lanes of one problem.

    Attributes:
        y: values, shape (B, n). root: 1/se of each point up to a factor, shape (B, n), or None for equal weights.
        held: what each lane holds, or None.
    """

    problem: Problem
    y: Array
    root: Array | None = None
    held: Held | None = None

    @classmethod
    def of(cls, problem: Problem, lanes: int, *, held: Held | None = None) -> Batch:
        """The problem's own points in every lane."""
        root = problem.root_weights
        shape = (lanes, len(problem.y))
        return cls(
            problem,
            np.broadcast_to(problem.y, shape),
            None if root is None else np.broadcast_to(root, shape),
            held,
        )

    def at(self, rows: np.ndarray) -> Batch:
        """Some of the lanes."""
        return replace(
            self,
            y=self.y[rows],
            root=None if self.root is None else self.root[rows],
            held=None if self.held is None else self.held.at(rows),
        )

    def thinned(self, step: int) -> Batch:
        """Every `step`-th point in every lane."""
        if step == 1:
            return self
        problem = replace(self.problem, x=self.problem.x[::step], y=self.problem.y[::step])
        return replace(
            self,
            problem=problem,
            y=self.y[:, ::step],
            root=None if self.root is None else self.root[:, ::step],
        )

    def design(self, theta: Array) -> Array:
        """Weighted columns at theta (B, q), shape (B, n, p)."""
        design = self.problem.law.design(theta, self.problem.x, self.problem.span)
        return design if self.root is None else design * self.root[..., None]

    def project(self, theta: Array, design: Array | None = None, *, slopes: bool = False) -> LinearFit:
        """The linear coefficients at theta (B, q), those of fixed columns among them; `slopes` for a `jacobian`."""
        law = self.problem.law
        design = self.design(theta) if design is None else design
        targets = self.y if self.root is None else self.y * self.root
        lower, fixed = np.asarray(law.linear_lower, dtype=float), dict(law.offset_columns)
        held = None
        if self.held is not None:
            held = self.held.combination(law, self.problem.span, theta, slopes=slopes)
        return linear.solve(design, targets, lower, held, fixed=fixed)

    def jacobian(self, theta: Array, design: Array, fit: LinearFit) -> Array:
        """Exact derivatives of the projected residuals by theta, shape (B, n, q)."""
        law, span = self.problem.law, self.problem.span
        gradient = law.design_gradient(theta, self.problem.x, span)
        if self.root is not None:
            gradient = gradient * self.root[:, None, :, None]
        moved = einsum("bqnp,bp->bqn", gradient, fit.beta)
        pulled = einsum("bqnp,bn->bqp", gradient, fit.residuals)
        if fit.held is None:
            columns = design * fit.free[:, None, :]
        else:
            moved, pulled, columns = _through_pivot(design, fit, moved, pulled)
        pulled = pulled * fit.free[:, None, :]
        basis, triangle = linear.orthogonal(columns)
        outside = moved - einsum("bnk,bqk->bqn", basis, einsum("bnk,bqn->bqk", basis, moved))
        turned = linear.forward_substituted(triangle, pulled.transpose(0, 2, 1))
        return np.asarray(-(outside.transpose(0, 2, 1) + einsum("bnk,bkq->bnq", basis, turned)))


def _through_pivot(design: Array, fit: LinearFit, moved: Array, pulled: Array) -> tuple[Array, Array, Array]:
    """The same with the pivot's column as a function of the others, which holds the combination."""
    assert fit.held is not None
    assert fit.held.slopes is not None
    lanes, weights, turning = np.arange(len(design)), fit.held.weights, fit.held.slopes
    own = weights[lanes, fit.pivot][:, None]
    ratio = weights / own
    by_ratio = (turning - ratio[:, None, :] * turning[lanes, :, fit.pivot][..., None]) / own[..., None]
    pivot = design[lanes, :, fit.pivot]
    moved = moved - einsum("bqp,bp->bq", turning, fit.beta)[..., None] / own[..., None] * pivot[:, None, :]
    along = einsum("bn,bn->b", pivot, fit.residuals)
    pulled_pivot = pulled[lanes, :, fit.pivot]
    pulled = pulled - pulled_pivot[..., None] * ratio[:, None, :] - along[:, None, None] * by_ratio
    columns = (design - pivot[..., None] * ratio[:, None, :]) * fit.free[:, None, :]
    columns[lanes, :, fit.pivot] = 0.0
    pulled[lanes, :, fit.pivot] = 0.0
    return moved, pulled, columns
