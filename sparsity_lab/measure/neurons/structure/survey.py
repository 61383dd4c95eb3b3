"""The first pass: weak neurons masked as `measure` does, the others counted alone and in pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS, Layout, SurveyCounts
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration


class SurveyVisitor(SparseVisitor):
    """Masks activations and counts who is left, by unit of windows, and who with whom, by part of the text."""

    def __init__(self, subject: Subject, calibration: Calibration, layout: Layout) -> None:
        super().__init__(subject.sites, calibration)
        self.subject, self.layout = subject, layout
        self.layers = [_SurveyLayer(site, layout) for site in subject.sites]
        self.windows = np.zeros(layout.units, np.int64)
        self.rows: Ints = np.zeros(0, np.int64)

    def begin(self, rows: Ints) -> None:
        """Note which windows are about to pass."""
        self.rows = rows
        np.add.at(self.windows, self.layout.unit_of(rows), 1)

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        """Count the kept neurons of one site."""
        self.layers[site.layer].add(self.subject.valid(a * keep), self.rows)

    def counts(self) -> SurveyCounts:
        """What was counted, on the host."""
        layers = self.layers
        return SurveyCounts(
            windows=self.windows,
            fired=np.concatenate([layer.fired.cpu().numpy() for layer in layers], axis=1),
            size_sum=np.concatenate([layer.size_sum.cpu().numpy() for layer in layers], axis=1),
            together=tuple(layer.together.cpu().numpy() for layer in layers),
            sketch=tuple(layer.sketch.cpu().numpy() for layer in layers),
        )


class _SurveyLayer:
    """Sums of one layer, on its device."""

    def __init__(self, site: FfnSite, layout: Layout) -> None:
        self.layout, self.device = layout, site.down_weight().device
        self.weights = site.column_norms().double()
        chosen, sketched = layout.chosen[site.layer], layout.sketched[site.layer]
        self.chosen, self.sketched = self._on(chosen), self._on(chosen[sketched])
        self.fired = self._zeros(layout.units, site.intermediate_size)
        self.size_sum = self.fired.double()
        self.together = self._zeros(2, len(chosen), len(chosen))
        self.sketch = self._zeros(EIGHTHS, len(sketched), len(sketched))

    def add(self, masked: Tensor, rows: Ints) -> None:
        """Count one batch of masked activations [windows, tokens, F] of the windows `rows`."""
        keep = masked != 0
        unit = self._on(self.layout.unit_of(rows))
        self.fired.index_add_(0, unit, keep.sum(dim=1))
        self.size_sum.index_add_(0, unit, masked.abs().double().sum(dim=1) * self.weights)
        _add_pairs(self.together, keep[..., self.chosen], self.layout.part_of(rows))
        _add_pairs(self.sketch, keep[..., self.sketched], self.layout.eighth_of(rows))

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.int64, device=self.device)

    def _on(self, values: Ints) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _add_pairs(sums: Tensor, keep: Tensor, group: Ints) -> None:
    """Add to sums [groups, C, C] how often pairs fire together, of masks [windows, tokens, C] of these groups.

    A batch holds far fewer than 2^24 tokens, so the float32 product is a whole number, exactly.
    """
    for part_index in np.unique(group):
        part = keep[torch.from_numpy(group == part_index).to(keep.device)].flatten(0, 1).float()
        sums[int(part_index)] += (part.T @ part).to(torch.int64)


def survey(
    subject: Subject, calibration: Calibration, *, layout: Layout, rows: Ints | None = None
) -> SurveyCounts:
    """One sparse pass over the windows `rows` (all of them for None); memory does not grow with their number."""
    visitor = SurveyVisitor(subject, calibration, layout)
    subject.losses(subject.all_rows if rows is None else rows, visitor=visitor, label="who fires together")
    return visitor.counts()
