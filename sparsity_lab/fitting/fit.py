"""Fits one law to one series and gathers the evidence for or against it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge import checks, levels, rivals, shape, warmup
from sparsity_lab.fitting.judge.checks import Checks
from sparsity_lab.fitting.judge.rivals import AICC_REJECTS, AICC_TIE, Comparison
from sparsity_lab.fitting.judge.verdict import Evidence, Verdict, judge
from sparsity_lab.fitting.result import Coefficient, FitResult
from sparsity_lab.fitting.solve import bootstrap, diagnostics, engine, profile
from sparsity_lab.fitting.solve.engine import Solution
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solve.profile import Profile
from sparsity_lab.fitting.spec import FitSpec, choose_law, load_law
from sparsity_lab.laws._law import FALLING, RISING, Array, Law
from sparsity_lab.settings import AUTO
from sparsity_lab.store.whole_files import encoded


def fit_series(full: Series, spec: FitSpec) -> FitResult:
    """Fit one series, less the warm-up points that `spec` leaves out."""
    count, drop_rule = _drop(full, spec)
    series = full.without_leading(count, _forward(spec))
    weights = _root_weights(series, spec)
    laws = [load_law(name) for name in spec.rivals]
    comparison = rivals.compare(
        series.x, series.y, laws, root_weights=weights, seed=spec.seed, forward=_forward(spec)
    )
    law, law_rule = choose_law(series, spec, comparison, describes=_can_describe(series, weights, spec.seed))
    core = solve_and_judge(series, law, comparison=comparison, root_weights=weights, seed=spec.seed)
    problem, solution, profiles = core.problem, core.solution, core.profiles
    residuals = problem.project(solution.theta).residuals
    # What cannot be described has no coefficients: the curve is a mean, and its numbers are those of nothing.
    describes = core.verdict.describes
    draws = _draws(problem, solution, residuals, series=series, spec=spec) if describes else None
    values = problem.coefficients(solution.theta) if describes else {}
    left = series.y - law.predict(values, series.x) if describes else _unweighted(problem, residuals)
    return FitResult(
        series=series,
        law=law,
        span=problem.span,
        verdict=core.verdict,
        coefficients=_with_intervals(values, profiles, draws),
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
        variance_inflation=core.inflation,
        aicc=diagnostics.aicc(solution.sse, points=len(series.y), coefficients=len(law.parameters)),
        bootstrap=_bootstrap_json(draws),
        profiles=profiles,
        drop_sensitivity=_sensitivity(full, law, spec),
        comparison=comparison,
        seed=spec.seed,
        residuals=left,
        draws=draws,
        asked=spec.reach,
    )


@dataclass(frozen=True)
class Judged:
    """A solved law with the evidence its verdict rests on."""

    problem: Problem
    solution: Solution
    profiles: dict[str, Profile]
    inflation: float
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
    residuals = problem.project(solution.theta).residuals
    inflation = diagnostics.variance_inflation(residuals, coefficients=len(law.parameters))
    misfit = _misfit(problem, solution, comparison)
    describes = misfit is None
    box = max(series.y_box[0], law.output_box[0]), min(series.y_box[1], law.output_box[1])
    profiles = profile_all(problem, solution, box=box, inflation=inflation) if describes else {}
    limit = profiles.get(law.far_end or "")
    tests = (
        checks.of(problem, solution, limit, box=box, inflation=inflation, seed=seed) if describes else None
    )
    verdict = verdict_of(
        problem, solution, profiles, comparison=comparison, box=box, misfit=misfit, tests=tests
    )
    return Judged(problem, solution, profiles, inflation, verdict)


def profile_all(
    problem: Problem, solution: Solution, *, box: tuple[float, float], inflation: float
) -> dict[str, Profile]:
    """Profiles of the law's asymptote, its exponents and the other levels it tends to, by name."""
    law, found = problem.law, {}
    for name in (*([law.asymptote] if law.asymptote else []), *law.other_ends):
        found[name] = levels.of_level(problem, solution, name, box=box, inflation=inflation)
    for name in law.exponents:
        found[name] = profile.of_exponent(problem, solution, name, inflation=inflation)
    return found


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
            bend=shape.bend(
                problem, solution.theta, problem.project(solution.theta).linear, rejects=AICC_REJECTS
            ),
            checks=tests or Checks(),
        )
    )


def _misfit(problem: Problem, solution: Solution, comparison: Comparison | None) -> str | None:
    """Why the law cannot describe the points: the wrong way, or a turn that neither it nor a rival has; or None."""
    if reason := shape.misfit(problem, solution.theta, problem.project(solution.theta).linear):
        return reason
    own = diagnostics.aicc(solution.sse, points=len(problem.y), coefficients=len(problem.law.parameters))
    others = () if comparison is None else (rival.aicc for rival in comparison.rivals)
    return shape.turn(problem, below=min([own, *others]) - AICC_REJECTS)


def _can_describe(series: Series, root_weights: Array | None, seed: int) -> Callable[[Law], bool]:
    """Whether the best curve of a law goes the way of the points."""

    def describes(law: Law) -> bool:
        problem = Problem.of(law, series.x, series.y, root_weights=root_weights)
        theta = engine.solve(problem, seed=seed).theta
        return shape.misfit(problem, theta, problem.project(theta).linear) is None

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


def _with_intervals(
    values: Mapping[str, float], profiles: Mapping[str, Profile], draws: bootstrap.Draws | None
) -> dict[str, Coefficient]:
    """The profile's interval where there is one, the bootstrap's elsewhere."""
    found = {}
    for name, value in values.items():
        if name in profiles:
            found[name] = Coefficient(value, *_ends(profiles[name]), method="profile")
        elif draws is not None:
            found[name] = Coefficient(value, *draws.interval(name), method="bootstrap")
        else:
            found[name] = Coefficient(value, float("nan"), float("nan"), method="none")
    return found


def _ends(profile: Profile) -> tuple[float, float]:
    """An open side has no end."""
    low = float("nan") if profile.open_low or profile.excluded else profile.low
    return low, float("nan") if profile.open_high or profile.excluded else profile.high


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
