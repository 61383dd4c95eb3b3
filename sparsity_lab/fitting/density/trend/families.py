"""Resampling by family: models of one family share what their makers do well, so that they err together.

Two schemes, both drawing families first and models of a drawn family after it. Where every model is of a family of
its own, and where all are of one, either is the ordinary resampling of models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.laws._law import Array


class Families:
    """Which of n models belong together, from the name of each one's family."""

    def __init__(self, names: Sequence[str]) -> None:
        known, index = np.unique(np.asarray(names), return_inverse=True)
        self._of_model = index.reshape(-1)
        self._members = [np.flatnonzero(self._of_model == number) for number in range(len(known))]
        self._sizes = np.array([len(members) for members in self._members])

    def __len__(self) -> int:
        return len(self._members)

    def donors(self, rng: np.random.Generator, draws: int) -> NDArray[np.intp]:
        """Whose deficit each model has in each draw, shape (draws, n): every family has those of one drawn family.

        A family is drawn as often as it has models, so that on the whole every deficit is drawn as often as any other.
        """
        models = len(self._of_model)
        drawn = self._of_model[rng.integers(0, models, (draws, len(self)))][:, self._of_model]
        first = np.cumsum(self._sizes) - self._sizes
        within = np.floor(rng.random((draws, models)) * self._sizes[drawn]).astype(np.intp)
        donors: NDArray[np.intp] = np.concatenate(self._members)[first[drawn] + within]
        return donors

    def present(self, rng: np.random.Generator, draws: int) -> NDArray[np.bool_]:
        """Which models a resampled table has, shape (draws, n): as many families, and of each as many models."""
        chosen = rng.multinomial(len(self), np.full(len(self), 1 / len(self)), draws)
        there = np.zeros((draws, len(self._of_model)), dtype=bool)
        for number, members in enumerate(self._members):
            times = chosen[:, number] * len(members)
            there[:, members] = rng.multinomial(times, np.full(len(members), 1 / len(members))) > 0
        return there


def deficit_worlds(days: Array, ln_rho: Array, slope: float, donors: NDArray[np.intp]) -> Array:
    """ln rho of worlds that grow at `slope`, with the deficits of the donors; shape (draws, n)."""
    return slope * days + (ln_rho - slope * days)[donors]
