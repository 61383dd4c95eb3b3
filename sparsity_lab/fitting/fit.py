"""Fits one law to one series and gathers the evidence for or against it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.holdout import held_out
from sparsity_lab.fitting.judge import rivals, warmup
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.result import Coefficient, FitResult
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.solve.variance import PowerNoise
from sparsity_lab.fitting.solved import (
    IntervalsAsked,
    Judged,
    can_describe,
    draws_of,
    noise_of,
    problem_of,
    solve_and_judge,
)
from sparsity_lab.fitting.spec import FitSpec, choose_law, law_of
from sparsity_lab.fitting.uncertainty import other_text
from sparsity_lab.fitting.uncertainty.intervals import derived
from sparsity_lab.laws._law import FALLING, RISING, Law
from sparsity_lab.settings import AUTO, EVEN


def fit_series(full: Series, spec: FitSpec) -> FitResult:
    """Fit one series, less the warm-up points that `spec` leaves out.

    Raises:
        SparsityLabError: nothing can be held out of it, where that is asked for.
    """
    count, drop_rule = _drop(full, spec)
    series = full.without_leading(count, forward_of(spec, full.inputs))
    law, law_rule, noise, comparison = _chosen(series, spec)
    series = series if noise is None else replace(series, noise=noise.sizes)
    targets = partial(_targets, series, law, spec) if series.inputs == 1 else None
    judged = solve_and_judge(series, law, spec, comparison=comparison, asked=IntervalsAsked(targets=targets))
    problem, solution = judged.problem, judged.solution
    residuals = problem.residuals(solution)
    names = [law.name, *(rival.law for rival in comparison.rivals if rival.law != law.name)]
    sse = float(residuals @ residuals)
    coefficients = {
        name: Coefficient(value, *judged.profiles[name].ends) for name, value in judged.values.items()
    }
    ends = {name: (each.value, each.low, each.high) for name, each in coefficients.items()}
    return FitResult(
        series=series,
        law=law,
        spec=spec,
        solution=solution,
        scale=judged.scale,
        noise=noise,
        verdict=judged.verdict,
        coefficients=coefficients,
        other_text=other_text.of(problem, solution, ends, series.text),
        derived={
            name: Coefficient(each.value, each.low, each.high)
            for name, each in derived(law, judged.profiles).items()
        },
        drop_rule=drop_rule,
        law_rule=law_rule,
        sse=sse,
        condition=judged.condition,
        decades=min(diagnostics.decades(column) for column in series.x.reshape(len(series.y), -1).T),
        lag1=diagnostics.lag1(residuals) if series.inputs == 1 else math.nan,
        aicc=diagnostics.aicc(sse, points=len(series.y), coefficients=len(law.parameters)),
        profiles=judged.profiles,
        drop_sensitivity=_sensitivity(full, law, spec, judged, noise),
        comparison=comparison,
        holdout=None if series.held is None else held_out(series, spec, names),
        fitted=problem.curve(solution),
        draws=draws_of(judged, series, spec),
        band=judged.band,
        reaches=judged.reaches,
    )


def _chosen(series: Series, spec: FitSpec) -> tuple[Law, str, PowerNoise | None, Comparison]:
    """The law to report on, why that one, what its noise is, and the rivals on the points with that noise."""
    even = replace(spec, noise=EVEN)
    comparison = compared(series, even)
    law, rule = choose_law(
        series, even, comparison, describes=partial(can_describe, series=series, spec=even)
    )
    if spec.noise == EVEN:
        return law, rule, None, comparison
    for last in (False, False, True):
        noise = noise_of(law, series, spec)
        assert noise is not None
        wide = replace(series, noise=noise.sizes)
        comparison = compared(wide, spec)
        again, why = choose_law(
            wide, spec, comparison, describes=partial(can_describe, series=wide, spec=spec)
        )
        if last or again.name == law.name:
            break
        law, rule = again, why
    return law, rule, noise, comparison


def compared(series: Series, spec: FitSpec, *, extrapolate: bool = True) -> Comparison:
    """The rivals on the points of a series; those that begin above 0 are left out where an input does not."""
    problems = [problem_of(law, series, spec) for law in rivals_of(series, spec)]
    return rivals.compare(problems, seed=spec.seed, extrapolate=extrapolate)


def forward_of(spec: FitSpec, inputs: int) -> str:
    """Which way x goes as models grow: as the law says that is asked for, or else any of those compared."""
    name = spec.law_name(inputs)
    laws = map(load_law, spec.rival_names(inputs) if name == AUTO else (name,))
    return FALLING if any(law.forward == FALLING for law in laws) else RISING


def rivals_of(series: Series, spec: FitSpec) -> list[Law]:
    """The laws compared on a series: of as many inputs, and such that take all its points."""
    laws = [law_of(name, inputs=series.inputs) for name in spec.rival_names(series.inputs)]
    least = series.x.reshape(len(series.y), -1).min(axis=0)
    return [law for law in laws if all(least[place] > 0 for place in law.positive_inputs)]


def _targets(series: Series, law: Law, spec: FitSpec, values: Mapping[str, float]) -> list[float]:
    """Values of y whose x is reported: those asked for, and half and nine tenths of the way to the limit."""
    limit, last = law.limit(values), float(series.y[0 if law.forward == FALLING else -1])
    low, high = series.y_box
    ways = [last + share * (limit - last) for share in (0.5, 0.9)] if low <= limit <= high else []
    return [*spec.reach, *ways]


def _drop(full: Series, spec: FitSpec) -> tuple[int, str]:
    """How many leading points to leave out, and why."""
    count = spec.drop_for(full.name)
    if count is not None:
        return count, spec.drop_rule
    even = replace(spec, noise=EVEN)
    comparison = compared(full, even, extrapolate=False)
    law, _ = choose_law(full, even, comparison, describes=partial(can_describe, series=full, spec=even))
    noise = noise_of(law, full, spec)
    rows = _sensitivity(full if noise is None else replace(full, noise=noise.sizes), law, spec)
    return warmup.choose(rows), warmup.rule_of(rows)


def _sensitivity(
    full: Series, law: Law, spec: FitSpec, judged: Judged | None = None, noise: PowerNoise | None = None
) -> tuple[warmup.DropRow, ...]:
    """The law without leading points; the noise of those that the fit leaves out is by its curve too."""
    if judged is not None and noise is not None:
        full = replace(full, noise=noise.at(judged.problem.curve(judged.solution, full.x)))
    return tuple(warmup.sensitivity(problem_of(law, full, spec), seed=spec.seed))
