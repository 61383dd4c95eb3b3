"""How the growth A moves with the choices behind it: ruler, D0, task set, models, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import densities
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.choice import lenders, rulers_of
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.score_errors import SourceSpread
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target
from sparsity_lab.fitting.density.trend.trend import DensityTrend, fit_trend, trend_points
from sparsity_lab.progress import SILENT, Progress

DRAWS = 200
D0_FACTORS = (0.1, 10.0)

COLUMNS = {
    "choice": "choice",
    "value": "value",
    "models": "models",
    "frontier": "frontier",
    "A_per_day": "A per day",
    "A_low": "low",
    "A_high": "high",
    "doubling_days": "doubling (days)",
    "note": "note",
}

Variation = tuple[str, str, Ruler, tuple[str, ...], DensityOptions]


def sensitivity_rows(
    targets: Sequence[Target], ruler: Ruler, *, options: DensityOptions, tasks: tuple[str, ...], seed: int,
    progress: Progress = SILENT,
) -> list[dict[str, object]]:  # fmt: skip
    """One row a variation: the trend when one choice is made otherwise, the rest kept."""
    variations = list(_variations(targets, ruler, options=options, tasks=tasks, seed=seed))
    rows = []
    with progress.track("sensitivity", len(variations)) as advance:
        for variation in variations:
            rows.append(_row(targets, *variation, seed=seed))
            advance(1)
    return rows


def _variations(
    targets: Sequence[Target], ruler: Ruler, *, options: DensityOptions, tasks: tuple[str, ...], seed: int
) -> Iterator[Variation]:
    base = (
        replace(ruler, draws=DRAWS, curves={}, residual_sd={}) if isinstance(ruler, OneStepRuler) else ruler
    )
    yield "as chosen", ruler.name, base, tasks, options
    if isinstance(ruler, TwoStepRuler):
        for factor in D0_FACTORS:
            moved = replace(ruler, d0_tokens=ruler.d0_tokens * factor)
            yield "D0", f"{moved.d0_tokens:.0e} tokens", moved, tasks, options
    convention = options.convention
    lent = lenders(targets, base=options.targets is None)
    others = rulers_of(lent, tasks=tasks, convention=convention, seed=seed, source="", draws=DRAWS)
    for other in others:
        if other.name != ruler.name:
            yield "ruler", other.name, other, tasks, options
    for task in tasks if len(tasks) > 1 else ():
        yield "tasks", f"without {task}", base, tuple(t for t in tasks if t != task), options
    for task in tasks if len(tasks) > 1 else ():
        yield "tasks", f"only {task}", base, (task,), options
    yield "models", "with partial tasks", base, tasks, replace(options, partial=True)
    if any(t.moe for t in targets):
        total = replace(convention, active=False)
        yield "parameters", "MoE, total", base, tasks, replace(options, mixtures=True, convention=total)
        active = replace(convention, active=True)
        yield "parameters", "MoE, active", base, tasks, replace(options, mixtures=True, convention=active)


def _row(
    targets: Sequence[Target],
    choice: str,
    value: str,
    ruler: Ruler,
    tasks: tuple[str, ...],
    options: DensityOptions,
    *,
    seed: int,
) -> dict[str, object]:
    row: dict[str, object] = {"choice": choice, "value": value}
    try:
        trend = _trend(targets, ruler, tasks, options, seed=seed)
    except SparsityLabError as error:
        return {**row, "note": error.what}
    return {
        **row,
        "models": trend.models,
        "frontier": len(trend.frontier),
        "A_per_day": trend.slope,
        "A_low": trend.interval[0],
        "A_high": trend.interval[1],
        "doubling_days": trend.doubling_days,
    }


def _trend(
    targets: Sequence[Target], ruler: Ruler, tasks: tuple[str, ...], options: DensityOptions, *, seed: int
) -> DensityTrend:
    convention: SizeConvention = options.convention
    found = densities(targets, ruler, tasks=tasks, convention=convention, spread=SourceSpread({}), seed=seed)
    points = trend_points(found, tasks=tasks, partial=options.partial, mixtures=options.mixtures)
    return fit_trend(points, seed=seed, draws=500)
