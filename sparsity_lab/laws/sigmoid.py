"""A rival with a late onset: a sigmoid in ln D, A(D) = A0 - h / (1 + (D/m)^g).

The activation ratio moves from A0 - h to A0 around m. Search coordinates: the place of m in the data's range
of ln D (0 first point, 1 last point) and ln(g ln(D_max/D_min)); A0 and h are linear.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

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

MIDPOINT_RANGE = (-1.0, 2.0)
STEEPNESS_RANGE = (0.5, 100.0)


class Logistic(Law):
    """A step of logistic form; coordinates are its middle's place in the data's range, and ln of its steepness there.

    Attributes:
        sign: of the step's column.
    """

    linear_lower = (-math.inf, -math.inf)
    asymptote_column = 0
    sign: ClassVar[float] = 1.0

    @abstractmethod
    def place(self, x: Array, span: Span) -> Array:
        """The place of x in the data's range: 0 at one end, 1 at the other."""

    def argument(self, theta: Array, x: Array, span: Span) -> Array:
        """What the logistic function is taken of."""
        return np.asarray(np.exp(theta[..., 1:]) * (self.place(x, span) - theta[..., :1]))

    def search_box(self, span: Span) -> Array:
        """The midpoint's place and ln of the steepness over the data's range."""
        return np.array([MIDPOINT_RANGE, np.log(STEEPNESS_RANGE)])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and the step, which falls from 1 to 0, with its sign."""
        step = logistic(-self.argument(theta, x, span))
        return np.stack([np.ones_like(step), self.sign * step], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By the midpoint's place and by ln steepness."""
        z = self.argument(theta, x, span)
        bell = self.sign * logistic(z) * logistic(-z)
        gradient = np.zeros((*theta.shape[:-1], 2, len(x), 2))
        gradient[..., 0, :, 1] = bell * np.exp(theta[..., 1:])
        gradient[..., 1, :, 1] = -bell * z
        return gradient


class Sigmoid(Logistic):
    """A = A0 - h / (1 + (D/m)^g)."""

    name = "sigmoid"
    formula = "A = A0 - h / (1 + (D/m)^g)"
    latex = r"A(D) = A_0 - \frac{h}{1 + (D/m)^{g}}"
    source = "rival law; logistic in ln D"
    inputs = (DATA,)
    output = RATIO
    parameters = (
        Parameter("g", "1", "steepness in ln D", POSITIVE),
        Parameter("m", "tokens/1e9", "midpoint", POSITIVE),
        Parameter("h", "fraction", "height of the step", ANY, kind=LINEAR),
        Parameter("A0", "fraction", "limit with infinite data", like_output=True, kind=LINEAR),
    )
    asymptote = "A0"
    sign = -1.0
    positive_inputs = (0,)
    typed = "A0 - h/(1 + (x/m)^g)"

    def place(self, x: Array, span: Span) -> Array:
        """In ln x."""
        return np.asarray(np.log(x / span.low[0]) / math.log(span.high[0] / span.low[0]))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients g, m, h, A0."""
        width = math.log(span.high[0] / span.low[0])
        m = span.low[0] * np.exp(theta[..., 0] * width)
        return {"g": np.exp(theta[..., 1]) / width, "m": m, "h": linear[..., 1], "A0": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """The midpoint's place and ln steepness."""
        width = math.log(span.high[0] / span.low[0])
        place = np.log(coefficients["m"] / span.low[0]) / width
        return np.stack([place, np.log(coefficients["g"] * width)], axis=-1)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A0 - h / (1 + (x/m)^g)."""
        z = coefficients["g"] * np.log(x / coefficients["m"])
        return coefficients["A0"] - coefficients["h"] * logistic(-z)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """h g / x times the logistic bell."""
        z = coefficients["g"] * np.log(x / coefficients["m"])
        return coefficients["h"] * coefficients["g"] / x * logistic(z) * logistic(-z)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """m (h/(A0 - y) - 1)^(1/g)."""
        distance = coefficients["A0"] - y
        odds = coefficients["h"] / distance - 1.0 if distance != 0 else math.inf
        if odds == math.inf or distance * coefficients["h"] <= 0:
            return math.inf
        return float(coefficients["m"] * odds ** (1.0 / coefficients["g"])) if odds >= 0 else math.nan


def logistic(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


LAW = Sigmoid()
