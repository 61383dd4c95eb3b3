"""How neurons' roles move along one training run: each checkpoint against the one before it and against the last.

Exploring the Benefit of Activation Sparsity in Pre-training (ICML 2024) compares activation patterns of checkpoints.
Here, on one text:

    frequency      rank correlation over neurons (Spearman) of the share of tokens they fire on
    importance     the same of the mean of ||n_i|| = |a_i| w_i over tokens
    coactivation   correlation over pairs of neurons of one layer of their cosines, averaged over layers

Errors are a jackknife over eighths of the text, both checkpoints on the same ones. Sampling noise alone keeps these
below one; *between halves* is what one checkpoint shows against itself, its first half of the text against its second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.structure.clustering.clusters import cosines
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS
from sparsity_lab.measure.neurons.structure.roles.jackknife import jackknife
from sparsity_lab.measure.search.counts import Floats, Ints

MEASURES = ("frequency", "importance", "coactivation")
SETTLED = 0.9


@dataclass(frozen=True)
class Habits:
    """What a checkpoint's neurons did on one text, by eighths of it.

    Attributes:
        tokens: int64 [8].
        fired: int64 [8, N].
        size_sum: float64 [8, N].
        sketch: of each layer, int64 [8, c, c].
    """

    tokens: Ints
    fired: Ints
    size_sum: Floats
    sketch: tuple[Ints, ...]

    def over(self, eighths: Ints) -> tuple[Floats, Floats, list[Floats]]:
        """Frequency [N], importance [N] and, of each layer, the cosines of all pairs, over some eighths."""
        tokens = max(int(self.tokens[eighths].sum()), 1)
        pairs = []
        for layer in self.sketch:
            similar = cosines(layer[eighths].sum(axis=0))
            pairs.append(similar[np.triu_indices(len(similar), 1)])
        return (
            self.fired[eighths].sum(axis=0) / tokens,
            self.size_sum[eighths].sum(axis=0) / tokens,
            pairs,
        )


def likeness(ours: Habits, theirs: Habits) -> dict[str, Estimate]:
    """How alike two checkpoints are on the same text, by each of `MEASURES`."""

    def value(eighths: Ints) -> Floats:
        return _alike(ours.over(eighths), theirs.over(eighths))

    values, errors = jackknife(value, np.flatnonzero(ours.tokens))
    return {name: Estimate(float(values[i]), float(errors[i])) for i, name in enumerate(MEASURES)}


def between_halves(habits: Habits) -> dict[str, float]:
    """How alike a checkpoint is to itself, first half of the text against second."""
    half, all_eighths = EIGHTHS // 2, np.arange(EIGHTHS)
    values = _alike(habits.over(all_eighths[:half]), habits.over(all_eighths[half:]))
    return dict(zip(MEASURES, values.tolist(), strict=True))


def settles(to_last: Sequence[Estimate], *, level: float = SETTLED) -> int | None:
    """The first checkpoint from which on all later ones are surely (1.96 standard errors) as like the last as `level`.

    Args:
        to_last: of every checkpoint but the last, in order.
        level: a correlation.

    Returns:
        Its index, or None where even the last but one is not.
    """
    settled = None
    for index in range(len(to_last) - 1, -1, -1):
        if not to_last[index].value - 1.96 * to_last[index].se >= level:
            break
        settled = index
    return settled


def _alike(ours: tuple[Floats, Floats, list[Floats]], theirs: tuple[Floats, Floats, list[Floats]]) -> Floats:
    pairs = [correlation(a, b) for a, b in zip(ours[2], theirs[2], strict=True)]
    return np.array(
        [
            correlation(rankdata(ours[0]), rankdata(theirs[0])),
            correlation(rankdata(ours[1]), rankdata(theirs[1])),
            float(np.mean(pairs)),
        ]
    )


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation; 0 where one of the two does not vary."""
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
