"""A rival without a limit: A(D) = a + s ln D. If it fits as well, the data show no limit.

It is the border of the power law as alpha goes to 0. No search coordinate: least squares in closed form.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import (
    DATA,
    LINEAR,
    RATIO,
    Array,
    ClosedForm,
    Coefficients,
    Parameter,
    Span,
    per_theta,
)


class Logarithmic(ClosedForm):
    """A = a + s ln D."""

    name = "logarithmic"
    formula = "A = a + s ln D"
    latex = r"A(D) = a + s\,\ln D"
    source = "rival law; the power law's border at alpha = 0"
    inputs = (DATA,)
    output = RATIO
    parameters = (
        Parameter("a", "fraction", "value at 1e9 tokens", kind=LINEAR),
        Parameter("s", "fraction", "change per factor e of data", kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    positive_inputs = (0,)
    typed = "a + s*log(x)"

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and ln(x/x_min)."""
        return per_theta(theta, np.stack([np.ones_like(x), np.log(x / span.low[0])], axis=1))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients a and s."""
        return {"a": linear[..., 0] - linear[..., 1] * math.log(span.low[0]), "s": linear[..., 1]}

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """a + s ln x."""
        return coefficients["a"] + coefficients["s"] * np.log(x)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """s / x."""
        return coefficients["s"] / x

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """exp((y - a) / s)."""
        if coefficients["s"] == 0:
            return math.inf
        exponent = (y - coefficients["a"]) / coefficients["s"]
        return math.exp(exponent) if exponent < 700 else math.inf


LAW = Logarithmic()
