"""Additive counts of a survey: who fired where, and who fired together. Merged by `+`, in any order.

Windows are put into contiguous *units* of equal size, at most `MOST_UNITS` of them, so that nothing grows with the
text; a last unit may hold fewer windows. The first half of the units is the part that clusters are found on, the
second half the part they are judged on. Pairs are counted among the *chosen* neurons of a layer: all of them, or a
seeded sample of so many where F is larger; and, in eighths of the text, among a few of these, the *sketch*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.search.counts import Additive, Floats, Ints

MOST_UNITS = 64
EIGHTHS = 8
SKETCH_NEURONS = 256


@dataclass(frozen=True)
class Layout:
    """Which windows belong together, and which neurons' pairs are counted.

    Attributes:
        windows: of the text.
        unit_windows: windows of one unit.
        chosen: of each layer, increasing indices of neurons, int64 [C].
        sketched: of each layer, places among the chosen, increasing, int64 [c].
    """

    windows: int
    unit_windows: int
    chosen: tuple[Ints, ...]
    sketched: tuple[Ints, ...]

    @classmethod
    def of(cls, sizes: Ints, *, windows: int, unit_windows: int, most_neurons: int, seed: int) -> Layout:
        """The layout of a text and a model's layers of `sizes` neurons; the same seed chooses the same neurons."""
        chosen, sketched = [], []
        for layer, size in enumerate(sizes.tolist()):
            generator = np.random.default_rng((seed, layer))
            chosen.append(_sample(generator, size, most_neurons))
            sketched.append(_sample(generator, len(chosen[-1]), SKETCH_NEURONS))
        return cls(windows, unit_windows, tuple(chosen), tuple(sketched))

    @property
    def units(self) -> int:
        """How many units there are."""
        return -(-self.windows // self.unit_windows)

    @property
    def first_units(self) -> int:
        """How many of them make the first part."""
        return max(1, self.units // 2)

    @property
    def second_rows(self) -> Ints:
        """Windows of the second part."""
        return np.arange(self.first_units * self.unit_windows, self.windows)

    def unit_of(self, rows: Ints) -> Ints:
        """The unit of each window."""
        return rows // self.unit_windows

    def part_of(self, rows: Ints) -> Ints:
        """0 for windows of the first part, 1 for those of the second."""
        return (self.unit_of(rows) >= self.first_units).astype(np.int64)

    def eighth_of(self, rows: Ints) -> Ints:
        """Which eighth of the text each window lies in; four in each part where there are eight units."""
        return eighths(self.unit_of(rows), units=self.units, first_units=self.first_units)


@dataclass(frozen=True)
class SurveyCounts(Additive):
    """What one sparse pass counted over valid tokens. N is the number of neurons of all layers side by side.

    Attributes:
        windows: int64 [units], windows seen.
        fired: int64 [units, N], tokens each neuron fired on.
        size_sum: float64 [units, N], sum of ||n_i|| = |a_i| w_i over the tokens it fired on.
        together: of each layer, int64 [2 parts, C, C], tokens two chosen neurons both fired on; own firings on
            the diagonal.
        sketch: of each layer, int64 [8, c, c], the same by eighths of the text among the sketched neurons.
    """

    windows: Ints
    fired: Ints
    size_sum: Floats
    together: tuple[Ints, ...]
    sketch: tuple[Ints, ...]


def eighths(unit: Ints, *, units: int, first_units: int) -> Ints:
    """The eighth of the text that each of some units lies in; four are of the first part."""
    half = EIGHTHS // 2
    second = half + (unit - first_units) * half // max(units - first_units, 1)
    return np.where(unit < first_units, unit * half // first_units, second)


def unit_windows(tokens: int, *, window: int) -> int:
    """Windows of one unit where so many tokens are wanted of every text."""
    return max(1, -(-(tokens // window) // MOST_UNITS))


def _sample(generator: np.random.Generator, size: int, most: int) -> Ints:
    if size <= most:
        return np.arange(size)
    return np.sort(generator.choice(size, most, replace=False))
