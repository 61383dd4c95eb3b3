"""From a dense run to thresholds of equal CETT: eps_l(c), the largest eps whose mean CETT is <= c.

CETT of one token (ReLU^2 Wins, arXiv 2402.03804, eq. 3; Sparsing Law, arXiv 2411.02335, eq. 2):
||sum over dropped i of a_i W_d[:, i]|| / ||y||, the norm of the sum, bias excluded. Its mean over valid
tokens is nearly monotone in eps and nearly a power of it, so a few edges a layer around the answer,
interpolated in log eps against log c, give eps to better than 1e-4. A pilot on part of the text, its tails
seen through a random projection, says where those edges go; the answer comes from exact tails of all tokens.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from sparsity_lab.kernels.tail_norms import tail_norms
from sparsity_lab.measure.counts import Counts, DenseSums, Floats, Ints
from sparsity_lab.measure.sites import FfnSite
from sparsity_lab.measure.subject import BatchVisitor, Subject

PILOT_EDGES = 48
PILOT_DECADES = (-5.0, 0.3)
ROUTED_DECADES = (-6.0, 3.0)
PROJECTION_ROWS = 64
EXACT_EDGES = 8
FINE_BINS = 1024
EVENTS_AT_ONCE = 8192
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class CettCurves:
    """Mean CETT against threshold, layer by layer.

    Attributes:
        edges: float64 [layers, edges], thresholds on the score, increasing.
        cett: float64 [layers, edges], mean CETT at each.
        reached: bool [layers], False for experts to which no token was routed: their threshold is 0.
        top: float64 [layers], share of tokens whose output is not zero: CETT once everything is dropped.
        resolved: whether every step of the curves is an edge, so that nothing is left to interpolate.
    """

    edges: Floats
    cett: Floats
    reached: NDArray[np.bool_]
    top: Floats
    resolved: bool = False

    def thresholds(self, c: float) -> list[float]:
        """eps_l(c) of each layer, float32 values; 0 at c = 0, everything is dropped at c = 1."""
        if c <= 0 or c >= 1:
            return [0.0 if c <= 0 else LARGEST] * len(self.edges)
        return [self._threshold(layer, c) for layer in range(len(self.edges))]

    def _threshold(self, layer: int, c: float) -> float:
        edges, cett = self.edges[layer], self.cett[layer]
        if not self.reached[layer]:
            return 0.0
        if self.top[layer] <= c:  # a layer that hardly ever fires: all it does may go
            return LARGEST
        if self.resolved and cett[0] <= c:
            return float(np.float32(edges[np.flatnonzero(cett <= c)[-1]]))
        return _invert(edges, cett, c)

    def cover(self, c: float) -> bool:
        """Whether c lies inside the measured part of the curve of every layer that was reached."""
        return c <= 0 or c >= 1 or bool(np.all(self.holds(c)))

    def holds(self, c: float) -> NDArray[np.bool_]:
        """Which layers' curves have c inside their measured part, or no tokens at all, bool [layers]."""
        return ((self.cett[:, 0] <= c) & (self.cett[:, -1] > c)) | (self.top <= c) | ~self.reached


def _invert(edges: Floats, cett: Floats, c: float) -> float:
    # The largest eps with mean <= c inverts the lowest value still to come, which never falls.
    lowest = np.minimum.accumulate(cett[::-1])[::-1]
    rising = (lowest > 0) & np.append(np.diff(lowest) > 0, True)
    x, y = np.log(lowest[rising]), np.log(edges[rising])
    if len(x) < 2:
        return float(np.float32(edges[0]))
    if x[0] <= np.log(c) <= x[-1]:
        return float(np.float32(np.exp(PchipInterpolator(x, y)(np.log(c)))))
    (x0, x1), (y0, y1) = (x[:2], y[:2]) if np.log(c) < x[0] else (x[-2:], y[-2:])
    return float(np.float32(np.exp(y0 + (y1 - y0) * np.clip((np.log(c) - x0) / (x1 - x0), -20, 3))))


def pilot_curves(subject: Subject, rows: NDArray[np.int64], *, seed: int) -> tuple[CettCurves, Counts]:
    """Rough curves over the whole range of scores, and the dense losses of the windows `rows`."""
    visitor = _CettVisitor(subject, edges=None, projection_seed=seed)
    return _dense_pass(subject, rows, visitor, label="calibrating (pilot)")


def exact_curves(
    subject: Subject, rows: NDArray[np.int64], *, known: CettCurves, low: float, high: float
) -> tuple[CettCurves, Counts, DenseSums]:
    """Exact curves for c from `low` to `high`, the dense losses, and the sums behind them."""
    ends = np.array([known.thresholds(low), known.thresholds(high)], dtype=np.float64)
    edges = np.geomspace(np.maximum(ends[0], 1e-30), np.maximum(ends[1], 2e-30), EXACT_EDGES, axis=1)
    visitor = _CettVisitor(subject, edges=edges, projection_seed=None)
    curves, counts = _dense_pass(subject, rows, visitor, label="calibrating")
    return curves, counts, visitor.sums()


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
        self.norms = [site.column_norms() for site in subject.sites]
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
        whole = output_norms(site, y)
        # Window by window: no edge and no rounding of a product then depends on what else is in the batch.
        ratio = torch.stack([self._summed(site, *window) for window in zip(a, whole, strict=True)])
        zero = (whole == 0).sum(dim=1) - self.subject.absent(site)
        self.parts[site.layer] = (ratio, zero, (a != 0).sum(dim=(1, 2)))

    def _summed(self, site: FfnSite, a: Tensor, whole: Tensor) -> Tensor:
        """Sum over the tokens of one window of their CETT at every edge, float64 [edges]."""
        norms = self.norms[site.layer]
        edges = self.edges[site.layer]
        if edges is None:
            edges = self.edges[site.layer] = _spanning(a, norms, routed=site.routed)
        tails = tail_norms(a, norms, self.weights[site.layer], edges)
        return _ratio(tails.double(), whole.double().unsqueeze(-1)).sum(dim=0)

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


def fine_curves(
    subject: Subject,
    rows: NDArray[np.int64],
    *,
    known: CettCurves,
    low: float,
    high: float,
    whole: NDArray[np.bool_] | None = None,
) -> tuple[CettCurves, Counts]:
    """Curves between two near values of c, resolved activation by activation.

    Args:
        subject: model and text.
        rows: indices of the windows.
        known: exact curves that hold both values.
        low, high: the two values of c.
        whole: bool [layers], where to go from end to end of the known curve instead.
    """
    ends = np.array([known.thresholds(low), known.thresholds(high)], dtype=np.float64).T
    if whole is not None:
        ends[whole] = known.edges[whole][:, [0, -1]]
    visitor = _EventVisitor(subject, ends=ends)
    losses = subject.losses(rows, visitor=visitor, label="calibrating (fine)", outputs=True)
    counts = subject.counts(rows, losses)
    return visitor.curves(counts.reached.sum(axis=0), top=known.top), counts


class _EventVisitor(BatchVisitor):
    """Follows each token's tail through every score between two near thresholds.

    Between edges the mean CETT moves by jumps, one an activation. Where the two ends are a percent or two
    apart few activations lie between them, so each jump can be had: the tails below the lower end by one
    product, then the columns of the few activations between, in order of their score. The jumps are summed
    into narrow bins.
    """

    def __init__(self, subject: Subject, *, ends: Floats) -> None:
        self.subject, self.ends = subject, ends
        self.norms = [site.column_norms() for site in subject.sites]
        self.base = np.zeros(len(subject.sites))
        self.jumps = np.zeros((len(subject.sites), FINE_BINS))

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Add this batch's tokens at one site."""
        for window in zip(self.subject.valid(a), self.subject.valid(y), strict=True):
            self._add(site, *window)  # one at a time: see _CettVisitor

    def _add(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Add the tokens of one window."""
        flat, whole = a.float(), output_norms(site, y).double()
        scores = flat.abs() * self.norms[site.layer]
        low, high = (float(np.float32(end)) for end in self.ends[site.layer])
        weight = site.down_weight().float()
        tail = torch.where(scores <= low, flat, 0.0) @ weight.T
        before = _ratio(torch.linalg.vector_norm(tail, dim=-1).double(), whole)
        self.base[site.layer] += float(before.sum())
        token, neuron = ((scores > low) & (scores <= high)).nonzero(as_tuple=True)
        for start, stop in _pieces(token, EVENTS_AT_ONCE):
            events = (token[start:stop], neuron[start:stop])
            jump = _jumps(flat, weight, tail, scores=scores, whole=whole, events=events)
            bins = np.log(scores[events].double().cpu().numpy() / low) / math.log(high / low) * FINE_BINS
            index = np.clip(np.ceil(bins) - 1, 0, FINE_BINS - 1).astype(np.int64)
            self.jumps[site.layer] += np.bincount(index, weights=jump.cpu().numpy(), minlength=FINE_BINS)

    def curves(self, tokens: Ints, *, top: Floats) -> CettCurves:
        """The mean curve over so many tokens of each layer at the edges of the narrow bins."""
        sums = np.concatenate([self.base[:, None], self.jumps], axis=1).cumsum(axis=1)
        ends = np.where(tokens[:, None] > 0, self.ends, (1.0, 2.0))
        edges = np.stack([np.geomspace(low, high, FINE_BINS + 1) for low, high in ends])
        return CettCurves(edges, sums / np.maximum(tokens, 1)[:, None], tokens > 0, top, resolved=True)


def _jumps(
    flat: Tensor,
    weight: Tensor,
    tail: Tensor,
    *,
    scores: Tensor,
    whole: Tensor,
    events: tuple[Tensor, Tensor],
) -> Tensor:
    """What each activation adds to its token's CETT as it joins the tail in order of score, float64 [events]."""
    token, neuron = events
    order = torch.argsort(scores[token, neuron], stable=True)
    order = order[torch.argsort(token[order], stable=True)]
    t, i = token[order], neuron[order]
    columns = (weight[:, i] * flat[t, i]).double().cumsum(dim=1)
    first = torch.ones_like(t, dtype=torch.bool)
    first[1:] = t[1:] != t[:-1]
    starts = torch.nonzero(first).squeeze(1)
    segment = first.long().cumsum(0) - 1
    offsets = torch.cat([columns.new_zeros(columns.shape[0], 1), columns[:, starts[1:] - 1]], dim=1)
    norms = torch.linalg.vector_norm(tail[t].T.double() + columns - offsets[:, segment], dim=0)
    after = _ratio(norms, whole[t])
    before = torch.empty_like(after)
    before[1:] = after[:-1]
    before[starts] = _ratio(torch.linalg.vector_norm(tail[t[starts]].double(), dim=-1), whole[t[starts]])
    unordered = torch.empty_like(after)
    unordered[order] = after - before
    return unordered


def _pieces(token: Tensor, most: int) -> list[tuple[int, int]]:
    """Ranges of events, at most about `most` each, that never part the events of one token."""
    if not token.numel():
        return []
    cuts = torch.nonzero(token[1:] != token[:-1]).squeeze(1).add(1).cpu().numpy()
    ends = [0]
    while token.numel() - ends[-1] > most:
        later = cuts[cuts > ends[-1]]
        within = later[later <= ends[-1] + most]
        following = within[-1] if len(within) else later[0] if len(later) else token.numel()
        ends.append(int(following))
    if ends[-1] < token.numel():
        ends.append(token.numel())
    return list(itertools.pairwise(ends))


def output_norms(site: FfnSite, y: Tensor) -> Tensor:
    """||y|| of each token without the bias, float32 [...]."""
    bias = site.down_bias()
    return torch.linalg.vector_norm((y if bias is None else y - bias).float(), dim=-1)


def _ratio(norms: Tensor, whole: Tensor) -> Tensor:
    """CETT of each token: 0 where the output is zero."""
    return torch.where(whole == 0, 0.0, norms / whole)


def _projected(site: FfnSite, seed: int | None) -> Tensor:
    """W_d [d, F], or a random projection of it [64, F] whose norms are right on average."""
    weight = site.down_weight()
    if seed is None or weight.shape[0] <= PROJECTION_ROWS:
        return weight
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(PROJECTION_ROWS, weight.shape[0], generator=generator) / PROJECTION_ROWS**0.5
    return (mix.to(weight.device) @ weight.float()).to(weight.dtype)


def _spanning(flat: Tensor, norms: Tensor, *, routed: bool) -> Tensor:
    """Log-spaced edges over five decades of score below the largest one of a batch, and a little above it.

    An expert's first batch may hold no token or a weak one, so its edges span activations from 1e-6 to 1e3.
    """
    if routed:
        largest, (low, high) = float(norms.amax()), ROUTED_DECADES
    else:
        largest, (low, high) = float((flat.float().abs() * norms).amax().clamp_min(1e-20)), PILOT_DECADES
    exponents = torch.linspace(low, high, PILOT_EDGES, dtype=torch.float64)
    return (largest * 10.0**exponents).to(dtype=torch.float32, device=flat.device)
