"""One-step rulers: the score of one family against its sizes.

Draws: with n points and three coefficients, sigma^2 is drawn from SSE / chi^2 with n - 3 degrees of
freedom, scores are redrawn around the curve and refitted. For a straight line this gives exactly Student's
intervals; a family of four sizes has one degree of freedom, and its intervals say so.

Form error: nobody knows that scores are a logistic of ln size, and beyond the reference sizes that is what an N^ rests
on. The family is refitted without its largest sizes, down to four (a family of four down to three), and the scores of
those left out are missed by e at a distance d in ln size from the largest kept; sqrt(sum(e^2 - s^2) / sum(d^2)), with s
the scatter of the points, is the error of the score per unit of ln size. The same at the small end. Draws bend by so
much beyond either end, Student's t with as many degrees of freedom as there are pairs of a cut and a size left out.
Between the reference sizes the points themselves hold the curve, and intervals hold without it
(results/density/planted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.curves import FormErrors, OneStepCurve
from sparsity_lab.fitting.density.rulers import sigmoid
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerPoint, RulerRecipe
from sparsity_lab.fitting.density.rulers.sigmoid import ScoreSigmoid
from sparsity_lab.fitting.density.scores.benchmarks import chance_of
from sparsity_lab.fitting.density.scores.sizes import size_of
from sparsity_lab.fitting.density.scores.targets import Target
from sparsity_lab.laws._law import Array

FEWEST_SIZES = 4
COEFFICIENTS = ("floor", "span", "gamma", "middle")


@dataclass(frozen=True)
class OneStepRuler(Ruler):
    """Score against size; the curve of any mean of tasks is fitted to the reference points on demand.

    `chances` are the scores of guessing, where they are not those of the table of names.
    """

    points: tuple[RulerPoint, ...]
    chances: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    curves: dict[tuple[str, ...], OneStepCurve] = field(default_factory=dict, repr=False, compare=False)
    residual_sd: dict[tuple[str, ...], float] = field(default_factory=dict, repr=False, compare=False)

    form: ClassVar[str] = "one-step"

    @property
    def references(self) -> tuple[str, ...]:
        """Names and identities of the points' models."""
        return tuple(name for point in self.points for name in (point.model, point.identity) if name)

    @property
    def reference_count(self) -> int:
        """How many points."""
        return len(self.points)

    def curve(self, tasks: Sequence[str]) -> OneStepCurve:
        """The sigmoid of the mean score over `tasks` in ln size, fitted once and kept."""
        key = tuple(sorted(tasks))
        self.require(key)
        if key not in self.curves:
            self.curves[key], self.residual_sd[key] = self._fitted(key)
        return self.curves[key]

    def with_draws(self, draws: int) -> OneStepRuler:
        """The same points, to be fitted with so many draws."""
        return replace(self, draws=draws, curves={}, residual_sd={})

    def _fitted(self, tasks: tuple[str, ...]) -> tuple[OneStepCurve, float]:
        """The sigmoid from chance through (ln size, mean score), with draws, and its residual standard deviation.

        Raises:
            SparsityLabError: the scores do not grow with size.
        """
        usable = [p for p in self.points if all(task in p.scores for task in tasks)]
        x = np.log([p.size for p in usable])
        scores = np.array([np.mean([p.scores[task] for task in tasks]) for p in usable])
        floor = float(np.mean([chance_of(task, self.chances) for task in tasks]))
        if scores.max() <= floor:
            raise SparsityLabError(
                f"The ruler {self.name} is at chance level on {', '.join(tasks)} at every size",
                fix="Choose easier --tasks, or a family with larger models",
            )
        if np.corrcoef(x, scores)[0, 1] <= 0:
            raise SparsityLabError(
                f"The scores of {self.name} do not grow with size on {', '.join(tasks)}",
                fix="Check sizes and scores, or choose other --tasks or another family",
            )
        return _with_draws(tuple(zip(x.tolist(), scores.tolist(), strict=True)), floor, self.draws, self.seed)


@lru_cache(maxsize=1024)
def _with_draws(
    points: tuple[tuple[float, float], ...], floor: float, draws: int, seed: int
) -> tuple[OneStepCurve, float]:
    """The sigmoid through (ln size, score), with draws, and its residual standard deviation.

    Kept, since a run meets the same points as a candidate, in the table of sensitivity and among the other rulers.
    """
    x, scores = np.array(points).T
    point, sse = sigmoid.fit(x, scores[None], floor=floor)
    freedom = max(1, len(x) - sigmoid.FREE_PARAMETERS)
    rng = np.random.default_rng(seed)
    sd = np.sqrt(sse[0] / rng.chisquare(freedom, draws))
    redrawn = point.score(x) + sd[:, None] * rng.standard_normal((draws, len(x)))
    around, _ = sigmoid.fit(x, redrawn, floor=floor)
    both = {name: np.concatenate([getattr(c, name) for c in (point, around)]) for name in COEFFICIENTS}
    scatter = float(np.sqrt(sse[0] / freedom))
    bends = []
    for error, pairs in held_out_errors(point, x, scores, scatter=scatter):
        bends.append(np.concatenate([[0.0], error * rng.standard_t(pairs, draws)]))
    return OneStepCurve(**both, form=FormErrors((float(x.min()), float(x.max())), *bends)), scatter


def held_out_errors(
    point: ScoreSigmoid, x: Array, scores: Array, *, scatter: float
) -> list[tuple[float, int]]:
    """Errors of the score per unit of ln size beyond the smallest and the largest size, and the pairs behind each.

    Args:
        point: the sigmoid through all points, coefficients of shape (1,).
        x, scores: ln sizes and scores of the points, shape (n,).
        scatter: standard deviation of the scores about the sigmoid, which is not an error of its form.
    """
    sizes = np.unique(x)
    cuts = range(1, max(2, len(sizes) - FEWEST_SIZES + 1))
    edges = np.array([*(sizes[cut] for cut in cuts), *(sizes[-1 - cut] for cut in cuts)])
    of_large = np.arange(len(edges)) >= len(cuts)
    distance = np.where(of_large[:, None], x - edges[:, None], edges[:, None] - x)
    left_out = distance > 0
    refitted = sigmoid.fit_without(point, x, scores, left_out)
    missed = scores - ScoreSigmoid(*(getattr(refitted, name)[:, None] for name in COEFFICIENTS)).score(
        x[None]
    )
    errors = []
    for side in (~of_large, of_large):
        out = left_out[side]
        excess = np.sum(missed[side][out] ** 2 - scatter**2) / np.sum(distance[side][out] ** 2)
        errors.append((float(np.sqrt(max(excess, 0.0))), len(cuts) * (len(cuts) + 1) // 2))
    return errors


def family_ruler(
    family: str, targets: Sequence[Target], *, tasks: Sequence[str], recipe: RulerRecipe
) -> OneStepRuler:
    """The ruler of one family's dense models.

    Raises:
        SparsityLabError: fewer than four different sizes with all `tasks`.
    """
    points = tuple(
        RulerPoint(target.model, size, {task: s.value for task, s in target.scores.items()}, target.identity)
        for target in targets
        if target.family == family and not target.moe
        and (size := size_of(target, recipe.convention)) and all(task in target.scores for task in tasks)
    )  # fmt: skip
    sizes = sorted({point.size for point in points})
    if len(sizes) < FEWEST_SIZES:
        raise SparsityLabError(
            f"The family {family} cannot be a ruler",
            why=f"It has {len(sizes)} sizes with {', '.join(tasks)}; a ruler has three coefficients and "
            f"needs at least {FEWEST_SIZES}",
            fix="Name a family with more sizes, or fewer tasks",
        )
    return OneStepRuler(
        name=family, tasks=tuple(sorted(set.intersection(*(set(point.scores) for point in points)))),
        sizes=(sizes[0], sizes[-1]), size_unit=recipe.convention.unit, params=recipe.convention.words,
        harness=recipe.harness, source=recipe.source, seed=recipe.seed, draws=recipe.draws, points=points,
        chances=dict(recipe.chances),
    )  # fmt: skip
