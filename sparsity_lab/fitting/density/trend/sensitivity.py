"""How the growth A moves with the choices behind it: ruler, D0, harness, task set, models, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import DISTILLED, Density, Yardstick, densities
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.options import BUNDLED_SCORES, DensityOptions
from sparsity_lab.fitting.density.rulers.choice import lenders, rulers_of
from sparsity_lab.fitting.density.rulers.disagreement import family_rulers
from sparsity_lab.fitting.density.rulers.one_step import FEWEST_SIZES, OneStepRuler
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores import task_names
from sparsity_lab.fitting.density.scores.score_errors import SourceSpread
from sparsity_lab.fitting.density.scores.targets import Target, harness_of, read_harnesses
from sparsity_lab.fitting.density.trend.entering import TrendPoint, trend_points
from sparsity_lab.fitting.density.trend.published import PUBLISHED
from sparsity_lab.fitting.density.trend.trend import FEWEST_RECORDS, DensityTrend, doubling, fit_trend
from sparsity_lab.fitting.quantiles import binomial_interval
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import bundled

AS_CHOSEN, HARNESS = "as chosen", "harness"
DRAWS, TREND_DRAWS = 200, 500
D0_FACTORS, D0_TOKENS = (0.1, 10.0), (1e12, 5e12)
TASKS, ONLY = "tasks", "only "


@dataclass(frozen=True)
class Variation:
    """One choice made otherwise: what is measured by what, and which models join the trend.

    Attributes:
        choice, value: what is chosen otherwise, and how.
        ruler, tasks, options: of the trend.
        targets, spread: the models, and how far sources of their scores differ.
        distilled: whether only distilled models join, or only others; None for both.
    """

    choice: str
    value: str
    ruler: Ruler
    tasks: tuple[str, ...]
    options: DensityOptions
    targets: Sequence[Target]
    spread: SourceSpread
    distilled: bool | None = None

    @property
    def candidates(self) -> list[Target]:
        """The models that may join; each set of tasks costs a fit, so those that some lack are worth leaving out."""
        if self.options.partial:
            return list(self.targets)
        return [target for target in self.targets if set(self.tasks) <= set(target.scores)]

    def points(self, measured: Sequence[Density]) -> list[TrendPoint]:
        """Those of the densities that join the trend."""
        joining = [d for d in measured if self.distilled in (None, DISTILLED in d.flags)]
        return trend_points(joining, self.options.entering)


Row = dict[str, object]


def sensitivity_rows(
    chosen: Variation, trend: DensityTrend, *, notes: Notes, seed: int, progress: Progress = SILENT
) -> list[Row]:
    """One row a variation: the trend as chosen, then when one choice is made otherwise, the rest kept.

    Args:
        chosen, trend: as chosen.
        notes: get what is to be known of the scores of other harnesses.
        seed: of resampling.
        progress: of the variations.
    """
    if isinstance(chosen.ruler, OneStepRuler):
        chosen = replace(chosen, ruler=chosen.ruler.with_draws(DRAWS))
    variations = list(_variations(chosen, notes=notes, seed=seed))
    rows: list[Row] = [{"choice": chosen.choice, "value": chosen.value, **trend_columns(trend)}]
    done: dict[object, tuple[Density, ...]] = {}
    with progress.track("sensitivity", len(variations)) as advance:
        for variation in variations:
            rows.append(_row(variation, done, seed=seed) if isinstance(variation, Variation) else variation)
            advance(1)
    return rows


def _variations(chosen: Variation, *, notes: Notes, seed: int) -> Iterator[Variation | Row]:
    """The variations; a row where there is nothing to be measured."""
    targets, ruler, tasks, options = chosen.targets, chosen.ruler, chosen.tasks, chosen.options
    if isinstance(ruler, TwoStepRuler):
        moved = {*(ruler.d0_tokens * factor for factor in D0_FACTORS), *D0_TOKENS} - {ruler.d0_tokens}
        for tokens in sorted(moved):
            at_tokens = replace(ruler, d0_tokens=tokens)
            yield replace(chosen, choice="D0", value=f"{tokens:.0e} tokens", ruler=at_tokens)
    chances = ruler.chances if isinstance(ruler, OneStepRuler) else {}
    recipe = RulerRecipe(options.convention, seed, DRAWS, chances=chances)
    for other in rulers_of(lenders(targets, base=options.targets is None), tasks, recipe):
        if other.name != ruler.name:
            yield replace(chosen, choice="ruler", value=other.name, ruler=other)
    yield from _harnesses(chosen, recipe, notes)
    several = tasks if len(tasks) > 1 else ()
    for task in several:
        yield replace(
            chosen, choice=TASKS, value=f"without {task}", tasks=tuple(t for t in tasks if t != task)
        )
    for task in several:
        yield replace(chosen, choice=TASKS, value=f"{ONLY}{task}", tasks=(task,))
    yield from _joining(chosen)


def _harnesses(chosen: Variation, recipe: RulerRecipe, notes: Notes) -> Iterator[Variation | Row]:
    """The scores of each other harness of the table, by its family of the ruler's name, or else by each of its own.

    A family that lacks some of the tasks measures on the others.
    """
    options = chosen.options
    if options.targets is not None and not harness_of(chosen.targets):
        return
    read = read_harnesses(
        bundled.table(options.targets or BUNDLED_SCORES),
        notes=notes,
        tasks=options.tasks,
        models=options.models,
        fewest=FEWEST_SIZES + FEWEST_RECORDS,
    )
    for harness, targets in read:
        if harness in options.harness:
            continue
        if isinstance(targets, SparsityLabError):
            yield {"choice": HARNESS, "value": harness, "note": _why(targets)}
            continue
        named = task_names.renamed(targets, chosen.tasks, notes)
        families = family_rulers(named, chosen.tasks, replace(recipe, harness=harness))
        able = [ruler for ruler in families if set(ruler.tasks) & set(chosen.tasks)]
        for ruler in [ruler for ruler in able if ruler.name == chosen.ruler.name] or able:
            tasks = tuple(task for task in chosen.tasks if task in ruler.tasks)
            lacking = [task for task in chosen.tasks if task not in tasks]
            without = f" without {', '.join(lacking)}" if lacking else ""
            value = f"{harness} by {ruler.name}{without}"
            yield replace(
                chosen,
                choice=HARNESS,
                value=value,
                ruler=ruler,
                tasks=tasks,
                targets=named,
                spread=SourceSpread(),
            )


def _joining(chosen: Variation) -> Iterator[Variation]:
    """Other models in the trend, or other parameters counted."""
    targets, options = chosen.targets, chosen.options
    for value, joining in (
        ("with extrapolated", replace(options, extrapolated=True)),
        ("with the ruler's own", replace(options, references=True)),
        ("with both", replace(options, extrapolated=True, references=True)),
        ("with partial tasks", replace(options, partial=True)),
    ):
        if joining != options:
            yield replace(chosen, choice="models", value=value, options=joining)
    if any(target.distilled for target in targets):
        for value, distilled in (("without distilled", False), ("only distilled", True)):
            yield replace(chosen, choice="models", value=value, distilled=distilled)
    if any(target.moe for target in targets):
        for value, active in (("MoE, total", False), ("MoE, active", True)):
            counted = replace(options, mixtures=True, convention=replace(options.convention, active=active))
            yield replace(chosen, choice="parameters", value=value, options=counted)


def _row(variation: Variation, done: dict[object, tuple[Density, ...]], *, seed: int) -> Row:
    """The trend of one variation; `done` holds the densities of those that differ in who joins the trend alone."""
    row: Row = {"choice": variation.choice, "value": variation.value}
    tasks, options = variation.tasks, variation.options
    measuring = id(variation.ruler), tasks, options.convention, options.partial
    try:
        if measuring not in done:
            yardstick = Yardstick(variation.ruler, options.convention, variation.spread, seed)
            done[measuring] = densities(variation.candidates, yardstick, tasks)
        points = variation.points(done[measuring])
        return {**row, **trend_columns(fit_trend(points, seed=seed, draws=TREND_DRAWS))}
    except SparsityLabError as error:
        return {**row, "note": _why(error)}


def _why(error: SparsityLabError) -> str:
    return ": ".join(filter(None, (error.what, error.why)))


def is_identified(row: Mapping[str, object]) -> bool:
    """Whether a row's growth has a finite interval that leaves out 0."""
    ends = [row.get(key) for key in ("A_low", "A_high")]
    low, high = (float(str(end)) if end is not None else float("nan") for end in ends)
    return bool(np.isfinite([low, high]).all()) and low * high > 0


def identified_sentence(rows: Sequence[Mapping[str, object]]) -> str:
    """The share of tasks of which each alone has an identified growth; empty without trends of single tasks."""
    alone = [row for row in rows if row["choice"] == TASKS and str(row["value"]).startswith(ONLY)]
    if not alone:
        return ""
    identified = [str(row["value"]).removeprefix(ONLY) for row in alone if is_identified(row)]
    low, high = (100 * end for end in binomial_interval(len(identified), len(alone)))
    return (
        f"Growth is identified (its interval is finite and leaves out 0) on {len(identified)} of {len(alone)} tasks "
        f"taken singly{': ' * bool(identified)}{', '.join(identified)}; {100 * len(identified) / len(alone):.0f} % "
        f"(95 % interval {low:.0f} to {high:.0f} %)"
    )


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
        "A_corrected": trend.corrected,
        "A_low": trend.interval[0],
        "A_high": trend.interval[1],
        "doubling_days_corrected": trend.doubling_days,
        "A_per_day": trend.slope,
        "doubling_days": doubling(trend.slope),
    }


def published_rows() -> list[dict[str, object]]:
    """What the publications found, by least squares over records, in the same columns."""
    return [
        {
            "choice": "published",
            "value": f"{found.months:g} months",
            "A_per_day": found.growth,
            "doubling_days": found.days,
            "note": found.source,
        }
        for found in PUBLISHED
    ]
