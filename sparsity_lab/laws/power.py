"""The power law of activation ratio in training data, as SiLU models follow it.

A(D) = A0 - c D^-alpha, increasing toward A0 (Sparsing Law, arXiv 2411.02335, table 2). One search
coordinate, ln alpha; the columns are 1 and -(D/D_min)^-alpha.
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

ALPHA_RANGE = (0.01, 10.0)


class Power(Law):
    """A = A0 - c D^-alpha."""

    name = "power"
    formula = "A = A0 - c D^-alpha"
    latex = r"A(D) = A_0 - c\,D^{-\alpha}"
    source = "Sparsing Law, arXiv 2411.02335, equation 5 and table 2 (SiLU)"
    inputs = (DATA,)
    output = RATIO
    parameters = (
        Parameter("alpha", "1", "exponent of convergence", POSITIVE),
        Parameter(
            "c", "fraction (tokens/1e9)^alpha", "distance from the limit at 1e9 tokens", ANY, kind=LINEAR
        ),
        Parameter("A0", "fraction", "limit with infinite data", like_output=True, kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    asymptote = "A0"
    asymptote_column = 0
    exponents = {"alpha": 0}  # noqa: RUF012 - read only, as the base says
    positive_inputs = (0,)
    typed = "A0 - c*x^-alpha"

    def search_box(self, span: Span) -> Array:
        """ln alpha."""
        return np.log([ALPHA_RANGE])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and -(x/x_min)^-alpha."""
        decay = np.exp(-np.exp(theta[..., :1]) * np.log(x / span.low[0]))
        return np.stack([np.ones_like(decay), -decay], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By ln alpha."""
        exponent = np.exp(theta[..., :1]) * np.log(x / span.low[0])
        gradient = np.stack([np.zeros_like(exponent), exponent * np.exp(-exponent)], axis=-1)
        return gradient[..., None, :, :]

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients alpha, c, A0."""
        alpha = np.exp(theta[..., 0])
        return {"alpha": alpha, "c": linear[..., 1] * span.low[0] ** alpha, "A0": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """ln alpha."""
        return np.asarray(np.log(coefficients["alpha"]))[..., None]

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A0 - c x^-alpha."""
        return coefficients["A0"] - coefficients["c"] * np.power(x, -coefficients["alpha"])

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """c alpha x^(-alpha-1)."""
        alpha = coefficients["alpha"]
        return coefficients["c"] * alpha * np.power(x, -alpha - 1.0)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """(c / (A0 - y))^(1/alpha)."""
        distance = coefficients["A0"] - y
        if distance == 0 or coefficients["c"] / distance <= 0:
            return math.inf
        return float((coefficients["c"] / distance) ** (1.0 / coefficients["alpha"]))


LAW = Power()
