"""One law solved on one series as a specification says, profiled and judged: a fit without its report."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge import bands, checks, shape
from sparsity_lab.fitting.judge.bands import Band, Reach
from sparsity_lab.fitting.judge.checks import Checks
from sparsity_lab.fitting.judge.rivals import AICC_REJECTS, AICC_TIE, Comparison
from sparsity_lab.fitting.judge.verdict import Evidence, Verdict, judge
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve import diagnostics, engine, gradients, variance
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.solve.variance import PowerNoise
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.fitting.uncertainty import bootstrap, noise
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.settings import EVEN, POWER
from sparsity_lab.store.whole_files import encoded

PLAIN = FitSpec()


@dataclass(frozen=True)
class IntervalsAsked:
    """What is asked of a fit besides its coefficients and a verdict.

    Attributes:
        profiled: whether to profile at all; a verdict without profiles says no more than whether the law fits.
        names: coefficients that are profiled, and levels; all where None.
        targets: of the coefficients: values of y whose x is reported, with a band, for a law of one input; None for
            neither. Their intervals are walked with the profiles.
        known: ends of intervals by name that are known beforehand (`Wanted.known`); then no curves, and of windows
            that agree no more than that.
    """

    profiled: bool = True
    names: tuple[str, ...] | None = None
    targets: Callable[[Mapping[str, float]], Sequence[float]] | None = None
    known: Mapping[str, tuple[float, float]] | None = None

    def wanted(self, problem: Problem, solution: Solution, box: tuple[float, float]) -> Wanted:
        """The intervals of a fit that are asked for, with levels of a physical range."""
        wanted = Wanted(self.names, box, curves=self.known is None, known=self.known)
        if self.targets is None:
            return wanted
        reach = self.targets(problem.coefficients_of(solution))
        return replace(wanted, x=bands.places(problem), reach=reach)


ALL_INTERVALS = IntervalsAsked()


@dataclass(frozen=True)
class Judged:
    """A solved law with the evidence its verdict rests on.

    Attributes:
        values: coefficients; none where the law cannot describe the points.
        profiles: of all coefficients, by name.
        band, reaches: of the curve, where they were asked for.
    """

    problem: Problem
    solution: Solution
    scale: NoiseScale
    values: Mapping[str, float]
    profiles: dict[str, Profile]
    condition: float
    verdict: Verdict
    band: Band | None = None
    reaches: tuple[Reach, ...] = ()


def problem_of(law: Law, series: Series, spec: FitSpec) -> Problem:
    """The law on the points, with the specification's weights and objective."""
    weights = spec.root_weights(series)
    return Problem.of(
        law, series.x, series.y, root_weights=weights, objective=spec.objective, runs=series.runs
    )


def noise_of(law: Law, series: Series, spec: FitSpec) -> PowerNoise | None:
    """The power of a law's curve that the noise of the points goes with; None where it is taken for even.

    Raises:
        SparsityLabError: the curve is not above 0 at all points.
    """
    if spec.noise != POWER:
        return None
    return variance.power_noise(problem_of(law, series, replace(spec, noise=EVEN)), seed=spec.seed)


def solve_and_judge(
    series: Series,
    law: Law,
    spec: FitSpec = PLAIN,
    *,
    comparison: Comparison | None,
    asked: IntervalsAsked = ALL_INTERVALS,
) -> Judged:
    """Fit one law to points as they are, profile it and judge it.

    Args:
        series: the points, with the model of their noise that `spec` asks for. law: of as many inputs.
        spec: how to fit. comparison: rivals on these points, or None. asked: which intervals, and how.
    """
    problem = problem_of(law, series, spec)
    solution = engine.solve(problem, seed=spec.seed)
    scale = noise.scale_of(problem, solution)
    if series.noise is not None:
        scale = noise.weights_found(scale)
    misfit = _misfit(problem, solution, comparison)
    box = _box(series, law)
    profiles: dict[str, Profile] = {}
    band: Band | None = None
    reaches: tuple[Reach, ...] = ()
    wanted = Wanted(box=box)
    if misfit is None and asked.profiled:
        wanted = asked.wanted(problem, solution, box)
        found = intervals(problem, solution, scale, wanted)
        profiles = found.profiles
        band, reaches = bands.told(found, wanted)
    condition = diagnostics.condition(problem, solution)
    tests = Checks()
    if profiles:
        limit = profiles.get(law.far_end or "")
        tests = checks.of(problem, solution, limit, scale, wanted=wanted, seed=spec.seed)
    verdict = judge(
        Evidence(
            asymptote=profiles.get(law.asymptote or ""),
            exponents=tuple(profiles[name] for name in law.exponents if name in profiles),
            box=box,
            y_range=float(np.ptp(problem.y)),
            condition=condition,
            at_edge=bool(solution.at_edge),
            limitless_rival=_limitless(comparison, law),
            better_rival=_better(comparison, law),
            misfit=misfit,
            ends=tuple(profiles[name] for name in law.other_ends if name in profiles),
            scales=tuple(profiles[name] for name in law.scales if name in profiles),
            others=tuple(profiles[p.name] for p in law.parameters if p.name in profiles),
            bend=shape.bend(problem, solution, rejects=AICC_REJECTS),
            checks=tests,
        )
    )
    values = problem.coefficients_of(solution) if verdict.describes else {}
    return Judged(problem, solution, scale, values, profiles, condition, verdict, band, reaches)


def _box(series: Series, law: Law) -> tuple[float, float]:
    """The physical range of the limit: that of y by the table and by the law."""
    low, high = series.y_box if series.inputs == 1 else (0.0, float(series.y.max()))
    return max(low, law.output_box[0]), min(high, law.output_box[1])


def curve_errors(problem: Problem, solution: Solution, scale: NoiseScale, x: Array) -> Array:
    """Standard errors of the curve at x, to first order, shape (m,)."""
    _, slopes = gradients.of_predictions(problem, solution, x)
    return np.array([scale.error_of(slope) for slope in slopes])


def draws_of(judged: Judged, series: Series, spec: FitSpec) -> bootstrap.Draws | None:
    """Bootstrap refits: of blocks of residuals along a series, or of whole runs."""
    problem, solution = judged.problem, judged.solution
    if spec.draws == 0 or not judged.verdict.describes:
        return None
    if series.runs is not None:
        generator = np.random.default_rng(spec.seed)
        return bootstrap.resample_runs(problem, solution, series.runs, draws=spec.draws, generator=generator)
    block = diagnostics.block_length(problem.residuals(solution))
    generator = series_seed(spec.seed, series.name)
    return bootstrap.residual_blocks(problem, solution, draws=spec.draws, block=block, generator=generator)


def point_errors(scale: NoiseScale, spec: FitSpec, fitted: Series, new: Series, curve: Array) -> Array:
    """Standard deviations of the noise of new points, shape (m,).

    Args:
        scale: of the fit. spec: how it was made. fitted: the points it was made of. new: the new points.
        curve: at the new points, shape (m,).
    """
    even = math.sqrt(scale.variance) * (np.abs(curve) if spec.on_log else np.ones(len(curve)))
    before, now = spec.root_weights(fitted), spec.root_weights(new)
    return even if before is None or now is None else np.asarray(even * np.sqrt(np.mean(before**2)) / now)


def can_describe(law: Law, series: Series, spec: FitSpec) -> bool:
    """Whether the best curve of a law goes the way of the points."""
    problem = problem_of(law, series, spec)
    return shape.misfit(problem, engine.solve(problem, seed=spec.seed)) is None


def series_seed(seed: int, name: str) -> np.random.Generator:
    """A generator of a series' own: the same numbers whatever else is fitted, and on however many cores."""
    return np.random.default_rng([seed, zlib.crc32(encoded(name))])


def _misfit(problem: Problem, solution: Solution, comparison: Comparison | None) -> str | None:
    """Why the law cannot describe the points: the wrong way, or a turn that neither it nor a rival has; or None."""
    if reason := shape.misfit(problem, solution):
        return reason
    if problem.objective.log:
        return None  # a turn is judged by the AICc of squares of y
    own = diagnostics.aicc(solution.sse, points=len(problem.y), coefficients=len(problem.law.parameters))
    others = () if comparison is None else (rival.aicc for rival in comparison.rivals)
    return shape.turn(problem, below=min([own, *others]) - AICC_REJECTS)


def _limitless(comparison: Comparison | None, law: Law) -> str | None:
    """A law without a limit that is as good as this one by AICc."""
    own = None if comparison is None else comparison.find(law.name)
    if comparison is None or own is None or law.far_end is None:
        return None
    as_good = (rival.law for rival in comparison.rivals if rival.aicc < own.aicc + AICC_TIE)
    return next((name for name in as_good if load_law(name).far_end is None), None)


def _better(comparison: Comparison | None, law: Law) -> str | None:
    """A law that explains the points far better, so that this one's form is in doubt."""
    own = None if comparison is None else comparison.find(law.name)
    if comparison is None or own is None or own.aicc_gap < AICC_REJECTS:
        return None
    return f"{comparison.best_by_aicc}, AICc lower by {own.aicc_gap:.0f}"
