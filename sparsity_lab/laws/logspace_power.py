"""The law of activation ratio in training data that ReLU models follow: a stretched exponential.

A(D) = A0 + exp(b - c D^alpha), decreasing toward A0: ln(A - A0) falls as a power of D (Sparsing Law,
arXiv 2411.02335, table 2). The search coordinates are ln alpha and ln k with k = c (D_max^alpha -
D_min^alpha), the fall of ln(A - A0) over the data: alpha and c are tied along a narrow valley, alpha and k
are not. The columns are 1 and exp(-k s(D)) with s running from 0 to 1 over the data.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from sparsity_lab.laws._law import (
    ANY,
    DATA,
    LINEAR,
    LOG_LINEAR,
    POSITIVE,
    RATIO,
    Array,
    Coefficients,
    Law,
    Parameter,
    Span,
)

ALPHA_RANGE = (0.01, 8.0)
FALL_RANGE = (1e-3, 60.0)


class LogspacePower(Law):
    """A = A0 + exp(b - c D^alpha)."""

    name = "logspace-power"
    formula = "A = A0 + exp(b - c D^alpha)"
    latex = r"A(D) = A_0 + \exp(b - c\,D^{\alpha})"
    source = "Sparsing Law, arXiv 2411.02335, equation 4 and table 2 (ReLU)"
    inputs = (DATA,)
    output = RATIO
    parameters = (
        Parameter("alpha", "1", "exponent of convergence", POSITIVE),
        Parameter("b", "ln fraction", "ln of the distance from the limit without data", ANY, kind=LOG_LINEAR),
        Parameter("c", "(tokens/1e9)^-alpha", "rate of convergence", POSITIVE),
        Parameter("A0", "fraction", "limit with infinite data", like_output=True, kind=LINEAR),
    )
    linear_lower = (-math.inf, 0.0)
    asymptote = "A0"
    asymptote_column = 0
    exponents = {"alpha": 0}  # noqa: RUF012 - read only, as the base says
    positive_inputs = (0,)
    typed = "A0 + exp(b - c*x^alpha)"
    sign: ClassVar[float] = 1.0  # of the curve's distance from its limit

    def search_box(self, span: Span) -> Array:
        """Coordinates ln alpha and ln k."""
        return np.log([ALPHA_RANGE, FALL_RANGE])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1 and sign exp(-k s(x))."""
        share, _ = _progress(np.exp(theta[..., :1]), x, span)
        return np.stack([np.ones_like(share), self.sign * np.exp(-np.exp(theta[..., 1:]) * share)], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By ln alpha and by ln k."""
        alpha, fall = np.exp(theta[..., :1]), np.exp(theta[..., 1:])
        share, by_alpha = _progress(alpha, x, span)
        decay = self.sign * np.exp(-fall * share)
        gradient = np.zeros((*theta.shape[:-1], 2, len(x), 2))
        gradient[..., 0, :, 1] = -fall * decay * alpha * by_alpha
        gradient[..., 1, :, 1] = -fall * share * decay
        return gradient

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients alpha, b, c, A0; b is NaN where the exponential's weight is zero."""
        alpha, fall = np.exp(theta[..., 0]), np.exp(theta[..., 1])
        low, high = span.low[0], span.high[0]
        c = fall / (high**alpha - low**alpha)
        weight = np.where(linear[..., 1] > 0, linear[..., 1], math.nan)
        return {"alpha": alpha, "b": np.log(weight) + c * low**alpha, "c": c, "A0": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Coordinates ln alpha and ln k."""
        alpha = coefficients["alpha"]
        fall = coefficients["c"] * (span.high[0] ** alpha - span.low[0] ** alpha)
        return np.stack([np.log(alpha), np.log(fall)], axis=-1)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """A0 + sign exp(b - c x^alpha)."""
        exponent = coefficients["b"] - coefficients["c"] * np.power(x, coefficients["alpha"])
        return coefficients["A0"] + self.sign * np.exp(exponent)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """-sign c alpha x^(alpha-1) exp(b - c x^alpha)."""
        alpha, c = coefficients["alpha"], coefficients["c"]
        excess = self.sign * np.exp(coefficients["b"] - c * np.power(x, alpha))
        return -c * alpha * np.power(x, alpha - 1.0) * excess

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """((b - ln(sign (y - A0))) / c)^(1/alpha)."""
        distance = self.sign * (y - coefficients["A0"])
        if distance <= 0:
            return math.inf
        power = (coefficients["b"] - math.log(distance)) / coefficients["c"]
        return float(power ** (1.0 / coefficients["alpha"])) if power >= 0 else math.nan


def _progress(alpha: Array, x: Array, span: Span) -> tuple[Array, Array]:
    """s = (x^alpha - x_min^alpha) / (x_max^alpha - x_min^alpha) and its derivative by alpha."""
    log_x, log_range = np.log(x / span.low[0]), math.log(span.high[0] / span.low[0])
    whole = np.expm1(alpha * log_range)
    share = np.expm1(alpha * log_x) / whole
    by_alpha = (log_x * np.exp(alpha * log_x) - share * log_range * np.exp(alpha * log_range)) / whole
    return share, by_alpha


LAW = LogspacePower()
