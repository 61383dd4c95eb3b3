"""Numbers that say how far a fit can be trusted: correlation, conditioning, information criteria."""

from __future__ import annotations

import math

import numpy as np

from sparsity_lab.fitting.solve import gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array, Coefficients, Law

CORRELATIONS = np.linspace(-0.6, 0.98, 41)  # of noise, between which that of the residuals is interpolated
MOST_LAG1 = 0.95  # of the correlation that is taken for that of noise; variances are then 39 times as large


def lag1(residuals: Array) -> float:
    """Correlation of neighboring residuals; 0 where there are none."""
    total = float(residuals @ residuals)
    return float(residuals[1:] @ residuals[:-1]) / total if total > 0 else 0.0


def variance_inflation(residuals: Array, jacobian: Array) -> float:
    """g >= 1, by which correlation along the series inflates the variance of smooth contrasts.

    For first-order autoregressive noise it is (1 + rho)/(1 - rho). rho is taken half a standard error above its
    estimate, since what is too small an estimate costs more coverage than too large a one gives back: simulated 95 %
    intervals of 8 to 100 points then hold 93 to 98 % up to a correlation of 0.3 and 87 to 95 % at 0.6. Negative
    correlation narrows nothing: an estimate of it from a few dozen points is too uncertain to be paid out.

    Args:
        residuals: weighted as fitted, in the order of the points, shape (n,).
        jacobian: of the curve, weighted alike, shape (n, k).
    """
    rho = corrected_lag1(residuals, jacobian, errors=0.5)
    return (1.0 + rho) / (1.0 - rho)


def corrected_lag1(residuals: Array, jacobian: Array, *, errors: float = 0.0) -> float:
    """The noise's lag-1 correlation from that of residuals, 0 to 0.95.

    A fit takes part of the noise, so its residuals' own correlation is too low on average. Noise of covariance S(rho)
    leaves residuals M e with M = 1 - Q Q^T, Q a basis of the Jacobian, and of these the lag-1 correlation is about
    tr(M D M S)/tr(M S), D having 1/2 next to its diagonal; the rho at which that equals the one seen is returned.

    Args:
        residuals, jacobian: as of `variance_inflation`.
        errors: standard errors sqrt((1 - rho^2)/n) to add.
    """
    n, basis = len(residuals), fitted_basis(jacobian)
    beside = np.zeros_like(basis)
    beside[:-1] += basis[1:] / 2
    beside[1:] += basis[:-1] / 2
    spread = _correlated(basis)
    taken = basis.T @ spread
    shifted = (n - 1) * CORRELATIONS - 2.0 * np.sum(beside * spread, axis=(1, 2))
    shifted += np.sum(basis.T @ beside * taken, axis=(1, 2))
    expected = shifted / np.maximum(n - np.trace(taken, axis1=1, axis2=2), 1e-9)
    rho = float(np.interp(lag1(residuals), np.maximum.accumulate(expected), CORRELATIONS))
    return min(max(rho + errors * math.sqrt((1.0 - rho**2) / n), 0.0), MOST_LAG1)


def _correlated(basis: Array) -> Array:
    """S(rho) Q for each rho of CORRELATIONS, shape (rhos, n, k): sums over the points before and after."""
    before, after = np.empty((2, len(basis), len(CORRELATIONS), basis.shape[1]))
    rho = CORRELATIONS[:, None]
    before[0], after[-1] = basis[0], basis[-1]
    for i in range(1, len(basis)):
        before[i] = basis[i] + rho * before[i - 1]
        after[-1 - i] = basis[-1 - i] + rho * after[-i]
    return (before + after - basis[:, None]).swapaxes(0, 1)


def block_length(residuals: Array) -> int:
    """Length of bootstrap blocks from the lag-1 correlation, 1 where there is none.

    (2 rho / (1 - rho^2))^(2/3) n^(1/3), the best length for the variance of a mean of first-order
    autoregressive noise (Politis and White, Econometric Reviews 23, 2004), at most a third of the series.
    """
    n, rho = len(residuals), min(lag1(residuals), MOST_LAG1)
    if rho <= 1.0 / math.sqrt(n):
        return 1
    best = (2.0 * rho / (1.0 - rho**2)) ** (2.0 / 3.0) * n ** (1.0 / 3.0)
    return int(max(1, min(math.ceil(best), n // 3)))


def condition(problem: Problem, solution: Solution) -> float:
    """Condition number of the full Jacobian, columns scaled to unit length; infinity where one is zero."""
    fixed = [len(solution.theta) + column for column, _ in problem.law.offset_columns]
    full = np.delete(gradients.jacobian(problem, solution), fixed, axis=1)
    lengths = np.linalg.norm(full, axis=0)
    return float(np.linalg.cond(full / lengths)) if np.all(lengths > 0) else math.inf


def fitted_basis(jacobian: Array) -> Array:
    """An orthonormal basis of what a fit takes from the noise, from its Jacobian (n, k), shape (n, at most k)."""
    lengths = np.linalg.norm(jacobian, axis=0)
    return np.linalg.qr(jacobian[:, lengths > 0] / lengths[lengths > 0])[0]


def curve_jacobian(law: Law, values: Coefficients, x: Array) -> Array:
    """Derivatives of the printed formula by its coefficients at x, by central differences, shape (n, p)."""
    columns = []
    for name, value in values.items():
        step = 1e-5 * (abs(value) or 1.0)
        ahead = law.predict({**values, name: value + step}, x)
        columns.append((ahead - law.predict({**values, name: value - step}, x)) / (2.0 * step))
    return np.stack(columns, axis=1)


def covariance(law: Law, values: Coefficients, x: Array, *, variance: float, relative: bool = False) -> Array:
    """Covariance of the coefficients, variance (J^T J)^-1, shape (p, p); large where J is near singular.

    J has the curve's derivatives, or where `relative` those of its logarithm; `variance` is of the same.
    """
    jacobian = curve_jacobian(law, values, x)
    if relative:
        jacobian = jacobian / law.predict(values, x)[:, None]
    scale = np.linalg.norm(jacobian, axis=0)
    scale[scale == 0] = 1.0
    inverse = np.linalg.pinv((jacobian / scale).T @ (jacobian / scale), rcond=1e-14)
    return np.asarray(variance * inverse / np.outer(scale, scale))


def aicc(sse: float, *, points: int, coefficients: int) -> float:
    """Akaike's criterion for least squares, corrected for few points; the variance is a coefficient."""
    k = coefficients + 1
    if points - k - 1 <= 0 or sse <= 0:
        return math.inf if sse > 0 else -math.inf
    return points * math.log(sse / points) + 2 * k + 2 * k * (k + 1) / (points - k - 1)


def decades(x: Array) -> float:
    """log10 of largest over smallest input."""
    return float(np.log10(x.max() / x.min())) if x.min() > 0 else math.nan
