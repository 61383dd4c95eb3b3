"""Planted worlds whose ruler is of another corpus than the truth: three shipped two-step rulers change places.

One of them is the truth, which gives each model its score from its N^. One is the ruler of the run, and the third is
what a user has besides: the other ruler of one harness, which widens intervals of rho by its ratio to the ruler of the
run, or makes with it an interval for a ruler that is not at hand, by Student's t over the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from scipy.special import stdtrit

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.laws._law import Array

RULERS = ("openlm-c4", "openlm-redpajama", "openlm-refinedweb")
TASK = "hellaswag"
# Half the 95 % interval of a third value over the distance of two: t of one degree of freedom times sqrt(1 + 1/2) times
# their standard deviation, which is the distance over sqrt(2).
THIRD = float(stdtrit(1, 0.975) * np.sqrt(1.5 / 2))


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

    def held(self, measured: Sequence[Density], truths: Mapping[str, float]) -> dict[str, list[bool]]:
        """Whether each rho lies within its interval with the other ruler's part, for both kinds of intervals."""
        true = [truths[density.target.model] for density in measured]
        kinds = {
            "density rho, widened by a third corpus": self.widened(measured),
            "density rho, Student's t over two corpora": self.by_student(measured),
        }
        return {
            kind: [low <= truth <= high for truth, (low, high) in zip(true, intervals, strict=True)]
            for kind, intervals in kinds.items()
        }

    def widened(self, measured: Sequence[Density]) -> list[tuple[float, float]]:
        """The interval of each rho, widened by the other ruler; open ends are 0 and infinite."""
        intervals = []
        for density in measured:
            ratio = self.ratio(density.score)
            low, high = density.low or 0.0, np.inf if density.high is None else density.high
            intervals.append((low * min(ratio, 1.0), high * max(ratio, 1.0)))
        return intervals

    def by_student(self, measured: Sequence[Density]) -> list[tuple[float, float]]:
        """The interval of each rho for one more ruler, if rulers' ln N^ are normal; open ends are 0 and infinite.

        The length of the interval by the ruler of the run is added in quadrature on each side.
        """
        intervals = []
        for density in measured:
            low, high = density.low or 0.0, np.inf if density.high is None else density.high
            if density.rho is not None:
                ln_ratio = float(np.log(self.ratio(density.score)))
                half, middle = THIRD * abs(ln_ratio), density.rho * np.exp(ln_ratio / 2)
                below = np.log(density.rho / low) if low else np.inf
                low = float(middle * np.exp(-np.hypot(half, below)))
                high = float(middle * np.exp(np.hypot(half, np.log(high / density.rho))))
            intervals.append((low, high))
        return intervals


def corpora_of(number: int) -> Corpora:
    """The rulers of a world; all orders of the three come in turn."""
    orders = list(permutations(RULERS))
    return Corpora(*(_ruler(name) for name in orders[number % len(orders)]))


@cache
def _ruler(name: str) -> Ruler:
    return read_ruler(shipped()[name])
