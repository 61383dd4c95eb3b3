"""A benchmark score against loss: S(L) = d + c / (1 + exp(-gamma (L - l))) with gamma < 0.

Second step of the Densing Law (arXiv 2412.04315): a sigmoid that falls from d + c at small loss to d,
chance, at large. Search coordinates: the place of l in the data's range of loss and ln(|gamma| times that
range). The largest models have the smallest loss, so a study goes forward from large loss to small.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import (
    ANY,
    FALLING,
    LINEAR,
    POSITIVE,
    Array,
    Coefficients,
    Limits,
    Parameter,
    Span,
    Variable,
)
from sparsity_lab.laws.sigmoid import Logistic, logistic


class LossToScore(Logistic):
    """S = d + c / (1 + exp(-gamma (L - l)))."""

    name = "loss-to-score"
    formula = "S = d + c / (1 + exp(-gamma (L - l)))"
    latex = r"S(L) = d + \frac{c}{1 + e^{-\gamma (L - l)}}"
    source = "Densing Law, arXiv 2412.04315: loss to downstream score"
    inputs = (Variable("L", "loss of the answer", "nats per token"),)
    output = Variable("S", "score", "fraction")
    parameters = (
        Parameter("gamma", "1/nat", "steepness, negative", (-math.inf, 0.0)),
        Parameter("l", "nats per token", "midpoint", ANY),
        Parameter("c", "fraction", "height", POSITIVE, kind=LINEAR),
        Parameter("d", "fraction", "score of a model that knows nothing", like_output=True, kind=LINEAR),
    )
    linear_lower = (-math.inf, 0.0)
    asymptote = "d"
    typed = "d + c/(1 + exp(-gamma*(x - l))); gamma<=0; c>=0; forward falling; output 0:1"
    output_box = (0.0, 1.0)
    forward = FALLING

    @property
    def limits(self) -> Limits:
        """Chance, at a large loss, and the ceiling, at a small one."""
        return (("d", (1.0, 0.0)), ("c + d", (1.0, 1.0)))

    def place(self, x: Array, span: Span) -> Array:
        """In x itself."""
        return np.asarray((x - span.low[0]) / (span.high[0] - span.low[0]))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients gamma, l, c, d."""
        width = span.high[0] - span.low[0]
        midpoint = span.low[0] + theta[..., 0] * width
        return {
            "gamma": -np.exp(theta[..., 1]) / width,
            "l": midpoint,
            "c": linear[..., 1],
            "d": linear[..., 0],
        }

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """The midpoint's place and ln steepness."""
        width = span.high[0] - span.low[0]
        place = (coefficients["l"] - span.low[0]) / width
        return np.stack([place, np.log(-coefficients["gamma"] * width)], axis=-1)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """d + c / (1 + exp(-gamma (L - l)))."""
        return coefficients["d"] + coefficients["c"] * logistic(
            coefficients["gamma"] * (x - coefficients["l"])
        )

    def limit(self, coefficients: Coefficients) -> float:
        """d + c, the score of a model without loss."""
        return float(coefficients["d"] + coefficients["c"])

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """c gamma times the logistic bell."""
        z = coefficients["gamma"] * (x - coefficients["l"])
        return coefficients["c"] * coefficients["gamma"] * logistic(z) * logistic(-z)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """l - ln(c/(S - d) - 1)/gamma; NaN outside the open range d to d + c."""
        above = y - coefficients["d"]
        if above <= 0 or above >= coefficients["c"]:
            return math.nan
        return coefficients["l"] - math.log(coefficients["c"] / above - 1.0) / coefficients["gamma"]


LAW = LossToScore()
