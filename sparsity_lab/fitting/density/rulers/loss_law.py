"""Fits the loss law L(N, D) = A N^-alpha + B D^-beta + E of one task to reference runs.

The first step of the two-step ruler (Densing Law of LLMs, arXiv 2412.04315, equation 2, with the
irreducible loss E of Chinchilla). Objective: the sum of Huber losses (delta 1e-3) of ln L, as the OLMo
ladder (arXiv 2412.04403) and the Chinchilla replication (arXiv 2404.10102) minimize it, by L-BFGS-B on (ln
A, ln B, alpha, beta, E), all at least zero. `fitting.solve.packed` minimizes the same objective for the law
`loss-power` from a grid of starts; the ladder's published predictions come out of its own start and bounds alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from sparsity_lab.fitting.density.rulers.ladder import Run
from sparsity_lab.fitting.solve.objective import DELTA
from sparsity_lab.fitting.solve.packed import huber
from sparsity_lab.laws._law import Array

PUBLISHED_START = (3.0, 6.0, 0.1, 0.2, 1.0)
OWN_STARTS = (
    PUBLISHED_START,
    (6.0, 9.0, 0.35, 0.4, 0.5),
    (2.0, 3.0, 0.1, 0.1, 0.1),
    (8.0, 3.0, 0.5, 0.1, 0.2),
)
_STOP = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-30, "gtol": 1e-12}


@dataclass(frozen=True)
class LossLaw:
    """Coefficients, each a number or an array of draws; N and D are counts."""

    ln_a: Array
    ln_b: Array
    alpha: Array
    beta: Array
    e: Array

    def predict(self, params: Array | float, tokens: Array | float) -> Array:
        """The loss at N parameters and D tokens, in the unit of the points."""
        return self.size_term(np.log(params)) + self.data_term(tokens) + self.e

    def size_term(self, ln_params: Array | float) -> Array:
        """A N^-alpha."""
        return np.exp(self.ln_a - self.alpha * ln_params)

    def data_term(self, tokens: Array | float) -> Array:
        """B D^-beta."""
        return np.exp(self.ln_b - self.beta * np.log(tokens))

    def ln_params(self, loss: Array, tokens: float) -> Array:
        """ln N that reaches `loss` at D tokens; +inf at or below the loss of an infinite model."""
        rest = np.asarray(loss) - self.data_term(tokens) - self.e
        inside = np.log(np.maximum(rest, 1e-300))
        return np.where(rest > 0, (self.ln_a - inside) / np.maximum(self.alpha, 1e-12), np.inf)


def fit_loss_law(
    params: Array, tokens: Array, losses: Array, *, starts: Sequence[Sequence[float] | Array] = OWN_STARTS
) -> tuple[NDArray[np.float64], float]:
    """The best of the minima reached from `starts`: (ln A, ln B, alpha, beta, E) and the objective."""
    ln_n, ln_d, ln_l = np.log(params), np.log(tokens), np.log(losses)

    def objective(theta: Array) -> tuple[float, Array]:
        """The sum of Huber losses of ln L, in nats, and its gradient by (ln A, ln B, alpha, beta, E), shape (5,)."""
        size, data = np.exp(theta[0] - theta[2] * ln_n), np.exp(theta[1] - theta[3] * ln_d)
        predicted = size + data + theta[4]
        residual = np.log(predicted) - ln_l
        pull = np.clip(residual, -DELTA, DELTA) / predicted
        gradient = [
            pull @ size, pull @ data, -(pull * size) @ ln_n, -(pull * data) @ ln_d, pull.sum()
        ]  # fmt: skip
        return float(huber(residual, DELTA).sum()), np.array(gradient)

    bounds = [(0, None)] * 5
    # A step may try coefficients beyond what floats hold; such a start ends there and is not the best.
    with np.errstate(over="ignore", invalid="ignore"):
        solved = [
            minimize(objective, np.asarray(start), jac=True, method="L-BFGS-B", bounds=bounds, options=_STOP)  # type: ignore[call-overload]
            for start in starts
        ]
    best = min(solved, key=lambda result: float(np.nan_to_num(result.fun, nan=np.inf)))
    return best.x, float(best.fun)


def fit_runs(
    task: str, runs: Sequence[Run], *, starts: Sequence[Sequence[float] | Array] = OWN_STARTS
) -> Array:
    """Coefficients (ln A, ln B, alpha, beta, E) of one task's final losses."""
    params, tokens = (np.array([getattr(run, name) for run in runs]) for name in ("params", "tokens"))
    return fit_loss_law(params, tokens, np.array([run.final_loss(task) for run in runs]), starts=starts)[0]


def stack(thetas: Sequence[Array]) -> LossLaw:
    """Many fitted coefficient vectors as one law of arrays."""
    return LossLaw(*np.asarray(thetas).T)
