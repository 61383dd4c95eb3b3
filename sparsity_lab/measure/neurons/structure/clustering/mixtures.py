"""Where a mixture's own routers send tokens, and how well a cache of its experts would serve."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.routes import routed_tokens, routes_tapped
from sparsity_lab.measure.neurons.mixtures.segments import cache_size, segment_cache_hits
from sparsity_lab.measure.neurons.structure.counts import Layout
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration


class ExpertVisitor(SparseVisitor):
    """Masks activations, and counts the cache of each layer's experts as routers choose them."""

    def __init__(
        self, subject: Subject, calibration: Calibration, layout: Layout, *,
        segments: tuple[int, ...], cache_ratio: float,
    ) -> None:  # fmt: skip
        super().__init__(subject.sites, calibration)
        self.subject, self.layout = subject, layout
        self.segments, self.cache_ratio = segments, cache_ratio
        self.layers = layers_of(subject)
        self.needs = np.zeros((layout.units, len(self.layers)), np.int64)
        self.hits = np.zeros((layout.units, len(self.layers), len(segments)), np.int64)
        self.used = [0] * len(self.layers)
        self.rows: Ints = np.zeros(0, np.int64)

    def begin(self, rows: Ints) -> None:
        """Note which windows are about to pass."""
        self.rows = rows

    def routed(self, layer: int, chosen: Tensor) -> None:
        """Count one layer's choices, int64 [windows * positions, k]."""
        experts = int(self.layers[layer].num_experts)
        choice = chosen.view(len(self.rows), -1, chosen.shape[-1])
        routes = routed_tokens(self.subject.valid(choice), experts=experts)
        size = cache_size(experts, chosen.shape[-1], ratio=self.cache_ratio)
        self.used[layer] = chosen.shape[-1]
        unit = self.layout.unit_of(self.rows)
        np.add.at(self.needs[:, layer], unit, routes.sum(dim=(1, 2)).cpu().numpy())
        for index, segment in enumerate(self.segments):
            hits = segment_cache_hits(routes, size=size, segment=segment)
            np.add.at(self.hits[:, layer, index], unit, hits.cpu().numpy())


def layers_of(subject: Subject) -> list[Any]:
    """The modules that hold a layer's experts, in order."""
    return [router.module for router in ModelLayers.of(subject.sites).routers]


def expert_pass(
    subject: Subject, calibration: Calibration, *,
    layout: Layout, segments: tuple[int, ...], cache_ratio: float,
) -> ExpertVisitor:  # fmt: skip
    """One sparse pass over the second part of a text, in which the routers' choices are seen.

    Raises:
        SparsityLabError: experts whose choices do not pass where they can be seen.
    """
    visitor = ExpertVisitor(subject, calibration, layout, segments=segments, cache_ratio=cache_ratio)
    with routes_tapped(visitor.layers, lambda layer, chosen, _: visitor.routed(layer, chosen)):
        subject.losses(layout.second_rows, visitor=visitor, label="routes")
    return visitor
