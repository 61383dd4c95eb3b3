"""What is tested of a fit beyond its profiles: whether its limit holds still, and what its noise is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.judge import noise, windows
from sparsity_lab.fitting.judge.noise import NoiseSpread
from sparsity_lab.fitting.judge.windows import Drift, Window
from sparsity_lab.fitting.solve import diagnostics, gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.store.tables import interval

EXACT = 1e-9  # root mean square residual over the range of y, below which what is left is rounding


@dataclass(frozen=True)
class Checks:
    """Tests of one fit.

    Attributes:
        windows: the limit by the first parts of the points; none where the limit is open or there is none.
        drift: whether the points drift away from the law; None where there is no limit to drift from.
        spread: whether the noise is equally wide; None where the points are too few to say.
        correlation: why the noise is too correlated, or None.
        weighted: whether the points have weights. on_log: whether ln y is fitted.
    """

    windows: tuple[Window, ...] = ()
    drift: Drift | None = None
    spread: NoiseSpread | None = None
    correlation: str | None = None
    weighted: bool = False
    on_log: bool = False

    def sentences(self, law: Law) -> list[str]:
        """What was tested of a fit of the law and what came of it, for readers."""
        limit, inputs = law.far_end, [variable.symbol for variable in law.inputs]
        sentences = [
            f"{limit} by the first {window.points} points ({window.percent}): "
            f"{interval(window.value, window.low, window.high)}{'' if window.agrees else ', not the limit by all'}"
            for window in self.windows
        ]
        if self.drift is not None:
            word, terms = (
                "is" if self.drift.found else "is not",
                " and ".join(f"ln {name}" for name in inputs),
            )
            sentences.append(f"A drift away from the law, by {terms}, {word} seen (p = {self.drift.p:.2g})")
        if self.spread is not None:
            sentences.append(
                self._on_spread(self.spread, inputs[0] if len(inputs) == 1 else "the size of the models")
            )
        return sentences

    def _on_spread(self, spread: NoiseSpread, x: str) -> str:
        after = "after weighting, " if self.weighted else ""
        if not spread.uneven:
            return f"Noise: {after}nothing says that its spread is uneven (p = {spread.p:.2g})"
        along = f"along {x}" if spread.along == "x" else "with the curve"
        what = "intervals take it as even"
        if not self.weighted:
            model = "" if self.on_log else "take its variance for a power of the curve (--noise power), or "
            what += f": {model}weight the points by their standard errors (--weighted)"
        return (
            f"Noise: {after}its spread is uneven (p = {spread.p:.2g}), {spread.ratio:.2g} times as wide at the end as "
            f"at the start {along}; {what}"
        )


def of(
    problem: Problem, solution: Solution, limit: Profile | None, scale: NoiseScale, *, wanted: Wanted, seed: int = 0
) -> Checks:  # fmt: skip
    """All tests of a fit.

    Args:
        problem: the law and its points. solution: the best fit. limit: the profile of its far end, or None.
        scale: of the noise. wanted: which intervals were, with the physical range of y. seed: of the search grid.
    """
    residuals, count = problem.residuals(solution), len(problem.law.parameters)
    size = float(np.ptp(np.log(problem.y) if problem.objective.log else problem.targets))
    if float(residuals @ residuals) <= (EXACT * size) ** 2 * len(residuals):
        return Checks()
    jacobian = gradients.jacobian(problem, solution)
    # Points of several inputs are in no order in which noise could be correlated.
    rho = diagnostics.corrected_lag1(residuals, jacobian) if problem.x.ndim == 1 else 0.0
    runs = None if scale.sandwich is None else problem.runs
    spread = noise.spread(residuals, jacobian, problem.curve(solution), rho=rho, runs=runs)
    correlation = noise.too_correlated(rho, points=len(residuals), coefficients=count)
    weighted, on_log = problem.root_weights is not None, problem.objective.log
    if limit is None:
        return Checks(spread=spread, correlation=correlation, weighted=weighted, on_log=on_log)
    clipped = np.clip(residuals, -problem.objective.delta, problem.objective.delta)
    # By the estimate itself: half a standard error more would hide a drift, which looks like correlation.
    inflation = (1.0 + rho) / (1.0 - rho)
    drift = windows.drift(clipped, jacobian, _terms(problem), inflation=inflation, runs=runs)
    refitted: tuple[Window, ...] = ()
    if limit.closed:
        ends = wanted.known is None
        refitted = windows.refitted(problem, limit, scale, box=wanted.box, seed=seed, ends=ends)
    return Checks(refitted, drift, spread, correlation, weighted, on_log)


def _terms(problem: Problem) -> Array:
    """ln of each input, or the input itself where it is not positive throughout, weighted; shape (n, inputs)."""
    inputs = problem.x.reshape(len(problem.y), -1)
    terms = np.where((inputs > 0).all(axis=0), np.log(np.maximum(inputs, 1e-300)), inputs)
    return terms if problem.root_weights is None else terms * problem.root_weights[:, None]
