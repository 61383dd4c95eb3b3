"""One law on one set of points, what its fit makes least, and the best fit.

Variable projection: for search coordinates theta the best linear beta is a least-squares solution, bounded where the
law says so; what is left over depends on the one or two coordinates alone (Golub and Pereyra, SIAM J. Numer. Anal. 10,
1973). `batch` does that for many theta at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sparsity_lab.fitting.solve import linear
from sparsity_lab.fitting.solve.objective import SQUARES, Objective
from sparsity_lab.laws._law import Array, Law, Span, numbers


@dataclass(frozen=True)
class Projection:
    """The linear solution at given coordinates.

    Attributes:
        linear: beta, shape (p,). free: which of beta are off their bounds, shape (p,).
        design: weighted columns, shape (n, p). residuals: weighted, shape (n,).
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
class Solution:
    """The best point found.

    Attributes:
        theta: search coordinates, shape (q,). linear: beta, shape (p,).
        objective: what was made least, there.
        starts: starts polished. starts_at_best: those that came within 1 % of the best objective.
        at_edge: indices of coordinates at the edge of the search box.
    """

    theta: Array
    linear: Array
    objective: float
    starts: int = 1
    starts_at_best: int = 1
    at_edge: tuple[int, ...] = ()

    @property
    def sse(self) -> float:
        """The objective, where it is a sum of squares."""
        return self.objective


@dataclass(frozen=True)
class Problem:
    """A law and the points it is asked to follow.

    Attributes:
        x: inputs, shape (n,) or (n, inputs), in the law's units. y: shape (n,).
        span: scales the search coordinates; that of x unless another is given.
        root_weights: 1/se of each point up to a common factor, shape (n,), or None for equal weights.
        objective: what a fit makes least.
        runs: the run of each point, shape (n,), where points share runs; None where they do not.
    """

    law: Law
    x: Array
    y: Array
    span: Span
    root_weights: Array | None = None
    objective: Objective = SQUARES
    runs: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, law: Law, x: Array, y: Array, *,
        root_weights: Array | None = None, objective: Objective = SQUARES, runs: np.ndarray | None = None,
    ) -> Problem:  # fmt: skip
        """A problem on its own span; weights are scaled to a mean square of 1."""
        if root_weights is not None:
            root_weights = root_weights / np.sqrt(np.mean(root_weights**2))
        return cls(law, x, y, Span.of(x), root_weights, objective, runs)

    @property
    def freedom(self) -> int:
        """Points less coefficients."""
        return len(self.y) - len(self.law.parameters)

    @property
    def y_range(self) -> float:
        """Largest less smallest y, 1 where they are equal."""
        return float(np.ptp(self.y)) or 1.0

    @property
    def targets(self) -> Array:
        """Weighted y, shape (n,)."""
        return self.y if self.root_weights is None else self.y * self.root_weights

    def in_law(self, law: Law) -> Problem:
        """The same points for the same law in other coordinates."""
        return replace(self, law=law)

    def part(self, rows: np.ndarray) -> Problem:
        """The same law on some of the points, on the same span and with weights on the same scale."""
        weights = None if self.root_weights is None else self.root_weights[rows]
        runs = None if self.runs is None else self.runs[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], root_weights=weights, runs=runs)

    def subset(self, keep: slice | np.ndarray) -> Problem:
        """The same law on some of the points, on their own span."""
        weights = None if self.root_weights is None else self.root_weights[keep]
        runs = None if self.runs is None else self.runs[keep]
        return Problem.of(
            self.law, self.x[keep], self.y[keep], root_weights=weights, objective=self.objective, runs=runs
        )

    def columns(self, theta: Array) -> Array:
        """Weighted design at theta, shape (n, p)."""
        design = self.law.design(theta, self.x, self.span)
        return design if self.root_weights is None else design * self.root_weights[:, None]

    def project(self, theta: Array) -> Projection:
        """Solve the linear coefficients at theta."""
        design = self.columns(theta)
        lower, fixed = np.asarray(self.law.linear_lower, dtype=float), dict(self.law.offset_columns)
        fit = linear.solve(design[None], self.targets[None], lower, fixed=fixed)
        return Projection(fit.beta[0], fit.free[0], design, fit.residuals[0])

    def coefficients(self, theta: Array) -> dict[str, float]:
        """The paper's coefficients at theta with the best linear ones by least squares."""
        return numbers(self.law.assemble(theta, self.project(theta).linear, self.span))

    def coefficients_of(self, solution: Solution) -> dict[str, float]:
        """The paper's coefficients of a fit."""
        return numbers(self.law.assemble(solution.theta, solution.linear, self.span))

    def curve(self, solution: Solution, x: Array | None = None) -> Array:
        """The fitted curve at x, or at the points; shape (n,)."""
        return np.asarray(
            self.law.design(solution.theta, self.x if x is None else x, self.span) @ solution.linear
        )

    def residuals(self, solution: Solution) -> Array:
        """Points less curve, weighted where weighted, of ln y where that is fitted; shape (n,)."""
        curve = self.curve(solution)
        left = np.log(self.y) - np.log(curve) if self.objective.log else self.y - curve
        return left if self.root_weights is None else left * self.root_weights
