"""The straight line, A(r) = m + k r: the rival of a law that bends, such as `width-depth`.

No search coordinate: least squares in closed form.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import (
    LINEAR,
    RATIO,
    Array,
    Coefficients,
    Law,
    Parameter,
    Span,
    Variable,
    per_theta,
)


class Linear(Law):
    """A = m + k r."""

    name = "linear"
    formula = "A = m + k r"
    latex = r"A(r) = m + k\,r"
    source = "rival law; width-depth without its bottleneck"
    inputs = (Variable("r", "width-depth ratio", "hidden size/layers"),)
    output = RATIO
    parameters = (
        Parameter("m", "fraction", "value at zero", kind=LINEAR),
        Parameter("k", "fraction per unit of r", "slope", kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    typed = "m + k*x"

    def search_box(self, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((0, 2))

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and (x - x_min)/(x_max - x_min)."""
        return per_theta(theta, np.stack([np.ones_like(x), (x - span.low[0]) / span.width()], axis=1))

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((*theta.shape[:-1], 0, len(x), 2))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients m and k."""
        slope = linear[..., 1] / span.width()
        return {"m": linear[..., 0] - slope * span.low[0], "k": slope}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Nothing to search."""
        return np.empty(0)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """m + k x."""
        return coefficients["m"] + coefficients["k"] * x

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """k."""
        return np.full_like(x, coefficients["k"])

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """(y - m) / k."""
        return math.inf if coefficients["k"] == 0 else (y - coefficients["m"]) / coefficients["k"]


LAW = Linear()
