"""One-step rulers: the score of one family against its sizes.

Draws: with n points and three coefficients, sigma^2 is drawn from SSE / chi^2 with n - 3 degrees of
freedom, scores are redrawn around the curve and refitted. For a straight line this gives exactly Student's
intervals; a family of four sizes has one degree of freedom, and its intervals say so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.curves import OneStepCurve
from sparsity_lab.fitting.density.rulers import sigmoid
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerPoint
from sparsity_lab.fitting.density.scores.benchmarks import chance_of
from sparsity_lab.fitting.density.scores.sizes import SizeConvention, size_of
from sparsity_lab.fitting.density.scores.targets import Target

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)

FEWEST_SIZES = 4
DRAWS = 1000


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

    def curve(self, tasks: Sequence[str]) -> OneStepCurve:
        """The sigmoid of the mean score over `tasks` in ln size, fitted once and kept."""
        key = tuple(sorted(tasks))
        self.require(key)
        if key not in self.curves:
            usable = [p for p in self.points if all(task in p.scores for task in key)]
            sizes = np.array([p.size for p in usable])
            means = np.array([np.mean([p.scores[task] for task in key]) for p in usable])
            fitted = fit_curve(
                sizes, means, tasks=key, floor=float(np.mean([chance_of(task, self.chances) for task in key])),
                ruler=self.name, draws=self.draws, seed=self.seed,
            )  # fmt: skip
            self.curves[key], self.residual_sd[key] = fitted
        return self.curves[key]


def family_ruler(
    family: str,
    targets: Sequence[Target],
    *,
    tasks: Sequence[str],
    convention: SizeConvention,
    seed: int,
    source: str,
    harness: str = "published scores, harness as each source says",
    draws: int = DRAWS,
    chances: Mapping[str, float] | None = None,
) -> OneStepRuler:
    """The ruler of one family's dense models; `chances` are those that the table of names does not have.

    Raises:
        SparsityLabError: fewer than four different sizes with all `tasks`.
    """
    members = [t for t in targets if t.family == family and not t.moe]
    sized = [(target, size_of(target, convention)) for target in members]
    complete = [(t, size) for t, size in sized if size and all(task in t.scores for task in tasks)]
    refuse_few_sizes([size for _, size in complete], family=family, tasks=tasks)
    points = tuple(
        RulerPoint(t.model, size, {task: s.value for task, s in t.scores.items()}, t.identity)
        for t, size in complete
    )
    low, high = min(p.size for p in points), max(p.size for p in points)
    shared = tuple(
        t for t in sorted({t for p in points for t in p.scores}) if all(t in p.scores for p in points)
    )
    return OneStepRuler(
        name=family, tasks=shared, sizes=(low, high), size_unit=convention.unit, params=convention.said,
        harness=harness, source=source, seed=seed, draws=draws, points=points,
        chances=dict(chances or {}),
    )  # fmt: skip


def refuse_few_sizes(sizes: Sequence[float], *, family: str, tasks: Sequence[str]) -> None:
    """Refuse a family whose sizes cannot hold three coefficients.

    Raises:
        SparsityLabError: fewer than four different sizes.
    """
    different = sorted(set(sizes))
    if len(different) < FEWEST_SIZES:
        raise SparsityLabError(
            f"The family {family} is no ruler",
            why=f"It has {len(different)} sizes with {', '.join(tasks)}; a ruler has three coefficients and "
            f"needs at least {FEWEST_SIZES}",
            fix="Name a family with more sizes, or fewer tasks",
        )


def fit_curve(
    sizes: Floats, scores: Floats, *, tasks: Sequence[str], floor: float, ruler: str, draws: int, seed: int
) -> tuple[OneStepCurve, float]:
    """The sigmoid from `floor` through (ln size, mean score), with draws, and its residual standard deviation.

    Raises:
        SparsityLabError: the scores do not grow with size.
    """
    x = np.log(sizes)
    if scores.max() <= floor:
        raise SparsityLabError(
            f"The ruler {ruler} is at chance level on {', '.join(tasks)} at every size",
            fix="Choose easier --tasks, or a family with larger models",
        )
    point = sigmoid.fit(x, scores[None], floor=floor)
    if np.corrcoef(x, scores)[0, 1] <= 0:
        raise SparsityLabError(
            f"The scores of {ruler} do not grow with size on {', '.join(tasks)}",
            fix="Check sizes and scores, or choose other --tasks or another family",
        )
    freedom = max(1, len(x) - sigmoid.FREE_PARAMETERS)
    rng = np.random.default_rng(seed)
    sd = np.sqrt(point.sse[0] / rng.chisquare(freedom, draws))
    fitted = sigmoid.predict(x, floor=floor, span=point.span, gamma=point.gamma, middle=point.middle)
    redrawn = fitted + sd[:, None] * rng.standard_normal((draws, len(x)))
    around = sigmoid.fit(x, redrawn, floor=floor)
    curve = OneStepCurve(
        floor,
        *(np.concatenate(pair) for pair in zip(_coefficients(point), _coefficients(around), strict=True)),
    )
    return curve, float(np.sqrt(point.sse[0] / freedom))


def _coefficients(fit: sigmoid.SigmoidFit) -> tuple[Floats, Floats, Floats]:
    return fit.span, fit.gamma, fit.middle
