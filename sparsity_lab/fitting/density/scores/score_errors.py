"""How far a score may be from the truth: finitely many questions, and sources that disagree.

Two published numbers for one model and task differ by little or by a lot (another prompt, another number of
shots), so the second part is not Gaussian: it is drawn from the differences actually seen between a cell's
sources and the one that is used, with either sign, and for a cell with one source from those of all cells
of its task. Where a table states a standard error, that is used instead of the count of questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sparsity_lab.fitting.density.scores.benchmarks import benchmark
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore
from sparsity_lab.laws._law import Array

ONE_SIGMA = 0.6827
FEWEST_DIFFERENCES = 10


@dataclass(frozen=True)
class SourceSpread:
    """Differences between published sources and the preferred one, per task, as fractions."""

    by_task: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, targets: Iterable[Target]) -> SourceSpread:
        """Collect the differences of every cell that has more than one source."""
        pooled: dict[str, list[float]] = {}
        for target in targets:
            for task, score in target.scores.items():
                if len(score.published) > 1:
                    pooled.setdefault(task, []).extend(v - score.value for v in score.published)
        return cls({task: tuple(d) for task, d in pooled.items() if len(d) >= FEWEST_DIFFERENCES})

    def differences(self, task: str, score: TaskScore) -> Sequence[float]:
        """What the source part of one cell's error is drawn from; empty where nothing is known."""
        if len(score.published) > 1:
            return [value - score.value for value in score.published]
        return self.by_task.get(task, ())


def error_draws(
    score: TaskScore, *, task: str, spread: SourceSpread, count: int, rng: np.random.Generator
) -> Array:
    """Draws of a score's error, shape (count,), in 0-to-1 units."""
    differences = np.asarray(spread.differences(task, score))
    source = np.zeros(count)
    if differences.size:
        source = rng.choice(differences, count) * rng.choice((-1.0, 1.0), count)
    return source + sampling_se(score, task) * rng.standard_normal(count)


def mean_error_draws(
    scores: Mapping[str, TaskScore], *, spread: SourceSpread, count: int, rng: np.random.Generator
) -> Array:
    """Draws of the error of the mean over tasks; tasks are taken as independent."""
    each = [
        error_draws(s, task=task, spread=spread, count=count, rng=rng) for task, s in sorted(scores.items())
    ]
    return np.asarray(np.mean(each, axis=0))


def one_sigma(draws: Array) -> float:
    """Half-width that holds 68 % of the draws; rare large ones do not rule it as they do the deviation."""
    return float(np.quantile(np.abs(draws), ONE_SIGMA))


def sampling_se(score: TaskScore, task: str) -> float:
    """The stated standard error of a score, 0 to 1, or that of its count of questions; 0 where neither is known."""
    if score.se is not None:
        return score.se
    questions = score.questions or benchmark(task).questions
    if not questions:
        return 0.0
    # One more success and failure each keeps the error of a score of exactly 0 or 1 above nothing.
    share = (score.value * questions + 1) / (questions + 2)
    return float(np.sqrt(share * (1 - share) / questions))
