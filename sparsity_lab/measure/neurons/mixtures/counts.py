"""Additive counts by expert and by router; merged by `+`, in which the larger of two largest values stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.search.counts import Additive, Floats, Ints


@dataclass(frozen=True)
class Largest:
    """Largest values, float64 [sites] or [routers]; 0 where nothing came."""

    values: Floats

    def __add__(self, other: Largest) -> Largest:
        return Largest(np.maximum(self.values, other.values))


@dataclass(frozen=True)
class ExpertCounts(Additive):
    """What one sparse pass over some windows counted of a mixture, over valid tokens.

    A site is an expert, a shared expert, or a network that all tokens pass; level n means 2^n tokens. Groups are
    those of `NeuronCounts`. Sequences of an expert are the tokens of a window that came to it, in order.

    Attributes:
        reached: int64 [groups, sites], tokens that came.
        at_hand: int64 [groups, layers], neurons of the sites a token came to, summed over tokens.
        chunk_at_hand: int64 [levels, groups, layers], the same of disjoint chunks of a window's tokens.
        followed: int64 [groups, sites], sum of |S_t| over tokens with a successor in an expert's sequence.
        shared: int64 [groups, sites], sum of |S_t and S_t'|, t' being that successor.
        chunks: int64 [levels, groups, sites], disjoint chunks of an expert's sequence.
        chunk_active: int64 [levels, groups, sites], sum over them of the size of their tokens' union.
        chosen: k of each router, [routers].
        needs: int64 [groups, routers], tokens times experts they went to.
        hits: int64 [segments, groups, routers], how many of these a cache held.
        segment_counts: of each segment length m, int64 [groups, routers, m + 1]: experts and segments with each f.
        segment_counts_of_experts: of each m, int64 [routed sites, m + 1]: segments with each f.
        largest_score: |a_i| w_i, router weight in it, before the mask.
        largest_output: |y_j| of the down projection after the mask, the router weight taken out.
    """

    reached: Ints
    at_hand: Ints
    chunk_at_hand: Ints
    followed: Ints
    shared: Ints
    chunks: Ints
    chunk_active: Ints
    chosen: Largest
    needs: Ints
    hits: Ints
    segment_counts: tuple[Ints, ...]
    segment_counts_of_experts: tuple[Ints, ...]
    largest_score: Largest
    largest_output: Largest
