"""Dense passes that measure CETT at thresholds: a pilot's over all scores, an exact one around the answer.

The pilot sees part of the text and its tails through a random projection; it says where the exact edges go. The
answer comes from exact tails of all tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsity_lab.kernels.tail_norms import tail_norms
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Counts, DenseSums, Floats
from sparsity_lab.measure.thresholds.cett_curves import CettCurves
from sparsity_lab.measure.thresholds.masks import summed

PILOT_EDGES, ROUTED_EDGES = 24, 48
PILOT_DECADES = (-5.0, 0.3)
ROUTED_DECADES = (-6.0, 3.0)
PROJECTION_ROWS = 64
EDGE_STEP = 1.4  # most of c from one exact edge to the next: eps is then known to 0.5 % below c = 0.3, mostly to 0.2 %
LEAST_EDGES, MOST_EDGES = 3, 16
ALL_EDGES, ALL_DECADES = 48, (1e-8, 1.001)  # edges over all scores, as shares of the largest


def pilot_curves(subject: Subject, rows: NDArray[np.int64], *, seed: int) -> tuple[CettCurves, Counts]:
    """Rough curves over the whole range of scores, and the dense losses of the windows `rows`."""
    visitor = _CettVisitor(subject, edges=None, projection_seed=seed)
    return _dense_pass(subject, rows, visitor, label="calibrating (pilot)")


def exact_curves(
    subject: Subject, rows: NDArray[np.int64], *, known: CettCurves, low: float, high: float
) -> tuple[CettCurves, Counts, DenseSums]:
    """Exact curves for c from `low` to `high`, the dense losses, and the sums behind them.

    From 0 to 1 they span all scores of the text, whatever is known.
    """
    if low <= 0 and high >= 1:
        ends, count = _all_scores(subject, rows), ALL_EDGES
    else:
        ends, count = known.within(low, high), _edge_count(low, high)
    edges = np.geomspace(np.maximum(ends[:, 0], 1e-30), np.maximum(ends[:, 1], 2e-30), count, axis=1)
    visitor = _CettVisitor(subject, edges=edges, projection_seed=None)
    curves, counts = _dense_pass(subject, rows, visitor, label="calibrating")
    return replace(curves, shape=known.shape or known), counts, visitor.sums()


def _all_scores(subject: Subject, rows: NDArray[np.int64]) -> Floats:
    """Thresholds below and above all scores that count, float64 [layers, 2]; passes over the text once."""
    visitor = _LargestVisitor(subject)
    subject.losses(rows, visitor=visitor, label="largest scores")
    largest = np.array([float(score) for score in visitor.largest])
    return np.stack([largest * ALL_DECADES[0], largest * ALL_DECADES[1]], axis=1)


class _LargestVisitor(BatchVisitor):
    """Keeps the largest score of each site."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.largest = [torch.zeros(()) for _ in subject.sites]

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> None:
        scores = self.subject.valid(a).float().abs() * self.subject.column_norms(site)
        if scores.numel():
            self.largest[site.layer] = torch.maximum(
                self.largest[site.layer].to(scores.device), scores.amax()
            )


def _edge_count(low: float, high: float) -> int:
    steps = math.log(high / low) / math.log(EDGE_STEP) if low > 0 else math.inf
    return MOST_EDGES if steps >= MOST_EDGES else max(1 + math.ceil(steps), LEAST_EDGES)


def _dense_pass(
    subject: Subject, rows: NDArray[np.int64], visitor: _CettVisitor, *, label: str
) -> tuple[CettCurves, Counts]:
    losses = subject.losses(rows, visitor=visitor, label=label, outputs=True)
    counts = subject.counts(rows, losses)
    tokens = counts.reached.sum(axis=0)
    sums, most = visitor.sums(), np.maximum(tokens, 1)
    top = 1.0 - sums.zero_outputs.sum(axis=0) / most
    return CettCurves(visitor.edge_values(), sums.ratio.sum(axis=0) / most[:, None], tokens > 0, top), counts


class _CettVisitor(BatchVisitor):
    """Sums per-token CETT at the edges of every layer, window by window."""

    def __init__(self, subject: Subject, *, edges: Floats | None, projection_seed: int | None) -> None:
        self.subject = subject
        self.norms = [subject.column_norms(site) for site in subject.sites]
        self.weights = [_projected(site, projection_seed) for site in subject.sites]
        self.edges: list[Tensor | None] = [None] * len(subject.sites)
        if edges is not None:
            self.edges = [
                torch.tensor(row, dtype=torch.float32, device=norms.device)
                for row, norms in zip(edges, self.norms, strict=True)
            ]
        self.parts: list[tuple[Tensor, Tensor, Tensor] | None] = [None] * len(subject.sites)
        self.total: DenseSums | None = None

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Add this batch's tokens at one site."""
        a, y = self.subject.valid(a), self.subject.valid(y)
        whole = output_norms(site, a, y)
        # Window by window: no edge and no rounding of a product then depends on what else is in the batch.
        ratio = torch.stack([self._summed(site, *window) for window in zip(a, whole, strict=True)])
        zero = (whole == 0).sum(dim=1) - self.subject.absent(site)
        self.parts[site.layer] = (ratio, zero, summed(torch.ne(a, 0.0, out=torch.empty_like(a))))

    def _summed(self, site: FfnSite, a: Tensor, whole: Tensor) -> Tensor:
        """Sum over the tokens of one window of their CETT at every edge, float64 [edges]."""
        norms = self.norms[site.layer]
        edges = self.edges[site.layer]
        if edges is None:
            count = ROUTED_EDGES if any(one.routed for one in self.subject.sites) else PILOT_EDGES
            edges = self.edges[site.layer] = _spanning(a, norms, routed=site.routed, count=count)
        tails = tail_norms(a, norms, self.weights[site.layer], edges)
        return cett_of(tails.double(), whole.double().unsqueeze(-1)).sum(dim=0)

    def end(self, rows: NDArray[np.int64]) -> None:
        """Bring this batch's sums to the host, one transfer per kind."""
        parts = [part for part in self.parts if part is not None]
        ratio, zero, nonzero = (torch.stack([p[k].cpu() for p in parts], dim=1).numpy() for k in range(3))
        if self.total is None:
            self.total = DenseSums.empty(self.subject.windows.count, len(parts), ratio.shape[-1])
        self.total.ratio[rows] = ratio
        self.total.zero_outputs[rows], self.total.nonzero[rows] = zero, nonzero

    def sums(self) -> DenseSums:
        """All sums so far."""
        assert self.total is not None
        return self.total

    def edge_values(self) -> Floats:
        """The thresholds, float64 [layers, edges]."""
        return np.stack([edges.double().cpu().numpy() for edges in self.edges if edges is not None])


def output_norms(site: FfnSite, a: Tensor, y: Tensor) -> Tensor:
    """||W_d a|| of each token, the bias left out, float32 [windows, tokens].

    Args:
        site: where.
        a: the down projection's input [windows, tokens, F].
        y: its output [windows, tokens, d]. In half precision that was rounded, with the bias in it, where tails are
            not: W_d a is formed again, so that dropping everything is a CETT of 1.
    """
    if y.dtype == torch.float32:
        return bias_free_norms(site, y)
    columns = site.down_weight().float().T
    return torch.stack([torch.linalg.vector_norm(tokens.float() @ columns, dim=-1) for tokens in a])


def bias_free_norms(site: FfnSite, y: Tensor) -> Tensor:
    """||y - b_d|| of each token, float32 [...], as exact as the model's dtype."""
    bias = site.down_bias()
    return torch.linalg.vector_norm((y if bias is None else y - bias).float(), dim=-1)


def cett_of(norms: Tensor, whole: Tensor) -> Tensor:
    """CETT of each token: 0 where the output is zero."""
    return torch.where(whole == 0, 0.0, norms / whole)


def _projected(site: FfnSite, seed: int | None) -> Tensor:
    """W_d [d, F], or a random projection of it [64, F] whose norms are right on average."""
    weight = site.down_weight()
    if seed is None or weight.shape[0] <= PROJECTION_ROWS:
        return weight
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(PROJECTION_ROWS, weight.shape[0], generator=generator) / PROJECTION_ROWS**0.5
    return (
        (weight.float().T @ mix.T.to(weight.device)).to(weight.dtype).T
    )  # as the product reads it: column by column


def _spanning(flat: Tensor, norms: Tensor, *, routed: bool, count: int) -> Tensor:
    """Log-spaced edges over five decades of score below the largest one of a batch, and a little above it.

    An expert's first batch may hold no token or a weak one, so its edges span activations from 1e-6 to 1e3.
    """
    if routed:
        largest, (low, high) = float(norms.amax()), ROUTED_DECADES
    else:
        largest, (low, high) = float((flat.float().abs() * norms).amax().clamp_min(1e-20)), PILOT_DECADES
    exponents = torch.linspace(low, high, count, dtype=torch.float64)
    return (largest * 10.0**exponents).to(dtype=torch.float32, device=flat.device)
