"""A hyperbola in training data: A(D) = A0 - c / (1 + D/m).

The ratio starts at A0 - c and has gone half of the way to A0 at D = m. One search coordinate, ln(m / D_max); the
columns are 1 and -1/(1 + D/m).
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import (
    ANY,
    DATA,
    LINEAR,
    POSITIVE,
    RATIO,
    Array,
    Coefficients,
    Law,
    Parameter,
    Span,
)

MIDPOINT_RANGE = (1e-3, 1e2)  # of the largest input


class Hyperbola(Law):
    """A = A0 - c / (1 + D/m)."""

    name = "hyperbola"
    formula = "A = A0 - c / (1 + D/m)"
    latex = r"A(D) = A_0 - \frac{c}{1 + D/m}"
    source = "template: name the paper and the equation here"
    inputs = (DATA,)
    output = RATIO
    parameters = (
        Parameter("m", "tokens/1e9", "data at which half of the way is gone", POSITIVE),
        Parameter("c", "fraction", "distance from the limit without data", ANY, kind=LINEAR),
        Parameter("A0", "fraction", "limit with infinite data", like_output=True, kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    asymptote = "A0"
    asymptote_column = 0
    positive_inputs = (0,)
    typed = "A0 - c/(1 + x/m)"

    def search_box(self, span: Span) -> Array:
        """Range of ln(m / x_max)."""
        return np.log([MIDPOINT_RANGE])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and -1/(1 + x/m)."""
        far = 1.0 / (1.0 + x / (span.high[0] * np.exp(theta[..., :1])))
        return np.stack([np.ones_like(far), -far], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By ln(m / x_max)."""
        u = x / (span.high[0] * np.exp(theta[..., :1]))
        return np.stack([np.zeros_like(u), -u / (1.0 + u) ** 2], axis=-1)[..., None, :, :]

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients m, c, A0."""
        return {"m": span.high[0] * np.exp(theta[..., 0]), "c": linear[..., 1], "A0": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """The coordinate ln(m / x_max)."""
        return np.asarray(np.log(coefficients["m"] / span.high[0]))[..., None]

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A0 - c / (1 + x/m)."""
        return coefficients["A0"] - coefficients["c"] / (1.0 + x / coefficients["m"])

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """c / m / (1 + x/m)^2."""
        return coefficients["c"] / coefficients["m"] / (1.0 + x / coefficients["m"]) ** 2

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """m (c / (A0 - y) - 1); infinity where the law never takes the value."""
        distance = coefficients["A0"] - y
        if distance == 0 or coefficients["c"] / distance < 1:
            return math.inf
        return float(coefficients["m"] * (coefficients["c"] / distance - 1.0))


LAW = Hyperbola()
