"""The rival that nothing moves: A(D) = A0. A law that does not beat it has nothing to say."""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import DATA, LINEAR, RATIO, Array, ClosedForm, Coefficients, Parameter, Span


class Constant(ClosedForm):
    """A = A0."""

    name = "constant"
    formula = "A = A0"
    latex = r"A(D) = A_0"
    source = "rival law; no effect of data"
    inputs = (DATA,)
    output = RATIO
    parameters = (Parameter("A0", "fraction", "mean", like_output=True, kind=LINEAR),)
    linear_lower = (-math.inf,)
    asymptote = "A0"
    asymptote_column = 0

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """One column of ones."""
        return np.ones((*theta.shape[:-1], len(x), 1))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The coefficient A0."""
        return {"A0": linear[..., 0]}

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A0 everywhere."""
        return coefficients["A0"] + np.zeros_like(x)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """Zero everywhere."""
        return np.zeros(len(x))

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """Never reached unless y is A0 itself, which holds everywhere."""
        return math.nan if y == coefficients["A0"] else math.inf


LAW = Constant()
