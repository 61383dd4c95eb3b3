"""Loss against parameters and tokens: L(N, D) = E + a N^-alpha + b D^-beta.

Source: Hoffmann et al., Training Compute-Optimal Large Language Models (arXiv 2203.15556, section 3.3, equation 2,
approach 3); the Densing Law's first step uses it per task (arXiv 2412.04315). Search coordinates ln
alpha and ln beta; the three columns 1, (N/N_min)^-alpha and (D/D_min)^-beta have weights that cannot be
negative.
"""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.laws._law import LINEAR, POSITIVE, Array, Coefficients, Law, Parameter, Span, Variable

EXPONENT_RANGE = (0.01, 3.0)


class LossPower(Law):
    """L = E + a N^-alpha + b D^-beta."""

    name = "loss-power"
    formula = "L = E + a N^-alpha + b D^-beta"
    latex = r"L(N, D) = E + a\,N^{-\alpha} + b\,D^{-\beta}"
    source = "Hoffmann et al., arXiv 2203.15556, section 3.3, equation 2"
    inputs = (Variable("N", "parameters", "parameters"), Variable("D", "training tokens", "tokens"))
    output = Variable("L", "loss", "nats per token")
    parameters = (
        Parameter("alpha", "1", "exponent of parameters", POSITIVE),
        Parameter("beta", "1", "exponent of tokens", POSITIVE),
        Parameter("a", "nats parameters^alpha", "weight of parameters", POSITIVE, kind=LINEAR),
        Parameter("b", "nats tokens^beta", "weight of tokens", POSITIVE, kind=LINEAR),
        Parameter("E", "nats per token", "irreducible loss", like_output=True, kind=LINEAR),
    )
    linear_lower = (0.0, 0.0, 0.0)
    asymptote = "E"
    asymptote_column = 0
    exponents = {"alpha": 0, "beta": 1}  # noqa: RUF012 - read only, as the base says
    positive_inputs = (0, 1)
    typed = "E + a*N^-alpha + b*D^-beta"

    def search_box(self, span: Span) -> Array:
        """Coordinates ln alpha and ln beta."""
        return np.log([EXPONENT_RANGE, EXPONENT_RANGE])

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns 1, (N/N_min)^-alpha, (D/D_min)^-beta."""
        decay = np.exp(-np.exp(theta[..., None, :]) * np.log(x / np.array(span.low)))
        return np.concatenate([np.ones((*decay.shape[:-1], 1)), decay], axis=-1)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By ln alpha and by ln beta."""
        exponent = np.exp(theta[..., None, :]) * np.log(x / np.array(span.low))
        slope = -exponent * np.exp(-exponent)
        gradient = np.zeros((*theta.shape[:-1], 2, len(x), 3))
        gradient[..., 0, :, 1], gradient[..., 1, :, 2] = slope[..., 0], slope[..., 1]
        return gradient

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """Coefficients alpha, beta, a, b, E."""
        alpha, beta = np.exp(theta[..., 0]), np.exp(theta[..., 1])
        a, b = linear[..., 1] * span.low[0] ** alpha, linear[..., 2] * span.low[1] ** beta
        return {"alpha": alpha, "beta": beta, "a": a, "b": b, "E": linear[..., 0]}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Coordinates ln alpha and ln beta."""
        return np.asarray(np.log(np.stack([coefficients["alpha"], coefficients["beta"]], axis=-1)))

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """E + a N^-alpha + b D^-beta; x of shape (n, 2) holds N and D."""
        by_size = coefficients["a"] * np.power(x[..., 0], -coefficients["alpha"])
        return coefficients["E"] + by_size + coefficients["b"] * np.power(x[..., 1], -coefficients["beta"])

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """dL/dN."""
        alpha = coefficients["alpha"]
        return -coefficients["a"] * alpha * np.power(x[..., 0], -alpha - 1.0)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """The parameters needed for a loss with unlimited tokens; `parameters_for` takes a token count."""
        return self.parameters_for(coefficients, y, tokens=math.inf)

    def parameters_for(self, coefficients: Coefficients, loss: float, *, tokens: float) -> float:
        """((L - E - b D^-beta)/a)^(-1/alpha); infinity where no size reaches the loss."""
        by_data = 0.0 if math.isinf(tokens) else coefficients["b"] * tokens ** -coefficients["beta"]
        rest = loss - coefficients["E"] - by_data
        if rest <= 0 or coefficients["a"] <= 0:
            return math.inf
        return float((rest / coefficients["a"]) ** (-1.0 / coefficients["alpha"]))


LAW = LossPower()
