"""Planted worlds whose ruler is of another corpus than the truth: three shipped two-step rulers change places.

One of them is the truth, which gives each model its score from its N^. One is the ruler of the run, and the third is
what a user has besides: the other ruler of one harness, which widens intervals of rho by its ratio to the ruler of the
run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.laws._law import Array

RULERS = ("openlm-c4", "openlm-redpajama", "openlm-refinedweb")
TASK = "hellaswag"


@dataclass(frozen=True)
class Corpora:
    """The ruler of the run, the other one that is at hand, and the truth."""

    ruler: Ruler
    other: Ruler
    truth: Ruler

    @property
    def score(self) -> Callable[[Array], Array]:
        """The true score of an N^, 0 to 1."""
        curve = self.truth.curve((TASK,))
        return lambda size: np.asarray(curve.score(np.log(size)[:, None])[:, 0])

    def ratio(self, score: float) -> float:
        """The N^ of a score by the other ruler over that by the ruler of the run."""
        sizes = [ruler.curve((TASK,)).ln_size(np.array(score))[0] for ruler in (self.other, self.ruler)]
        return float(np.exp(sizes[0] - sizes[1])) if np.isfinite(sizes).all() else 1.0

    def widened(self, measured: Sequence[Density]) -> list[tuple[float, float]]:
        """The interval of each rho, widened by the other ruler; open ends are 0 and infinite."""
        intervals = []
        for density in measured:
            ratio = self.ratio(density.score)
            low, high = density.low or 0.0, np.inf if density.high is None else density.high
            intervals.append((low * min(ratio, 1.0), high * max(ratio, 1.0)))
        return intervals


def corpora_of(number: int) -> Corpora:
    """The rulers of a world; all orders of the three come in turn."""
    orders = list(permutations(RULERS))
    return Corpora(*(_ruler(name) for name in orders[number % len(orders)]))


@cache
def _ruler(name: str) -> Ruler:
    return read_ruler(shipped()[name])
