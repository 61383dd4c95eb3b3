"""Additive counts of the neurons' doings: int64 counts, and float64 sums of whole numbers, merged by `+`.

Windows are put into at most `GROUPS` contiguous groups, the units of the replicates, so that nothing here grows
with the text. A shard of the windows leaves zeros elsewhere; shards, batches and devices merge exactly and in any
order (squares are whole numbers too, exact in float64 up to 2^53).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.measure.neurons.mixtures.counts import ExpertCounts
from sparsity_lab.measure.search.counts import Additive, Floats, Ints

GROUPS = 32
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class NeuronCounts(Additive):
    """What one pass over some windows counted, over valid tokens.

    N is the number of neurons of all layers side by side, V the vocabulary, T the window; level n means
    2^n tokens. Of a mixture a layer is one of the model, with the neurons of all its experts side by side.

    Attributes:
        windows: int64 [groups], windows seen.
        loss_nats: float64 [groups], summed loss of the sparse run.
        fired: int64 [groups, N], tokens each neuron fired on.
        followed: int64 [groups, layers], sum of |S_t| over tokens with a successor in their window.
        shared: int64 [groups, layers], sum of |S_t and S_{t+1}|.
        chunk_active: int64 [levels, groups, layers], sum over disjoint chunks of the size of their tokens' union.
        prefix_active: int64 [levels, groups, layers], sum over windows of the union of the window's first tokens.
        token_count: int64 [V], occurrences of each token id.
        token_active: int64 [layers, V], neurons active on it, summed over occurrences.
        token_windows: int64 [V], windows it occurs in.
        token_squares: float64 [3, V], sums over windows of S^2, S n and n^2, with n its occurrences in a window and
            S the neurons active on them.
        position_active: int64 [layers, T], active neurons at each position, summed over windows.
        position_square: float64 [T], sum over windows of the squared number of active neurons of all layers.
        experts: of a mixture, what was counted by expert and by router.
    """

    windows: Ints
    loss_nats: Floats
    fired: Ints
    followed: Ints
    shared: Ints
    chunk_active: Ints
    prefix_active: Ints
    token_count: Ints
    token_active: Ints
    token_windows: Ints
    token_squares: Floats
    position_active: Ints
    position_square: Floats
    experts: ExpertCounts | None = None

    @property
    def window(self) -> int:
        """Tokens of one window."""
        return int(self.position_active.shape[1])

    @property
    def tokens(self) -> Ints:
        """Valid tokens of each group, int64 [groups]."""
        return self.windows * self.window

    def active(self, sizes: Ints) -> Ints:
        """Active neurons, summed over tokens, int64 [groups, layers]; `sizes` is F of each layer."""
        return np.stack([part.sum(axis=1) for part in by_layer(self.fired, sizes)], axis=1)


def by_layer(values: NDArray[Number], sizes: Ints) -> list[NDArray[Number]]:
    """[..., N] cut into [..., F] of each layer."""
    return np.split(values, np.cumsum(sizes)[:-1], axis=-1)


def groups_of(rows: Ints, *, windows: int) -> Ints:
    """The group of each window, int64 [rows]; groups are contiguous and differ by one window at most."""
    return rows * min(GROUPS, windows) // windows


def levels_of(window: int) -> int:
    """How many powers of two, including 1, are at most as long as the window."""
    return window.bit_length()
