"""The sparse run: weakly contributing activations set to zero, the kept ones counted as they pass.

Activations are counted in the sparse run itself: later layers see inputs that earlier drops have changed.
The BOS position is masked like any other and not counted. Exact zeros are inactive at every threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsity_lab.kernels.gated_threshold import gated_threshold
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Counts
from sparsity_lab.measure.thresholds.tau import narrowed, tau


class CountingVisitor(BatchVisitor):
    """A visitor that masks activations and counts those it keeps."""

    batch: list[Tensor | None]

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.batch = [None] * len(subject.sites)
        self.batches: list[NDArray[np.int64]] = []

    def count(self, site: FfnSite, keep: Tensor) -> None:
        """Count the kept neurons of each window at one site, the BOS left out.

        Args:
            site: where.
            keep: [batch, positions, F], bool, or ones and zeros in floating point: many times sooner summed on a CPU.
        """
        self.batch[site.layer] = summed(self.subject.valid(keep))

    def end(self, rows: NDArray[np.int64]) -> None:
        """Bring this batch's counts to the host in one transfer."""
        self.batches.append(torch.stack([c.cpu() for c in self.batch if c is not None], dim=1).numpy())

    @property
    def active(self) -> NDArray[np.int64]:
        """Kept neurons, int64 [windows passed, layers], in the order they passed."""
        return np.concatenate(self.batches)


def sparse_pass(subject: Subject, rows: NDArray[np.int64], *, visitor: CountingVisitor, label: str) -> Counts:
    """Run the windows `rows` under a masking visitor.

    Args:
        subject: model and text.
        rows: indices of the windows.
        visitor: masks and counts.
        label: what to call the pass in the progress report.
    """
    losses = subject.losses(rows, visitor=visitor, label=label)
    counts = subject.counts(rows, losses)
    counts.active[rows] = visitor.active
    return counts


class ThresholdVisitor(CountingVisitor):
    """Zeroes what lies at or below per-neuron thresholds, one threshold on the score |a_i| w_i a layer."""

    def __init__(self, subject: Subject, thresholds: Sequence[float]) -> None:
        super().__init__(subject)
        self.limits = limits(
            subject.sites, thresholds, norms=[subject.column_norms(s) for s in subject.sites]
        )

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        """Mask one site's activations and count the kept ones."""
        limit = self.limits[site.layer]
        if a.is_cuda:
            return self.visit_fused(site, a)
        keep = a.abs().gt_(limit)
        self.count(site, keep)
        return keep.mul_(a)

    def visit_fused(self, site: FfnSite, a: Tensor) -> Tensor:
        """The same mask and counts by one read of the activations."""
        found = gated_threshold(a, None, self.limits[site.layer].float())
        assert found.masked is not None
        per_token = found.per_token.view(*a.shape[:-1], 1)
        self.batch[site.layer] = self.subject.valid(per_token).sum(dim=(1, 2))
        return found.masked


def summed(ones: Tensor) -> Tensor:
    """How many ones each window of [batch, positions, F] has, int64 [batch]; F below 2^24, so that sums are exact."""
    if not ones.is_floating_point():
        return ones.sum(dim=(1, 2))
    return ones.sum(dim=2, dtype=torch.float32).long().sum(dim=1)


def limits(
    sites: Sequence[FfnSite], thresholds: Sequence[float], *, norms: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Thresholds on |a_i| of each site [F], in the model's dtype and on its device.

    Args:
        sites: FFN sites of the model.
        thresholds: eps of each.
        norms: w_i of each where they are at hand, float32 [F].
    """
    known = norms or [site.column_norms() for site in sites]
    return [
        narrowed(tau(eps, norm), site.down_weight().dtype)
        for site, eps, norm in zip(sites, thresholds, known, strict=True)
    ]
