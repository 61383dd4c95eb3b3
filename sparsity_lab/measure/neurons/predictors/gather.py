"""What predictors learn from: inputs and active sets of a few layers at a time, over the first part of a text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.structure.clustering.projections import inputs_tapped
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration

BYTES_AT_ONCE = 1 << 30


class InputVisitor(SparseVisitor):
    """Masks activations and shows the inputs and the active neurons of each layer to `learn`."""

    def __init__(self, subject: Subject, calibration: Calibration) -> None:
        super().__init__(subject.sites, calibration)
        self.subject = subject
        self.inputs: dict[int, Tensor] = {}

    def note(self, site: FfnSite, x: Tensor) -> None:
        """Remember the input [batch, positions, d] until the neurons pass by."""
        self.inputs[site.layer] = self.subject.valid(x).float()

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        """Bring a layer's inputs and its active neurons together."""
        self.learn(site.layer, self.inputs.pop(site.layer), self.subject.valid(keep))

    def learn(self, layer: int, x: Tensor, active: Tensor) -> None:
        """Take x float32 [windows, tokens, d] and the active neurons bool [windows, tokens, F]; here, nothing does."""

    def run(self, rows: Ints, *, label: str) -> None:
        """Pass the windows `rows` through the sparse model."""
        with inputs_tapped(self.subject.model, self.subject.sites, self.note):
            self.subject.losses(rows, visitor=self, label=label)


class _Gatherer(InputVisitor):
    def __init__(self, subject: Subject, calibration: Calibration, layers: Ints) -> None:
        super().__init__(subject, calibration)
        self.parts: dict[int, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers.tolist()}

    def learn(self, layer: int, x: Tensor, active: Tensor) -> None:
        if layer in self.parts:
            self.parts[layer].append((x.flatten(0, 1), active.flatten(0, 1)))


def gathered(
    subject: Subject, calibration: Calibration, *, rows: Ints
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each layer with its inputs float32 [tokens, d] and active neurons bool [tokens, F], in order of the text.

    As many layers are held at once as a gigabyte takes, one at least; each such lot is a pass over the text.
    """
    tokens = len(rows) * subject.windows.window
    bytes_each = max(
        tokens * (4 * site.down_weight().shape[0] + site.intermediate_size) for site in subject.sites
    )
    at_once = max(1, BYTES_AT_ONCE // bytes_each)
    for start in range(0, len(subject.sites), at_once):
        visitor = _Gatherer(subject, calibration, np.arange(start, min(start + at_once, len(subject.sites))))
        visitor.run(rows, label="inputs")
        for layer, parts in visitor.parts.items():
            yield layer, torch.cat([x for x, _ in parts]), torch.cat([active for _, active in parts])
            parts.clear()
