"""The straight line, A(r) = m + k r: the rival of a law that bends, such as `width-depth`.

No search coordinate: least squares in closed form.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from sparsity_lab.laws._law import (
    LINEAR,
    RATIO,
    Array,
    ClosedForm,
    Coefficients,
    Parameter,
    Span,
    Variable,
    per_theta,
)


class Linear(ClosedForm):
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
    level: ClassVar[str] = "m"  # the coefficients by their names
    rate: ClassVar[str] = "k"

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and (x - x_min)/(x_max - x_min)."""
        return per_theta(theta, np.stack([np.ones_like(x), (x - span.low[0]) / span.width()], axis=1))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The value at zero and the slope."""
        slope = linear[..., 1] / span.width()
        values = {self.level: linear[..., 0] - slope * span.low[0], self.rate: slope}
        return {parameter.name: values[parameter.name] for parameter in self.parameters}

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """m + k x."""
        return coefficients[self.level] + coefficients[self.rate] * x

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """k."""
        return np.full_like(x, coefficients[self.rate])

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """(y - m) / k."""
        rate = coefficients[self.rate]
        return math.inf if rate == 0 else (y - coefficients[self.level]) / rate


LAW = Linear()
