"""One law on one set of points: residuals after the linear coefficients are solved in closed form.

Variable projection: for coordinates theta the best linear beta is a least-squares solution, bounded where the
law says so; what is left over, r(theta) = sqrt(w) (y - Phi(theta) beta(theta)), depends on the one or two
coordinates alone (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import lsq_linear

from sparsity_lab.laws._law import Array, Law, Span, numbers


@dataclass(frozen=True)
class Projection:
    """The linear solution at given coordinates.

    Attributes:
        linear: beta, shape (p,). free: which of beta are off their bounds, shape (p,).
        design: weighted columns, shape (n, p). residuals: weighted, shape (n,). sse: their sum of squares.
    """

    linear: Array
    free: np.ndarray
    design: Array
    residuals: Array

    @property
    def sse(self) -> float:
        """Weighted sum of squared residuals."""
        return float(self.residuals @ self.residuals)


@dataclass(frozen=True)
class Problem:
    """A law and the points it is asked to follow.

    Attributes:
        x: inputs, shape (n,) or (n, inputs), in the law's units. y: shape (n,).
        root_weights: 1/se of each point up to a common factor, shape (n,), or None for equal weights.
        span: scales the search coordinates; that of x unless a frozen one is given.
        held: (column, value) of linear coefficients that are not free: one under a profile, a fixed offset.
    """

    law: Law
    x: Array
    y: Array
    span: Span
    root_weights: Array | None = None
    held: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, law: Law, x: Array, y: Array, *, root_weights: Array | None = None) -> Problem:
        """A problem on its own span; weights are scaled to a mean square of 1."""
        if root_weights is not None:
            root_weights = root_weights / np.sqrt(np.mean(root_weights**2))
        return cls(law, x, y, Span.of(x), root_weights, law.offset_columns)

    @property
    def freedom(self) -> int:
        """Points less coefficients."""
        return len(self.y) - len(self.law.parameters)

    @property
    def targets(self) -> Array:
        """Weighted y, shape (n,)."""
        return self.y if self.root_weights is None else self.y * self.root_weights

    def with_targets(self, y: Array) -> Problem:
        """The same problem with other y (a bootstrap draw)."""
        return replace(self, y=y)

    def holding(self, column: int, value: float) -> Problem:
        """The same problem with one linear coefficient held."""
        return replace(self, held=(*self.held, (column, float(value))))

    def subset(self, keep: slice | np.ndarray) -> Problem:
        """The same law on some of the points, on their own span."""
        weights = None if self.root_weights is None else self.root_weights[keep]
        return Problem.of(self.law, self.x[keep], self.y[keep], root_weights=weights)

    def thinned(self, step: int) -> Problem:
        """The same problem, on the same span, with every `step`-th point."""
        if step == 1:
            return self
        weights = None if self.root_weights is None else self.root_weights[::step]
        return replace(self, x=self.x[::step], y=self.y[::step], root_weights=weights)

    def columns(self, theta: Array) -> Array:
        """Weighted design at theta, shape (n, p)."""
        design = self.law.design(theta, self.x, self.span)
        return design if self.root_weights is None else design * self.root_weights[:, None]

    def project(self, theta: Array) -> Projection:
        """Solve the linear coefficients at theta."""
        design, targets, lower = self.columns(theta), self.targets, np.asarray(self.law.linear_lower)
        if not self.held:
            linear, free = solve_linear(design, targets, lower)
            return Projection(linear, free, design, targets - design @ linear)
        rest, linear = np.ones(len(lower), dtype=bool), np.zeros(len(lower))
        for column, value in self.held:
            rest[column], linear[column] = False, value
        free = np.zeros(len(lower), dtype=bool)
        linear[rest], free[rest] = solve_linear(design[:, rest], targets - design @ linear, lower[rest])
        return Projection(linear, free, design, targets - design @ linear)

    def jacobian(self, theta: Array, at: Projection) -> Array:
        """Exact derivative of the projected residuals by theta, shape (n, q)."""
        gradient = self.law.design_gradient(theta, self.x, self.span)
        if self.root_weights is not None:
            gradient = gradient * self.root_weights[:, None]
        active = at.design[:, at.free]
        if active.shape[1] == 0:
            return -(gradient @ at.linear).T
        basis, triangle = np.linalg.qr(active)
        moved = gradient @ at.linear
        outside = moved - (moved @ basis) @ basis.T
        pulled = (gradient[:, :, at.free].transpose(0, 2, 1) @ at.residuals).T
        turned = np.linalg.lstsq(triangle.T, pulled, rcond=None)[0]
        return np.asarray(-(outside.T + basis @ turned))

    def coefficients(self, theta: Array) -> dict[str, float]:
        """The paper's coefficients at theta with the best linear ones."""
        return numbers(self.law.assemble(theta, self.project(theta).linear, self.span))


def solve_linear(design: Array, targets: Array, lower: Array) -> tuple[Array, np.ndarray]:
    """Least squares with lower bounds; returns beta and which of it are off their bounds.

    The columns are scaled to unit length first, so that their units do not decide which are dropped.
    """
    if design.shape[1] == 0:
        return np.empty(0), np.empty(0, dtype=bool)
    scale = np.sqrt(np.einsum("ij,ij->j", design, design))
    scale[scale == 0] = 1.0
    linear = np.linalg.lstsq(design / scale, targets, rcond=1e-14)[0] / scale
    if np.all(linear >= lower):
        return linear, np.ones(len(lower), dtype=bool)
    bounded = lsq_linear(design / scale, targets, bounds=(lower * scale, np.inf), method="bvls", tol=1e-15)
    return bounded.x / scale, bounded.active_mask == 0
