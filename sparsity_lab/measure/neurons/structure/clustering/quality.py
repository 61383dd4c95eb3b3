"""The second pass: how much of a token's activity lies inside its best m clusters, for many partitions at once.

    inside(m) = sum over tokens of (active neurons in the m clusters that hold most of them) / sum of active neurons

A token *routes* to those of its best clusters that hold an active neuron; what that would mean for a cache of
clusters is counted as the segment cache best hit rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.mixtures.segments import segment_cache_hits
from sparsity_lab.measure.neurons.structure.counts import Layout
from sparsity_lab.measure.search.counts import Additive, Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration

PARTITIONS_AT_ONCE = 32


@dataclass(frozen=True)
class Questions:
    """What is asked of each partition.

    Attributes:
        clusters: of each.
        best: numbers m of best clusters, increasing.
        routed: m of routing.
        segments: tokens looked ahead, for the cache.
        cache_ratio: clusters the cache holds, over `routed`.
        cached_partitions: how many of the partitions, the first ones, are asked for their cache.
    """

    clusters: int
    best: tuple[int, ...]
    routed: int
    segments: tuple[int, ...]
    cache_ratio: float
    cached_partitions: int

    @property
    def cache_size(self) -> int:
        """Clusters the cache holds."""
        return min(self.clusters, max(self.routed, round(self.cache_ratio * self.routed)))


@dataclass(frozen=True)
class QualityCounts(Additive):
    """Counts over the windows of one part, by unit; additive. L layers, P partitions, p of them with a cache.

    Attributes:
        windows: int64 [units].
        active: int64 [units, L], active chosen neurons, summed over tokens.
        inside: int64 [units, L, best, P], those inside the best clusters.
        needs: int64 [units, L, p], clusters routed to, summed over tokens.
        hits: int64 [units, L, segments, p], those found in the cache.
    """

    windows: Ints
    active: Ints
    inside: Ints
    needs: Ints
    hits: Ints


class QualityVisitor(SparseVisitor):
    """Masks activations and counts how the kept ones fall into clusters."""

    def __init__(
        self, subject: Subject, calibration: Calibration, layout: Layout, *,
        partitions: list[Ints], questions: Questions,
    ) -> None:  # fmt: skip
        super().__init__(subject.sites, calibration)
        self.subject, self.layout, self.questions = subject, layout, questions
        self.partitions = [torch.from_numpy(labels) for labels in partitions]
        units, layers = layout.units, len(subject.sites)
        each, cached = len(partitions[0]), questions.cached_partitions
        self.windows = np.zeros(units, np.int64)
        self.active = torch.zeros(units, layers, dtype=torch.int64)
        self.inside = torch.zeros(units, layers, len(questions.best), each, dtype=torch.int64)
        self.needs = torch.zeros(units, layers, cached, dtype=torch.int64)
        self.hits = torch.zeros(units, layers, len(questions.segments), cached, dtype=torch.int64)
        self.unit = torch.zeros(0, dtype=torch.int64)

    def begin(self, rows: Ints) -> None:
        """Note which windows are about to pass."""
        unit = self.layout.unit_of(rows)
        np.add.at(self.windows, unit, 1)
        self.unit = torch.from_numpy(unit)

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        """Count the kept neurons of one site by cluster."""
        chosen = torch.from_numpy(self.layout.chosen[site.layer]).to(a.device)
        keep = self.subject.valid(keep)[..., chosen]
        layer = site.layer
        self.active[:, layer].index_add_(0, self.unit, keep.sum(dim=(1, 2)).cpu())
        for start in range(0, len(self.partitions[layer]), PARTITIONS_AT_ONCE):
            labels = self.partitions[layer][start : start + PARTITIONS_AT_ONCE].to(a.device)
            self._add(layer, keep, labels, first=start)

    def _add(self, layer: int, keep: Tensor, labels: Tensor, *, first: int) -> None:
        """Count a batch of masks [windows, tokens, C] under some partitions [P, C]."""
        ask, each = self.questions, slice(first, first + len(labels))
        counted = by_cluster(keep, labels, clusters=ask.clusters)
        best = best_clusters(counted, most=max(*ask.best, ask.routed))
        sums = best.values.cumsum(dim=-1)[..., [m - 1 for m in ask.best]]
        of_windows = sums.sum(dim=1).to(torch.int64).permute(0, 2, 1)
        self.inside[:, layer, :, each].index_add_(0, self.unit, of_windows.cpu())
        with_cache = min(len(labels), max(0, ask.cached_partitions - first))
        if with_cache:
            self._add_cache(
                layer,
                routes(best, clusters=ask.clusters, routed=ask.routed)[:, :, :with_cache],
                first=first,
            )

    def _add_cache(self, layer: int, routed: Tensor, *, first: int) -> None:
        """Count the cache of routes, bool [windows, tokens, P, clusters]."""
        windows, _, each, _ = routed.shape
        place = slice(first, first + each)
        self.needs[:, layer, place].index_add_(0, self.unit, routed.sum(dim=(1, 3)).cpu())
        rows = routed.permute(0, 2, 1, 3).flatten(0, 1)
        for index, segment in enumerate(self.questions.segments):
            hits = segment_cache_hits(rows, size=self.questions.cache_size, segment=segment)
            self.hits[:, layer, index, place].index_add_(0, self.unit, hits.view(windows, each).cpu())

    def counts(self) -> QualityCounts:
        """What was counted."""
        sums = (self.active, self.inside, self.needs, self.hits)
        return QualityCounts(self.windows, *(counted.numpy() for counted in sums))


@dataclass(frozen=True)
class Best:
    """The clusters of each token that hold most of its active neurons, in order; of equal ones the lower index first.

    Attributes:
        values: float32 [windows, tokens, P, m], active neurons in them.
        indices: int64, which they are.
    """

    values: Tensor
    indices: Tensor


def by_cluster(keep: Tensor, labels: Tensor, *, clusters: int) -> Tensor:
    """Active neurons by cluster, float32 [windows, tokens, P, clusters], exactly."""
    member = functional.one_hot(labels, clusters).permute(1, 0, 2).flatten(1).float()
    return (keep.float() @ member).unflatten(-1, (len(labels), clusters))


def best_clusters(counted: Tensor, *, most: int) -> Best:
    """The best `most` clusters of each token."""
    clusters = counted.shape[-1]
    order = torch.arange(clusters - 1, -1, -1, device=counted.device)
    top = (counted * clusters + order).topk(most, dim=-1)
    return Best((top.values / clusters).floor(), top.indices)


def routes(best: Best, *, clusters: int, routed: int) -> Tensor:
    """Which clusters a token goes to, bool [windows, tokens, P, clusters]: its best that hold an active neuron."""
    used = best.values[..., :routed] > 0
    empty = torch.zeros(*used.shape[:-1], clusters, dtype=torch.bool, device=used.device)
    return empty.scatter_(-1, best.indices[..., :routed], used)


def judge(
    subject: Subject, calibration: Calibration, *,
    layout: Layout, partitions: list[Ints], questions: Questions, rows: Ints | None = None,
) -> QualityCounts:  # fmt: skip
    """One sparse pass over the second part of a text (or the windows `rows`).

    Args:
        subject: model and text; its sites hold no experts.
        calibration: the thresholds.
        layout: parts, units and chosen neurons.
        partitions: of each layer, int64 [P, C], the cluster of each chosen neuron in each partition.
        questions: what is asked.
        rows: windows, increasing; None for the second part.
    """
    visitor = QualityVisitor(subject, calibration, layout, partitions=partitions, questions=questions)
    subject.losses(layout.second_rows if rows is None else rows, visitor=visitor, label="best clusters")
    return visitor.counts()
