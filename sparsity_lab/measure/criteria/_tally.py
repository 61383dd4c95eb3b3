"""The dense run of criteria that need no CETT: its losses and its zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.thresholds.cett_passes import bias_free_norms


class Tally(BatchVisitor):
    """Counts exactly non-zero activations and tokens with a zero output, window by window."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        layers = len(subject.sites)
        self.sums = DenseSums.empty(subject.windows.count, layers, 0)
        self.batch: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Tally one site."""
        a, y = self.subject.valid(a), self.subject.valid(y)
        zero = (bias_free_norms(site, y) == 0).sum(dim=1) - self.subject.absent(site)
        self.batch[site.layer] = ((a != 0).sum(dim=(1, 2)), zero)

    def end(self, rows: Ints) -> None:
        """Bring this batch's tallies to the host."""
        parts = [part for part in self.batch if part is not None]
        self.sums.nonzero[rows] = torch.stack([p[0].cpu() for p in parts], dim=1).numpy()
        self.sums.zero_outputs[rows] = torch.stack([p[1].cpu() for p in parts], dim=1).numpy()


def dense_run(subject: Subject, rows: Ints, visitor: BatchVisitor, *, label: str) -> Counts:
    """Pass the windows `rows` densely under a visitor; their losses."""
    return subject.counts(rows, subject.losses(rows, visitor=visitor, label=label, outputs=True))
