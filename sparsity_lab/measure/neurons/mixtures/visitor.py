"""Counts a mixture's experts and routers while a sparse pass runs; windows do not see each other.

Routers' choices are kept for some windows and their segments are counted for all of these at once: a cache is followed
token by token, so that the steps are few and wide.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons import lanes
from sparsity_lab.measure.neurons.mixtures.counts import ExpertCounts, Largest
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.routes import Routes, routed_tokens
from sparsity_lab.measure.neurons.mixtures.segments import (
    SEGMENTS,
    cache_size,
    segment_cache_hits,
    segment_frequencies,
)
from sparsity_lab.measure.search.counts import Ints

WAITING_TOKENS = 1 << 16  # of windows whose routes wait to be counted together


class ExpertCounter:
    """Fills `ExpertCounts`.

    Args:
        subject: model and text.
        layers: of the model, a mixture.
        routes: of the pass.
        groups, levels: how many, as in `NeuronCounts`.
    """

    def __init__(
        self, subject: Subject, layers: ModelLayers, routes: Routes, *, groups: int, levels: int
    ) -> None:
        self.subject, self.layers, self.routes = subject, layers, routes
        sites, routers = len(layers.sites), len(layers.routers)
        self.reached = np.zeros((groups, sites), np.int64)
        self.at_hand = np.zeros((groups, layers.count), np.int64)
        self.chunk_at_hand = np.zeros((levels, groups, layers.count), np.int64)
        self.followed, self.shared = np.zeros((2, groups, sites), np.int64)
        self.chunks, self.chunk_active = np.zeros((2, levels, groups, sites), np.int64)
        self.largest_score, self.largest_output = np.zeros((2, sites))
        self.chosen = np.zeros(routers)
        self.needs = np.zeros((groups, routers), np.int64)
        self.hits = np.zeros((len(SEGMENTS), groups, routers), np.int64)
        self.segment_counts = tuple(np.zeros((groups, routers, m + 1), np.int64) for m in SEGMENTS)
        routed = sum(site.routed for site in layers.sites)
        self.of_experts = tuple(np.zeros((routed, m + 1), np.int64) for m in SEGMENTS)
        self.waiting: list[tuple[Ints, list[Tensor]]] = []

    def active(self, site: FfnSite, packed: Tensor, group: Ints) -> None:
        """Count a site's active neurons.

        Args:
            site: where.
            packed: words of the masks at their tokens' places [windows, tokens, words], nothing where none came.
            group: of each window, int64 [windows].
        """
        index, layer, size = site.layer, self.layers.of_site[site.layer], site.intermediate_size
        came = self._came(site, packed)
        np.add.at(self.reached[:, index], group, _host(came.sum(dim=1)))
        for level in range(len(self.chunks)):
            chunk = 1 << level
            within = came[:, : came.shape[1] // chunk * chunk].unflatten(1, (-1, chunk)).any(dim=2)
            np.add.at(self.chunk_at_hand[level, :, layer], group, size * _host(within.sum(dim=1)))
        np.add.at(self.at_hand[:, layer], group, size * _host(came.sum(dim=1)))
        self._sequences(index, *_together(packed, came), group)

    def scores(self, site: FfnSite, a: Tensor) -> None:
        """Note the largest score of what a site shows, [batch, places, F]."""
        score = self.subject.valid(a).float().abs() * self.subject.column_norms(site)
        self._raise(self.largest_score, site, score)

    def output(self, site: FfnSite, y: Tensor) -> None:
        """Note the largest output of a site, [batch, places, d]."""
        size = self.subject.valid(y).float().abs()
        if site.routed:
            weight = self.subject.valid(self.routes.weight(site)).float().abs().unsqueeze(-1)
            size = torch.where(weight > 0, size / weight, 0.0)
        self._raise(self.largest_output, site, size)

    def end(self, group: Ints) -> None:
        """Take the routers' choices of the windows that passed; `group` is that of each."""
        chosen = [
            self.subject.valid(self.routes.chosen[index].unflatten(0, (len(group), -1))).to(torch.int16).cpu()
            for index in range(len(self.layers.routers))
        ]
        self.waiting.append((group, chosen))
        if sum(len(rows) for rows, _ in self.waiting) * self.subject.windows.window >= WAITING_TOKENS:
            self._count_segments()

    def counts(self) -> ExpertCounts:
        """What was counted."""
        self._count_segments()
        return ExpertCounts(
            reached=self.reached, at_hand=self.at_hand, chunk_at_hand=self.chunk_at_hand,
            followed=self.followed, shared=self.shared, chunks=self.chunks, chunk_active=self.chunk_active,
            chosen=Largest(self.chosen), needs=self.needs, hits=self.hits, segment_counts=self.segment_counts,
            segment_counts_of_experts=self.of_experts,
            largest_score=Largest(self.largest_score), largest_output=Largest(self.largest_output),
        )  # fmt: skip

    def _came(self, site: FfnSite, packed: Tensor) -> Tensor:
        if not site.routed:
            return torch.ones(packed.shape[:2], dtype=torch.bool, device=packed.device)
        return self.subject.valid(self.routes.came(site, batch=packed.shape[0]).unsqueeze(-1)).squeeze(-1)

    def _sequences(self, index: int, packed: Tensor, length: Tensor, group: Ints) -> None:
        """Count consecutive tokens of an expert: masks [windows, most, words], the first `length` of each window."""
        place = torch.arange(packed.shape[1], device=packed.device)
        active = lanes.per_row(packed)
        followed = (active * (place < length.unsqueeze(1) - 1)).sum(dim=1)
        np.add.at(self.followed[:, index], group, _host(followed))
        both = lanes.per_row(packed[:, 1:] & packed[:, :-1]).sum(dim=1)
        np.add.at(self.shared[:, index], group, _host(both))
        for level, union in enumerate(lanes.unions(packed)):
            whole = length >> level
            size = lanes.per_row(union) * (place[: union.shape[1]] < whole.unsqueeze(1))
            np.add.at(self.chunks[level, :, index], group, _host(whole))
            np.add.at(self.chunk_active[level, :, index], group, _host(size.sum(dim=1)))

    def _raise(self, largest: np.ndarray, site: FfnSite, values: Tensor) -> None:
        if values.numel():
            largest[site.layer] = max(largest[site.layer], float(values.amax()))

    def _count_segments(self) -> None:
        if not self.waiting:
            return
        group = np.concatenate([rows for rows, _ in self.waiting])
        first = 0
        for index, router in enumerate(self.layers.routers):
            chosen = torch.cat([chosen[index] for _, chosen in self.waiting]).long()
            self.chosen[index] = chosen.shape[-1]
            routed = routed_tokens(chosen, experts=len(router.sites))
            np.add.at(self.needs[:, index], group, routed.sum(dim=(1, 2)).numpy())
            size = cache_size(len(router.sites), chosen.shape[-1])
            for place, segment in enumerate(SEGMENTS):
                hits = segment_cache_hits(routed, size=size, segment=segment)
                np.add.at(self.hits[place, :, index], group, hits.numpy())
                f = segment_frequencies(routed, segment=segment).numpy()
                _tally(self.segment_counts[place][:, index], f.reshape(len(f), -1), group)
                here = slice(first, first + len(router.sites))
                _tally(self.of_experts[place][here], np.moveaxis(f, 2, 0).reshape(len(router.sites), -1))
            first += len(router.sites)
        self.waiting = []


def _together(packed: Tensor, came: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of the tokens that came, side by side from the left, [windows, most, words], and how many, [windows]."""
    length = came.sum(dim=1)
    order = (~came).to(torch.int8).argsort(dim=1, stable=True)[:, : max(1, int(length.amax()))]
    return torch.take_along_dim(packed, order.unsqueeze(-1), dim=1), length


def _tally(counts: Ints, f: Ints, rows: Ints | None = None) -> None:
    """Add to counts [rows, m + 1] how often each value is in f, int64 [n, values], row by row or in these rows."""
    of = np.arange(len(f)) if rows is None else rows
    width = counts.shape[1]
    flat = np.bincount((of[:, None] * width + f).ravel(), minlength=counts.size)
    counts += flat.reshape(counts.shape)


def _host(values: Tensor) -> Ints:
    return np.asarray(values.cpu().numpy())
