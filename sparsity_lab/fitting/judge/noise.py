"""What the residuals say of the noise: whether its spread is even, and what its correlation leaves of the points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.laws._law import Array

UNEVEN_LEVEL = 0.05
DRAWS = 1999
MOST_NUMBERS = 2_000_000  # drawn for one test; of many points fewer draws are enough
FEWEST_SPARE = 3  # points beyond the coefficients, below which residuals say nothing of their spread
LEAST_LEFT = 0.05  # of a point's noise that a fit leaves in its residual, below which it says nothing
SURE = 2.33  # standard errors, for a correlation that independent noise exceeds once in 100
ENOUGH_EACH = 2.0  # independent points a coefficient


@dataclass(frozen=True)
class NoiseSpread:
    """Whether the noise is equally wide throughout.

    Attributes:
        p: probability of as uneven residuals under even noise. along: `x` or `curve`, whichever it goes with more.
        ratio: root mean square residual of the last third of the points over that of the first, in the order of
            `along`; infinity where the first third has none.
    """

    p: float
    along: str
    ratio: float

    @property
    def uneven(self) -> bool:
        """Whether the test says so at 5 %."""
        return self.p < UNEVEN_LEVEL


def spread(
    residuals: Array, jacobian: Array, curve: Array, *, rho: float = 0.0, runs: np.ndarray | None = None
) -> NoiseSpread | None:
    """Glejser's test, of absolute residuals against the order of the points and against the curve.

    The larger of the two correlations is compared with those of simulated even Gaussian noise with the given
    correlation along the series, taken through the linearized fit: so the leverage of the first points and the two
    questions in one test cost nothing (Glejser, J. Am. Stat. Assoc. 64, 1969).

    Args:
        residuals: weighted as fitted, in the order of the points, shape (n,).
        jacobian: of the curve by all coefficients, weighted alike, shape (n, p). curve: shape (n,).
        rho: lag-1 correlation of the noise. runs: the run of each point, shape (n,), where points share runs: the
            simulated points of a run then share as much as the residuals do.

    Returns:
        The test, or None where the points are too few or there is no noise.
    """
    n = len(residuals)
    if n - jacobian.shape[1] < FEWEST_SPARE or float(residuals @ residuals) <= 0:
        return None
    basis = diagnostics.fitted_basis(jacobian)
    left = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->i", basis, basis), LEAST_LEFT))
    along = {"x": _standard(np.arange(n, dtype=float)), "curve": _standard(curve)}
    axes = np.stack(list(along.values()), axis=1)
    found = _correlations((residuals / left)[None], axes)[0]
    draws = min(DRAWS, max(MOST_NUMBERS // n, 99))
    generator = np.random.default_rng(0)
    noise = autoregressive(generator.normal(size=(draws, n)), rho)
    if runs is not None:
        members = np.unique(runs, return_inverse=True)[1]
        share = _within_runs(residuals, members)
        together = generator.normal(size=(draws, int(members.max()) + 1))[:, members]
        noise = math.sqrt(1.0 - share) * noise + math.sqrt(share) * together
    simulated = _correlations((noise - (noise @ basis) @ basis.T) / left, axes).max(axis=1)
    chief = list(along)[int(found.argmax())]
    p = (1 + int(np.sum(simulated >= found.max()))) / (draws + 1)
    return NoiseSpread(p, chief, _ratio((residuals / left)[np.argsort(along[chief], kind="stable")]))


def autoregressive(shocks: Array, rho: float) -> Array:
    """Noise of unit variance with correlation rho between neighbors, from independent shocks (..., n)."""
    noise = np.array(shocks)
    for i in range(1, shocks.shape[-1]):
        noise[..., i] = rho * noise[..., i - 1] + math.sqrt(1.0 - rho**2) * shocks[..., i]
    return noise


def too_correlated(rho: float, *, points: int, coefficients: int) -> str | None:
    """Why intervals cannot be trusted for correlation along the series, or None.

    n points with correlation rho are worth n (1 - rho)/(1 + rho) independent ones. With fewer than two for each
    coefficient the correlation itself is known too badly to widen intervals by it: simulated 95 % intervals then hold
    70 to 88 %. A correlation that independent noise exceeds once in 100 is not taken for one.

    Args:
        rho: lag-1 correlation, corrected for the coefficients (`diagnostics.corrected_lag1`).
    """
    if points <= 4 or rho <= SURE * math.sqrt(points) / (points - 4.0):
        return None
    worth = points * (1.0 - rho) / (1.0 + rho)
    if worth >= ENOUGH_EACH * coefficients:
        return None
    return (
        f"noise too correlated for {points} points, or a law that misses them: with a lag-1 correlation of {rho:.2f} "
        f"they are worth {worth:.1f}, for {coefficients} coefficients"
    )


def _within_runs(residuals: Array, members: np.ndarray) -> float:
    """Correlation of residuals within runs, by the analysis of variance; 0 to 0.99."""
    sizes = np.bincount(members)
    n, count = len(residuals), len(sizes)
    if count < 2 or count == n:
        return 0.0
    means = np.bincount(members, weights=residuals) / sizes
    within = float(np.sum((residuals - means[members]) ** 2)) / (n - count)
    between = float(sizes @ (means - residuals.mean()) ** 2) / (count - 1)
    size = (n - float(sizes @ sizes) / n) / (count - 1)
    total = between + (size - 1.0) * within
    return min(max((between - within) / total, 0.0), 0.99) if total > 0 else 0.0


def _standard(values: Array) -> Array:
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / length) if length > 0 else centred


def _correlations(residuals: Array, axes: Array) -> Array:
    """Absolute correlation of |residuals| (sets, n) with each axis (n, k), shape (sets, k)."""
    size = np.abs(residuals)
    size = size - size.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(size, axis=1, keepdims=True)
    return np.asarray(np.abs(size @ axes) / np.where(lengths > 0, lengths, 1.0))


def _ratio(residuals: Array) -> float:
    third = max(len(residuals) // 3, 1)
    first, last = (math.sqrt(float(np.mean(part**2))) for part in (residuals[:third], residuals[-third:]))
    return last / first if first > 0 else math.inf
