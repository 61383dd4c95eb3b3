"""The Densing Law: the largest density of released models grows exponentially, ln rho_max = A t + B.

Source: Densing Law of LLMs (arXiv 2412.04315, equation of the linear trend of ln rho_max). The doubling
time is ln 2 / A. No search coordinate: least squares in closed form.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import LINEAR, Array, Coefficients, Law, Parameter, Span, Variable, per_theta


class Densing(Law):
    """ln rho = A t + B."""

    name = "densing"
    formula = "ln rho_max = A t + B"
    latex = r"\ln \rho_{\max}(t) = A\,t + B"
    source = "Densing Law, arXiv 2412.04315"
    inputs = (Variable("t", "release date", "days since the first model"),)
    output = Variable("ln rho", "logarithm of the largest density so far", "ln 1")
    parameters = (
        Parameter("A", "1/day", "growth rate; ln 2 / A is the doubling time", kind=LINEAR),
        Parameter("B", "ln 1", "ln rho_max at t = 0", kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    typed = "A*x + B"

    def search_box(self, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((0, 2))

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and (t - t_min)/(t_max - t_min)."""
        return per_theta(theta, np.stack([np.ones_like(x), (x - span.low[0]) / span.width()], axis=1))

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((*theta.shape[:-1], 0, len(x), 2))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients A and B."""
        rate = linear[..., 1] / span.width()
        return {"A": rate, "B": linear[..., 0] - rate * span.low[0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Nothing to search."""
        return np.empty(0)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A t + B."""
        return coefficients["A"] * x + coefficients["B"]

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """A everywhere."""
        return np.full(len(x), float(coefficients["A"]))

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """(y - B) / A."""
        rate = coefficients["A"]
        return math.inf if rate == 0 else (y - coefficients["B"]) / rate


LAW = Densing()
