"""Activation ratio against width-depth ratio: linear up to a bottleneck r*, flat beyond.

A(r) = k r + m for r <= r*, and k r* + m beyond (Sparsing Law, arXiv 2411.02335, section on width-depth
ratio). Written with the plateau P = k r* + m, A(r) = P - k max(r* - r, 0), so that the flat value is a
coefficient of its own. The search coordinate is the place of r* between the smallest and the largest r.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import (
    ANY,
    LINEAR,
    POSITIVE,
    RATIO,
    Array,
    Coefficients,
    Law,
    Parameter,
    Span,
    Variable,
)


class WidthDepth(Law):
    """A = P - k max(r* - r, 0)."""

    name = "width-depth"
    formula = "A = k r + m up to r*, then P = k r* + m"
    latex = r"A(r) = P - k\,\max(r^* - r,\,0)"
    source = "Sparsing Law, arXiv 2411.02335, section 5.2: linear below a bottleneck width-depth ratio"
    inputs = (Variable("r", "width-depth ratio", "hidden size/layers"),)
    output = RATIO
    parameters = (
        Parameter("k", "fraction per unit of r", "slope below the bottleneck", ANY, kind=LINEAR),
        Parameter("r_star", "hidden size/layers", "bottleneck", POSITIVE),
        Parameter("P", "fraction", "plateau beyond the bottleneck", like_output=True, kind=LINEAR),
    )
    linear_lower = (-math.inf, -math.inf)
    asymptote = "P"
    asymptote_column = 0

    def search_box(self, span: Span) -> Array:
        """The bottleneck's place in the data's range; at its ends one of the pieces has no points."""
        return np.array([(0.0, 1.0)])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and -max(r* - r, 0) in units of the data's range."""
        short = np.maximum(_star(theta, span)[..., None] - x, 0.0)
        return np.stack([np.ones_like(short), -short / span.width()], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By the bottleneck's place; the kink itself counts as flat."""
        below = (x < _star(theta, span)[..., None]).astype(float)
        return np.stack([np.zeros_like(below), -below], axis=-1)[..., None, :, :]

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients k, r_star, P."""
        return {"k": linear[..., 1] / span.width(), "r_star": _star(theta, span), "P": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """The bottleneck's place."""
        return np.asarray((coefficients["r_star"] - span.low[0]) / (span.high[0] - span.low[0]))[..., None]

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """P - k max(r* - r, 0)."""
        return coefficients["P"] - coefficients["k"] * np.maximum(coefficients["r_star"] - x, 0.0)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """k below the bottleneck, 0 beyond."""
        return np.where(x < coefficients["r_star"], coefficients["k"], 0.0)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """r* - (P - y)/k on the sloping piece; infinity beyond the plateau."""
        if coefficients["k"] == 0:
            return math.inf
        short = (coefficients["P"] - y) / coefficients["k"]
        return coefficients["r_star"] - short if short >= 0 else math.inf


def _star(theta: Array, span: Span) -> Array:
    return np.asarray(span.low[0] + theta[..., 0] * (span.high[0] - span.low[0]))


LAW = WidthDepth()
