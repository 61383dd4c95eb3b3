"""Are the intervals what they say? Worlds with a known ruler, known densities and a known growth.

Each world has a reference family on a true sigmoid, its scores off by a common scatter; models released
over two years whose ln rho lies below a frontier A t by exponential deficits; and scores off by the
sampling error of their questions. In worlds with families, models of one family share half of the deficit's variance
and a few release dates. In worlds of another form the reference family follows no logistic, and models reach beyond its
sizes at either end; in worlds of another corpus (`planted_corpora.py`) the truth is a two-step ruler of one corpus and
the ruler that of another. The whole way is gone: ruler, densities, frontier, trend, hindcast. A stated 95 % interval
should hold the truth in about 95 % of worlds, a 50 % band half of the maxima; and of the hindcast's forecasts the one
that is right about the world should have the best score: the trend, or no growth since where growth stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from sparsity_lab.bench import planted_corpora
from sparsity_lab.bench.planted_corpora import corpora_of
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density, Yardstick, densities
from sparsity_lab.fitting.density.rulers.one_step import family_ruler
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.rulers.sigmoid import expit
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore
from sparsity_lab.fitting.density.trend.entering import trend_points
from sparsity_lab.fitting.density.trend.forecasts import NO_GROWTH, TREND
from sparsity_lab.fitting.density.trend.hindcast import LEVELS, Hindcast, try_hindcast
from sparsity_lab.fitting.density.trend.trend import fit_trend
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.registry import unknown
from sparsity_lab.settings import WORLD_KINDS, WORLDS
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.bench import PLANTED

TASK = "MMLU"
FAMILY = "reference"
START = date(2023, 1, 1)
# Shares of the span at z = gamma (ln N - middle): one half at z = 0, and at 0.75 z about as steep as a logistic.
LINKS: dict[str, Callable[[Array], Array]] = {
    "logistic": expit,
    "Weibull": lambda z: 1 - np.exp(-np.log(2) * np.exp(0.75 * z)),
    "Gompertz": lambda z: np.exp(-np.log(2) * np.exp(-0.75 * z)),
}


@dataclass(frozen=True)
class World:
    """What is planted. Sizes are counts, `growth` per day, scatter and scores 0 to 1.

    `families` is 0 where deficits are independent; `correlation` is that of two models of one family, which releases
    models on `releases` dates. `own_sizes` bounds N, so that N^ = rho N grows over the days; where None, N^ lies within
    `effective_sizes`, by default within the ruler, and N follows. `link` is the form of the true ruler; with `corpora`
    truth and ruler are two-step rulers of two corpora, and what is said of the reference family has no part. After the
    day `stops` the frontier stays where it is.
    """

    growth: float = float(np.log(2) / 100)
    reference_sizes: tuple[float, ...] = (0.5e9, 1.5e9, 3e9, 7e9, 14e9, 32e9, 72e9, 110e9)
    floor: float = 0.25
    span: float = 0.65
    gamma: float = 0.65
    middle_params: float = 6e9
    scatter: float = 0.01
    models: int = 50
    days: int = 600
    deficit: float = 0.7
    ln_rho_start: float = -1.5
    questions: int = 2000
    families: int = 0
    correlation: float = 0.5
    releases: int = 2
    own_sizes: tuple[float, float] | None = None
    stops: int | None = None
    effective_sizes: tuple[float, float] = (1e9, 60e9)
    link: str = "logistic"
    corpora: bool = False

    def frontier(self, days: Array) -> Array:
        """ln rho of a model without deficit on each day."""
        return self.ln_rho_start + self.growth * (
            days if self.stops is None else np.minimum(days, self.stops)
        )

    def score(self, size: Array) -> Array:
        """The true ruler."""
        z = self.gamma * (np.log(size) - np.log(self.middle_params))
        return np.asarray(self.floor + self.span * LINKS[self.link](z))

    def beyond(self, size: float) -> bool:
        """Whether an N^ lies outside the reference sizes."""
        return not min(self.reference_sizes) <= size <= max(self.reference_sizes)


@dataclass(frozen=True)
class PlantedOutcome:
    """Whether intervals held the truth in one world; rho's per model. Growth is None and NaN without a trend.

    `hindcast` is None where no quarter could be foreseen.
    `beyond` says of each model whether its true N^ lies outside the reference sizes, `by_corpora` of each kind of
    interval with the other corpora in it whether it holds the truth.
    """

    growth_held: bool | None
    growth: float
    rho_held: tuple[bool, ...]
    beyond: tuple[bool, ...] = ()
    by_corpora: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    hindcast: Hindcast | None = None


KINDS = {
    "standard": World(),
    "coarse ruler": World(scatter=0.02),
    "few models": World(models=25),
    "20 families": World(families=20),
    "10 families": World(families=10),
    "growth stopped": World(families=20, models=80, days=1000, stops=400),
    "Weibull ruler": World(families=20, link="Weibull", effective_sizes=(0.1e9, 440e9)),
    "Gompertz ruler": World(families=20, link="Gompertz", effective_sizes=(0.1e9, 440e9)),
    "another corpus": World(families=20, corpora=True, effective_sizes=(0.05e9, 6e9)),
}


def run_planted(
    *, output: Path, worlds: int = WORLDS, kinds: Sequence[str] = WORLD_KINDS, seed: int = 0,
    progress: Progress = SILENT,
) -> list[dict[str, object]]:  # fmt: skip
    """Count how often stated intervals hold planted truths: rows, written to `planted.{csv,md,json}`.

    Raises:
        SparsityLabError: an unknown kind of world.
    """
    prepare_output(output)
    rows: list[dict[str, object]] = []
    for kind in kinds:
        if kind not in KINDS:
            raise unknown(kind, kind="kind of world", known=list(KINDS))
        outcomes = []
        with progress.track(f"planted worlds: {kind}", worlds) as advance:
            for number in range(worlds):
                outcomes.append(live_through(KINDS[kind], seed=seed + number))
                advance(1)
        rows += [{"world": kind, **row} for row in coverage_rows(outcomes, KINDS[kind])]
    planted = {kind: vars(KINDS[kind]) for kind in kinds}
    document = {"kinds": planted, "worlds": worlds, "seed": seed, "rows": rows, "provenance": provenance()}
    PLANTED.write(output, rows)
    write_json(output / "planted.json", document)
    return rows


def live_through(world: World, *, seed: int) -> PlantedOutcome:
    """Make one world, measure it, and look whether the intervals hold."""
    measured, truths = measured_world(world, seed=seed)
    rho_held = tuple(_holds(density, truths[density.target.model]) for density in measured)
    points = trend_points(measured)
    beyond = tuple(world.beyond(truths[density.target.model] * density.size) for density in measured)
    outcome = PlantedOutcome(None, float("nan"), rho_held, beyond)
    if world.corpora:
        outcome = replace(outcome, beyond=(), by_corpora=corpora_of(seed).held(measured, truths))
    try:
        trend = fit_trend(points, seed=seed)
    except SparsityLabError:
        return outcome
    held = trend.interval[0] <= world.growth <= trend.interval[1]
    tried = try_hindcast(points, seed=seed)[0]
    return replace(outcome, growth_held=held, growth=trend.corrected, hindcast=tried)


def measured_world(world: World, *, seed: int) -> tuple[tuple[Density, ...], dict[str, float]]:
    """Make one world and measure it: the densities found, and the true rho of each model."""
    rng = np.random.default_rng(seed)
    recipe = RulerRecipe(seed=seed, draws=500, source="planted")
    if world.corpora:
        corpora = corpora_of(seed)
        ruler, task, score = corpora.ruler, planted_corpora.TASK, corpora.score
    else:
        task, score = TASK, world.score
        ruler = family_ruler(FAMILY, _references(world, rng), tasks=(task,), recipe=recipe)
    targets, truths = _models(world, rng, task=task, score=score)
    return densities(targets, Yardstick(ruler, recipe.convention, seed=seed), (task,)), truths


def coverage_rows(outcomes: list[PlantedOutcome], world: World) -> list[dict[str, object]]:
    """Coverage of A, of each world's first model's rho, of all rho, and of the hindcast's bands."""
    rho = [held for outcome in outcomes for held in outcome.rho_held]
    growth = [held for o in outcomes if (held := o.growth_held) is not None]
    beyond = [h for o in outcomes if o.beyond for h, out in zip(o.rho_held, o.beyond, strict=True) if out]
    further = {"density rho, models beyond the reference sizes": beyond}
    for kind in outcomes[0].by_corpora:
        further[kind] = [held for outcome in outcomes for held in outcome.by_corpora[kind]]
    return [
        *([_row("growth A of the frontier", growth, independent=True)] if world.stops is None else []),
        _row("density rho, one model a world", [o.rho_held[0] for o in outcomes], independent=True),
        _row(f"density rho, all {world.models} models", rho, independent=False),
        *_hindcast_rows([o.hindcast for o in outcomes if o.hindcast], world),
        *(_row(quantity, held, independent=False) for quantity, held in further.items() if held),
    ]


def _hindcast_rows(tried: list[Hindcast], world: World) -> list[dict[str, object]]:
    """How many maxima the bands held where the trend goes on, and in how many worlds the right forecast was best."""
    if not tried:
        return []
    right = TREND if world.stops is None else NO_GROWTH
    best = _row(f"best score of a hindcast: {right}", [h.best == right for h in tried], independent=False)
    rows = [row for each in tried for row in each.rows if row["forecast"] == TREND]
    bands = (
        _row(
            f"maximum of a coming quarter, {level} % band",
            [bool(r[f"held_{level}"]) for r in rows],
            independent=False,
        )
        for level in LEVELS
    )
    return [*(bands if world.stops is None else ()), best]


def _row(quantity: str, held: list[bool], *, independent: bool) -> dict[str, object]:
    """A share; the range is what 95 % coverage gives in 95 % of studies, for independent intervals only."""
    half = 1.96 * np.sqrt(0.95 * 0.05 / len(held))
    return {
        "quantity": quantity,
        "intervals": len(held),
        "held": int(sum(held)),
        "share": float(np.mean(held)),
        "low": float(0.95 - half) if independent else None,
        "high": float(min(0.95 + half, 1)) if independent else None,
    }


def _references(world: World, rng: np.random.Generator) -> list[Target]:
    sizes = np.array(world.reference_sizes)
    scores = np.clip(world.score(sizes) + world.scatter * rng.standard_normal(len(sizes)), 0, 1)
    return [
        Target(f"{FAMILY}-{number}", FAMILY, float(size), {TASK: TaskScore(float(score))})
        for number, (size, score) in enumerate(zip(sizes, scores, strict=True))
    ]


def _models(
    world: World, rng: np.random.Generator, *, task: str, score: Callable[[Array], Array]
) -> tuple[list[Target], dict[str, float]]:
    """Models on random dates with sizes that keep most of them within the ruler; and their true rho."""
    days, deficits, families = _made(world, rng)
    ln_rho = world.frontier(days) - deficits
    smallest, largest = world.own_sizes or world.effective_sizes
    ln_sizes = rng.uniform(np.log(smallest), np.log(largest), world.models)
    effective = np.exp(ln_sizes + ln_rho) if world.own_sizes else np.exp(ln_sizes)
    true_scores = score(effective)
    answered = rng.binomial(world.questions, true_scores) / world.questions
    targets, truths = [], {}
    for number in range(world.models):
        name = f"model-{number}"
        released = START + timedelta(days=int(days[number]))
        scores = {task: TaskScore(float(answered[number]), questions=world.questions)}
        size = float(effective[number] / np.exp(ln_rho[number]))
        targets.append(Target(name, families[number] or name, size, scores, released=released))
        truths[name] = float(np.exp(ln_rho[number]))
    return targets, truths


def _made(world: World, rng: np.random.Generator) -> tuple[Array, Array, list[str]]:
    """Release days, deficits of ln rho and families' names, empty where there are none; shapes (models,).

    A family's deficit and a model's own are exponential; their means share the variance as `correlation` says.
    """
    if not world.families:
        days = rng.integers(0, world.days, world.models).astype(float)
        return days, rng.exponential(world.deficit, world.models), [""] * world.models
    of_model = rng.integers(0, world.families, world.models)
    releases = rng.integers(0, world.days, (world.families, world.releases))
    days = releases[of_model, rng.integers(0, world.releases, world.models)]
    shared = rng.exponential(world.deficit * np.sqrt(world.correlation), world.families)
    alone = rng.exponential(world.deficit * np.sqrt(1 - world.correlation), world.models)
    return (
        days.astype(float),
        shared[of_model] + alone,
        [f"Family{chr(ord('A') + int(family))}" for family in of_model],
    )


def _holds(density: Density, truth: float) -> bool:
    low = density.low if density.low is not None else 0.0
    high = density.high if density.high is not None else np.inf
    return bool(low <= truth <= high)
