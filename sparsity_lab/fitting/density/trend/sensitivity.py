"""How the growth A moves with the choices behind it: ruler, D0, task set, models, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Yardstick, densities
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.choice import lenders, rulers_of
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.targets import Target
from sparsity_lab.fitting.density.trend.trend import DensityTrend, fit_trend, trend_points
from sparsity_lab.progress import SILENT, Progress

DRAWS, TREND_DRAWS = 200, 500
D0_FACTORS = (0.1, 10.0)


@dataclass(frozen=True)
class Variation:
    """One choice made otherwise: what is measured by what, and which models join the trend."""

    choice: str
    value: str
    ruler: Ruler
    tasks: tuple[str, ...]
    options: DensityOptions


def sensitivity_rows(
    targets: Sequence[Target], chosen: Variation, *, seed: int, progress: Progress = SILENT
) -> list[dict[str, object]]:
    """One row a variation: the trend when one choice is made otherwise, the rest kept."""
    variations = list(_variations(targets, chosen, seed=seed))
    rows = []
    with progress.track("sensitivity", len(variations)) as advance:
        for variation in variations:
            rows.append(_row(targets, variation, seed=seed))
            advance(1)
    return rows


def _variations(targets: Sequence[Target], chosen: Variation, *, seed: int) -> Iterator[Variation]:
    ruler, tasks, options = chosen.ruler, chosen.tasks, chosen.options
    if isinstance(ruler, OneStepRuler):
        chosen = replace(chosen, ruler=replace(ruler, draws=DRAWS, curves={}, residual_sd={}))
    yield chosen
    if isinstance(ruler, TwoStepRuler):
        for factor in D0_FACTORS:
            moved = replace(ruler, d0_tokens=ruler.d0_tokens * factor)
            yield replace(chosen, choice="D0", value=f"{moved.d0_tokens:.0e} tokens", ruler=moved)
    recipe = RulerRecipe(options.convention, seed, DRAWS)
    for other in rulers_of(lenders(targets, base=options.targets is None), tasks, recipe):
        if other.name != ruler.name:
            yield replace(chosen, choice="ruler", value=other.name, ruler=other)
    several = tasks if len(tasks) > 1 else ()
    for task in several:
        yield replace(
            chosen, choice="tasks", value=f"without {task}", tasks=tuple(t for t in tasks if t != task)
        )
    for task in several:
        yield replace(chosen, choice="tasks", value=f"only {task}", tasks=(task,))
    yield replace(chosen, choice="models", value="with partial tasks", options=replace(options, partial=True))
    if any(target.moe for target in targets):
        for value, active in (("MoE, total", False), ("MoE, active", True)):
            counted = replace(options, mixtures=True, convention=replace(options.convention, active=active))
            yield replace(chosen, choice="parameters", value=value, options=counted)


def _row(targets: Sequence[Target], variation: Variation, *, seed: int) -> dict[str, object]:
    row = {"choice": variation.choice, "value": variation.value}
    tasks, options = variation.tasks, variation.options
    try:
        measured = densities(targets, Yardstick(variation.ruler, options.convention, seed=seed), tasks)
        points = trend_points(measured, tasks=tasks, partial=options.partial, mixtures=options.mixtures)
        return {**row, **trend_columns(fit_trend(points, seed=seed, draws=TREND_DRAWS))}
    except SparsityLabError as error:
        return {**row, "note": error.what}


def without_rows(without: Mapping[str, DensityTrend | None]) -> list[dict[str, object]]:
    """The trend without each lineage, in the same columns."""
    return [
        {"choice": "models", "value": f"without {lineage}",
         **({"note": "no trend left"} if trend is None else trend_columns(trend))}
        for lineage, trend in without.items()
    ]  # fmt: skip


def trend_columns(trend: DensityTrend) -> dict[str, object]:
    """What the table says of a trend."""
    return {
        "models": trend.models,
        "frontier": len(trend.frontier),
        "A_per_day": trend.slope,
        "A_low": trend.interval[0],
        "A_high": trend.interval[1],
        "doubling_days": trend.doubling_days,
    }
