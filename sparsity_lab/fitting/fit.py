"""Fits one law to one series and gathers the evidence for or against it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge import bands, checks, rivals, shape, warmup
from sparsity_lab.fitting.judge.checks import Checks
from sparsity_lab.fitting.judge.rivals import AICC_REJECTS, AICC_TIE, Comparison
from sparsity_lab.fitting.judge.verdict import Evidence, Verdict, judge
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.result import Coefficient, FitResult
from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.spec import FitSpec, choose_law
from sparsity_lab.fitting.uncertainty import bootstrap, noise
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import FALLING, RISING, Array, Law
from sparsity_lab.settings import AUTO
from sparsity_lab.store.whole_files import encoded


def fit_series(full: Series, spec: FitSpec) -> FitResult:
    """Fit one series, less the warm-up points that `spec` leaves out."""
    count, drop_rule = _drop(full, spec)
    series = full.without_leading(count, _forward(spec))
    weights = _root_weights(series, spec)
    laws = [load_law(name) for name in (*spec.rivals, *spec.asked_for_besides())]
    comparison = rivals.compare(
        series.x, series.y, laws, root_weights=weights, seed=spec.seed, forward=_forward(spec)
    )
    law, law_rule = choose_law(series, spec, comparison, describes=_can_describe(series, weights, spec.seed))
    core = solve_and_judge(series, law, comparison=comparison, root_weights=weights, seed=spec.seed)
    problem, solution, profiles = core.problem, core.solution, core.profiles
    residuals = problem.residuals(solution)
    # What cannot be described has no coefficients: the curve is a mean, and its numbers are those of nothing.
    describes = core.verdict.describes
    draws = _draws(problem, solution, residuals, series=series, spec=spec) if describes else None
    values = problem.coefficients_of(solution) if describes else {}
    targets = _targets(series, law, values, spec) if describes else []
    band, reaches = bands.beyond(problem, solution, core.scale, targets) if describes else (None, ())
    left = series.y - law.predict(values, series.x) if describes else _unweighted(problem, residuals)
    return FitResult(
        series=series,
        law=law,
        span=problem.span,
        verdict=core.verdict,
        coefficients={name: _coefficient(profiles[name]) for name in values},
        drop_rule=drop_rule,
        law_rule=law_rule,
        sse=solution.sse,
        mae=float(np.mean(np.abs(left))),
        weighted=weights is not None,
        starts=solution.starts,
        starts_at_best=solution.starts_at_best,
        at_edge=bool(solution.at_edge),
        condition=diagnostics.condition(problem, solution),
        decades=diagnostics.decades(series.x),
        lag1=diagnostics.lag1(residuals),
        variance_inflation=core.scale.inflation,
        aicc=diagnostics.aicc(solution.sse, points=len(series.y), coefficients=len(law.parameters)),
        bootstrap=_bootstrap_json(draws),
        profiles=profiles,
        drop_sensitivity=_sensitivity(full, law, spec),
        comparison=comparison,
        seed=spec.seed,
        residuals=left,
        draws=draws,
        band=band,
        reaches=reaches,
    )


@dataclass(frozen=True)
class Judged:
    """A solved law with the evidence its verdict rests on."""

    problem: Problem
    solution: Solution
    profiles: dict[str, Profile]
    scale: NoiseScale
    verdict: Verdict


def solve_and_judge(
    series: Series,
    law: Law,
    *,
    comparison: Comparison | None,
    root_weights: Array | None = None,
    seed: int = 0,
) -> Judged:
    """Fit one law to points as they are, profile it and judge it: a fit without its report."""
    problem = Problem.of(law, series.x, series.y, root_weights=root_weights)
    solution = engine.solve(problem, seed=seed)
    scale = noise.scale_of(problem, solution)
    misfit = _misfit(problem, solution, comparison)
    describes = misfit is None
    box = max(series.y_box[0], law.output_box[0]), min(series.y_box[1], law.output_box[1])
    profiles = intervals(problem, solution, scale, Wanted(box=box)).profiles if describes else {}
    limit = profiles.get(law.far_end or "")
    tests = checks.of(problem, solution, limit, scale, box=box, seed=seed) if describes else Checks()
    verdict = verdict_of(
        problem, solution, profiles, comparison=comparison, box=box, misfit=misfit, tests=tests
    )
    return Judged(problem, solution, profiles, scale, verdict)


def verdict_of(
    problem: Problem, solution: Solution, profiles: Mapping[str, Profile], *,
    comparison: Comparison | None, box: tuple[float, float], misfit: str | None = None,
    tests: Checks | None = None,
) -> Verdict:  # fmt: skip
    """Judge a solved problem by its profiles, its conditioning and its rivals."""
    law = problem.law
    return judge(
        Evidence(
            asymptote=profiles.get(law.asymptote or ""),
            exponents=tuple(profiles[name] for name in law.exponents if name in profiles),
            box=box,
            y_range=float(np.ptp(problem.y)),
            condition=diagnostics.condition(problem, solution),
            at_edge=bool(solution.at_edge),
            limitless_rival=_limitless(comparison, law),
            better_rival=_better(comparison, law),
            misfit=misfit,
            ends=tuple(profiles[name] for name in law.other_ends if name in profiles),
            others=tuple(profiles[p.name] for p in law.parameters if p.name in profiles),
            bend=shape.bend(problem, solution, rejects=AICC_REJECTS),
            checks=tests or Checks(),
        )
    )


def _misfit(problem: Problem, solution: Solution, comparison: Comparison | None) -> str | None:
    """Why the law cannot describe the points: the wrong way, or a turn that neither it nor a rival has; or None."""
    if reason := shape.misfit(problem, solution):
        return reason
    own = diagnostics.aicc(solution.sse, points=len(problem.y), coefficients=len(problem.law.parameters))
    others = () if comparison is None else (rival.aicc for rival in comparison.rivals)
    return shape.turn(problem, below=min([own, *others]) - AICC_REJECTS)


def _can_describe(series: Series, root_weights: Array | None, seed: int) -> Callable[[Law], bool]:
    """Whether the best curve of a law goes the way of the points."""

    def describes(law: Law) -> bool:
        problem = Problem.of(law, series.x, series.y, root_weights=root_weights)
        return shape.misfit(problem, engine.solve(problem, seed=seed)) is None

    return describes


def _unweighted(problem: Problem, residuals: Array) -> Array:
    return residuals if problem.root_weights is None else residuals / problem.root_weights


def _drop(full: Series, spec: FitSpec) -> tuple[int, str]:
    """How many leading points to leave out, and why."""
    count = spec.drop_for(full.name)
    if count is not None:
        return count, spec.drop_rule
    laws, weights = [load_law(name) for name in spec.rivals], _root_weights(full, spec)
    comparison = rivals.compare(full.x, full.y, laws, root_weights=weights, seed=spec.seed, extrapolate=False)
    law, _ = choose_law(full, spec, comparison, describes=_can_describe(full, weights, spec.seed))
    rows = _sensitivity(full, law, spec)
    return warmup.choose(rows), warmup.rule_of(rows)


def _forward(spec: FitSpec) -> str:
    """Which way x goes as models grow: as the law says that is asked for, or else any of those compared."""
    laws = map(load_law, spec.rivals if spec.law == AUTO else (spec.law,))
    return FALLING if any(law.forward == FALLING for law in laws) else RISING


def series_seed(seed: int, name: str) -> np.random.Generator:
    """A generator of a series' own: the same numbers whatever else is fitted, and on however many cores."""
    return np.random.default_rng([seed, zlib.crc32(encoded(name))])


def _limitless(comparison: Comparison | None, law: Law) -> str | None:
    """A law without a limit that is as good as this one by AICc."""
    own = None if comparison is None else comparison.find(law.name)
    if comparison is None or own is None or law.asymptote is None:
        return None
    as_good = (r.law for r in comparison.rivals if r.aicc < own.aicc + AICC_TIE)
    return next((name for name in as_good if load_law(name).asymptote is None), None)


def _better(comparison: Comparison | None, law: Law) -> str | None:
    """A law that explains the points far better, so that this one's form is in doubt."""
    own = None if comparison is None else comparison.find(law.name)
    if comparison is None or own is None or own.aicc_gap < AICC_REJECTS:
        return None
    return f"{comparison.best_by_aicc}, AICc lower by {own.aicc_gap:.0f}"


def _root_weights(series: Series, spec: FitSpec) -> Array | None:
    return 1.0 / series.se if spec.weighted and series.se is not None else None


def _draws(
    problem: Problem, solution: Solution, residuals: Array, *, series: Series, spec: FitSpec
) -> bootstrap.Draws | None:
    if spec.draws == 0:
        return None
    return bootstrap.residual_blocks(
        problem,
        solution,
        draws=spec.draws,
        block=diagnostics.block_length(residuals),
        generator=series_seed(spec.seed, series.name),
    )


def _coefficient(profile: Profile) -> Coefficient:
    """A coefficient with its interval; an open side has no end."""
    low = math.nan if profile.open_low or profile.excluded else profile.low
    high = math.nan if profile.open_high or profile.excluded else profile.high
    return Coefficient(profile.value, low, high, method="profile")


def _targets(series: Series, law: Law, values: Mapping[str, float], spec: FitSpec) -> list[float]:
    """Values of y whose x is told: those asked for, and half and nine tenths of the way to the limit."""
    limit, last = law.limit(values), float(series.y[0 if law.forward == FALLING else -1])
    low, high = series.y_box
    ways = [last + share * (limit - last) for share in (0.5, 0.9)] if low <= limit <= high else []
    return [*spec.reach, *ways]


def _bootstrap_json(draws: bootstrap.Draws | None) -> dict[str, object]:
    if draws is None:
        return {"draws": 0, "block": None, "intervals": {}}
    return {
        "draws": len(draws),
        "block": draws.block,
        "intervals": {k: draws.interval(k) for k in draws.values},
    }


def _sensitivity(full: Series, law: Law, spec: FitSpec) -> tuple[warmup.DropRow, ...]:
    whole = Problem.of(law, full.x, full.y, root_weights=_root_weights(full, spec))
    return tuple(warmup.sensitivity(whole, seed=spec.seed))
