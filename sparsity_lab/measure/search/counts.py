"""Additive counts of one pass: int64 counts and float64 sums per window, merged by `+`, divided once.

Every array has one row per window of the whole text; a pass over part of it leaves zeros elsewhere, so
that shards, batches and devices merge exactly and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from operator import add
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
A = TypeVar("A", bound="Additive")


@dataclass(frozen=True)
class Additive:
    """Counts that are merged by `+`, field by field; a tuple of arrays, array by array; where there are none, none."""

    def __add__(self: A, other: A) -> A:
        merged = {f.name: _merged(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return replace(self, **merged)


def _merged(ours: Any, theirs: Any) -> Any:
    if ours is None and theirs is None:
        return None
    if isinstance(ours, tuple):
        return tuple(map(add, ours, theirs))
    return ours + theirs


@dataclass(frozen=True)
class Counts(Additive):
    """What one pass over some windows counted.

    Attributes:
        seen: int64 [windows], valid tokens seen (0 where the pass did not go).
        predicted: int64 [windows], next-token predictions.
        loss_nats: float64 [windows], summed loss of those predictions.
        active: int64 [windows, layers], neurons kept, summed over valid tokens.
        reached: int64 [windows, layers], valid tokens that came to each layer: all of them, but for the experts
            of a mixture, each a layer here, those routed to it.
    """

    seen: Ints
    predicted: Ints
    loss_nats: Floats
    active: Ints
    reached: Ints

    @classmethod
    def empty(cls, windows: int, layers: int) -> Counts:
        """Nothing counted yet."""
        return cls(
            np.zeros(windows, np.int64),
            np.zeros(windows, np.int64),
            np.zeros(windows),
            np.zeros((windows, layers), np.int64),
            np.zeros((windows, layers), np.int64),
        )

    @property
    def rows(self) -> Ints:
        """Indices of the windows seen."""
        return np.flatnonzero(self.seen)

    def of(self, rows: Ints) -> Counts:
        """Those of some windows alone."""
        kept = Counts.empty(*self.active.shape)
        for field in fields(kept):
            getattr(kept, field.name)[rows] = getattr(self, field.name)[rows]
        return kept

    def losses_of(self, rows: Ints) -> Counts:
        """The losses of some windows alone."""
        kept = Counts.empty(*self.active.shape)
        for name in ("seen", "predicted", "loss_nats"):
            getattr(kept, name)[rows] = getattr(self, name)[rows]
        return kept

    def mean_loss_nats(self) -> float:
        """Mean loss per prediction, nats."""
        return float(self.loss_nats.sum() / self.predicted.sum())

    def ratio_per_layer(self, sizes: Ints) -> Floats:
        """Activation ratio of each layer, float64 [layers], 0 where no token came; `sizes` is F of each layer."""
        return self.active.sum(axis=0) / np.maximum(self.reached.sum(axis=0) * sizes, 1)

    def activation_ratio(self, sizes: Ints) -> float:
        """Activation ratio over layers, weighted by F and tokens where layers differ in them."""
        return float(self.active.sum() / (self.reached.sum(axis=0) @ sizes))

    def activated_share(self, sizes: Ints) -> float:
        """Active neurons over all neurons there are, those of experts a token was not routed to among them."""
        return float(self.active.sum() / (float(self.seen.sum()) * sizes.sum()))


@dataclass(frozen=True)
class DenseSums(Additive):
    """What a dense run summed: per-token CETT at several thresholds a layer, zeros of both kinds.

    Attributes:
        ratio: float64 [windows, layers, edges], sum over tokens of ||W_d tail|| / ||y||.
        zero_outputs: int64 [windows, layers], tokens with ||y|| = 0, whose ratio is 0.
        nonzero: int64 [windows, layers], exactly non-zero activations.
    """

    ratio: Floats
    zero_outputs: Ints
    nonzero: Ints

    @classmethod
    def empty(cls, windows: int, layers: int, edges: int) -> DenseSums:
        """Nothing summed yet."""
        shape = (windows, layers)
        return cls(np.zeros((*shape, edges)), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
