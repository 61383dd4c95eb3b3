"""How far rulers disagree on the models they share.

Every ruler that can place a model gives it a density. Two rulers are compared on the tasks that both have, at the same
score, so that their ratio is that of two reference sizes and says nothing of the model. A model that has only some of
these tasks is compared on those. Points alone are compared: the intervals of both are the rulers' own.

Only rulers whose scores are of one harness with the models, or with the ruler of the run, belong to the spread that a
density carries; `density rulers` lists the others too and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density, Yardstick, densities
from sparsity_lab.fitting.density.rulers.choice import lenders
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler, family_ruler
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target, harness_of
from sparsity_lab.fitting.density.scores.task_names import in_words_of

# The points are the same for any number of draws, which tell only how near the ceiling a score's error reaches. So many
# have the rulers of the table of sensitivity, so that each is fitted once; two-step curves take longer to invert.
DRAWS, TWO_STEP_DRAWS = 200, 20
TARGETS_OWN = "the targets' own scores"
SAME, OTHER, UNSTATED = "yes", "no", "not stated"


@dataclass(frozen=True)
class UsableRuler:
    """A ruler that can place some of the models.

    Attributes:
        ruler: with few draws.
        same_harness: whether its scores were made as those of the models: yes, no, or not stated.
    """

    ruler: Ruler
    same_harness: str


@dataclass(frozen=True)
class OtherRulers:
    """The density of one model by the other rulers that can place it.

    Attributes:
        count: of the rulers.
        low, high: the lowest and the highest rho.
        factor: the largest factor by which one of them differs from the ruler of the run once its median factor over
            all models, which is a matter of units, is taken off.
    """

    count: int
    low: float
    high: float
    factor: float


@dataclass(frozen=True)
class RulerPair:
    """Two rulers on the models they share.

    Attributes:
        first, second: their names.
        one_harness: whether the scores of both were made in one way.
        tasks: that both have, under the models' names.
        ratios: rho by the first over rho by the second, of each model that both give a number.
    """

    first: str
    second: str
    one_harness: bool
    tasks: tuple[str, ...]
    ratios: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return float(np.median(list(self.ratios.values())))

    @property
    def interval(self) -> tuple[float, float]:
        """From the 2.5 to the 97.5 % quantile of the ratios over models."""
        low, high = np.exp(np.quantile(np.log(list(self.ratios.values())), [0.025, 0.975]))
        return float(low), float(high)

    @property
    def factor(self) -> float:
        """The median factor by which they differ, at least 1."""
        return factor_of([self])

    def beyond_level(self, model: str) -> float:
        """The factor, at least 1, by which they differ on a model once their median ratio is taken off."""
        return float(np.exp(abs(np.log(self.ratios[model] / self.ratio))))


def factor_of(agreements: Iterable[RulerPair]) -> float:
    """The median factor, at least 1, by which rulers differ, over all pairs and models."""
    ratios = [ratio for agreement in agreements for ratio in agreement.ratios.values()]
    return float(np.exp(np.median(np.abs(np.log(ratios)))))


def factor_beyond_level(agreements: Iterable[RulerPair], share: float = 0.5) -> float:
    """The factor, at least 1, within which a share of pairs and models lie once each pair's median is taken off."""
    factors = [agreement.beyond_level(model) for agreement in agreements for model in agreement.ratios]
    return float(np.exp(np.quantile(np.log(factors), share)))


def rulers_sentence(agreements: Sequence[RulerPair]) -> str:
    """By which factor the other rulers of one harness move a density; empty where there are none."""
    if not agreements:
        return ""
    several = f"{len(agreements)} other rulers of one harness" if len(agreements) > 1 else agreements[0].first
    middle, most = (factor_beyond_level(agreements, share) for share in (0.5, 0.95))
    return (
        f"By {several} a density differs by a median factor of {factor_of(agreements):.2g}. Most of it is the unit, "
        f"which all models share; without it a model moves by a median factor of {middle:.2g}, and 95 % by less than "
        f"{most:.2g}"
    )


def agreement_rows(agreements: Iterable[RulerPair]) -> list[dict[str, object]]:
    """One row a pair of rulers."""
    return [
        {
            "ruler": agreement.first,
            "other": agreement.second,
            "one_harness": agreement.one_harness,
            "models": len(agreement.ratios),
            "tasks": ";".join(agreement.tasks),
            "ratio": agreement.ratio,
            "ratio_low": agreement.interval[0],
            "ratio_high": agreement.interval[1],
            "factor": agreement.factor,
            "factor_beyond_level": factor_beyond_level([agreement]),
        }
        for agreement in agreements
    ]


def light(ruler: Ruler) -> Ruler:
    """The same ruler, as fast as its points allow."""
    return ruler.with_draws(TWO_STEP_DRAWS if isinstance(ruler, TwoStepRuler) else DRAWS)


def usable_rulers(
    targets: Sequence[Target], tasks: Sequence[str], convention: SizeConvention, *, base: bool, seed: int
) -> list[UsableRuler]:
    """Every ruler with some of the tasks: families of the models' own table, of the bundled one, and shipped ones.

    Args:
        targets: the models.
        tasks: under the models' names.
        convention: a ruler whose sizes have another unit is left out.
        base: whether the models are the bundled ones.
        seed: of the families' draws.
    """
    harness = harness_of(targets)
    recipe = RulerRecipe(convention, seed, DRAWS)
    own = recipe if base else replace(recipe, harness=harness or TARGETS_OWN)
    found = [UsableRuler(ruler, SAME) for ruler in family_rulers(targets, tasks, own)]
    if not base and not harness:
        lent = lenders(targets, base=False)
        found += [UsableRuler(ruler, OTHER) for ruler in family_rulers(lent, tasks, recipe)]
    for path in shipped().values():
        ruler = read_ruler(path)
        if ruler.size_unit == convention.unit and in_words_of(ruler.tasks, tasks):
            same = UNSTATED if not harness and not base else SAME if ruler.harness == harness else OTHER
            found.append(UsableRuler(light(ruler), same))
    return found


def family_rulers(targets: Sequence[Target], tasks: Sequence[str], recipe: RulerRecipe) -> list[OneStepRuler]:
    """A ruler of every family with at least four sizes, on those of the tasks that all its dense models have."""
    rulers = []
    for family in sorted({target.family for target in targets}):
        members = [target for target in targets if target.family == family and not target.moe]
        had = [task for task in tasks if members and all(task in member.scores for member in members)]
        try:
            ruler = family_ruler(family, members, tasks=had, recipe=recipe)
        except SparsityLabError:
            continue
        if had:
            rulers.append(replace(ruler, tasks=tuple(had)))
    return rulers


class Placements:
    """Models placed by rulers, each once for a set of tasks."""

    def __init__(self, targets: Sequence[Target], convention: SizeConvention) -> None:
        self.targets, self.convention = targets, convention
        self._known: dict[tuple[str, tuple[str, ...]], dict[str, Density]] = {}

    def rho(self, ruler: Ruler, tasks: Sequence[str]) -> dict[str, float]:
        """rho of the models that a ruler gives a number, on those of the tasks that ruler and model have."""
        return {m: d.rho for m, d in self._placed(ruler, tasks).items() if d.rho is not None}

    def within(self, ruler: Ruler, tasks: Sequence[str]) -> int:
        """How many models have their N^ between a ruler's smallest and its largest size."""
        return sum(d.inversion.measured and not d.inversion.flag for d in self._placed(ruler, tasks).values())

    def _placed(self, ruler: Ruler, tasks: Sequence[str]) -> dict[str, Density]:
        names = in_words_of(ruler.tasks, tasks)
        key = ruler.name, tuple(names.values())
        if key not in self._known:
            placed = {target.model: self._of(target, ruler, names) for target in self.targets}
            self._known[key] = {model: density for model, density in placed.items() if density is not None}
        return self._known[key]

    def _of(self, target: Target, ruler: Ruler, names: Mapping[str, str]) -> Density | None:
        """One model; None where it has no size or no such task, or the ruler has no curve on its tasks."""
        scores = {names[task]: score for task, score in target.scores.items() if task in names}
        try:
            return densities(
                [replace(target, scores=scores)], Yardstick(ruler, self.convention), [*names.values()]
            )[0]
        except SparsityLabError:
            return None

    def agreement(self, first: Ruler, second: Ruler, tasks: Sequence[str]) -> RulerPair | None:
        """Two rulers on the models that both give a number; None where they share no task or no model."""
        shared = tuple(t for t in tasks if all(in_words_of(ruler.tasks, [t]) for ruler in (first, second)))
        by_first, by_second = (self.rho(ruler, shared) if shared else {} for ruler in (first, second))
        ratios = {model: rho / by_second[model] for model, rho in by_first.items() if model in by_second}
        if not ratios:
            return None
        return RulerPair(first.name, second.name, first.harness == second.harness, shared, ratios)


def by_other_rulers(
    measured: Sequence[Density], yardstick: Yardstick, tasks: Sequence[str], *, base: bool
) -> tuple[dict[str, OtherRulers], tuple[RulerPair, ...]]:
    """What the other rulers of one harness make of each model; and each of them against the ruler of the run.

    A ruler that lacks some of a model's tasks moves its rho by the ratio of the two rulers on those it has.
    """
    ruler = yardstick.ruler
    rho = {density.target.model: density.rho for density in measured if density.rho is not None}
    placements = Placements([d.target for d in measured if d.rho is not None], yardstick.convention)
    targets, of_the_run, agreements = [d.target for d in measured], light(ruler), []
    for usable in usable_rulers(targets, tasks, yardstick.convention, base=base, seed=ruler.seed):
        of_one_harness = usable.same_harness == SAME or usable.ruler.harness == ruler.harness
        if usable.ruler.name != ruler.name and of_one_harness:
            agreements.append(placements.agreement(usable.ruler, of_the_run, tasks))
    kept = tuple(agreement for agreement in agreements if agreement is not None)
    return {m: _others(m, r, kept) for m, r in rho.items() if any(m in a.ratios for a in kept)}, kept


def _others(model: str, rho: float, agreements: Sequence[RulerPair]) -> OtherRulers:
    """What the rulers compared with that of the run make of a model whose density is `rho` by that one."""
    able = [agreement for agreement in agreements if model in agreement.ratios]
    by_each = [rho * agreement.ratios[model] for agreement in able]
    factor = max(agreement.beyond_level(model) for agreement in able)
    return OtherRulers(len(able), min(by_each), max(by_each), factor)
