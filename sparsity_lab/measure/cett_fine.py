"""CETT between two near thresholds, resolved activation by activation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsity_lab.measure.cett_curves import CettCurves
from sparsity_lab.measure.cett_passes import cett_of, output_norms
from sparsity_lab.measure.counts import Counts, Floats, Ints
from sparsity_lab.measure.sites import FfnSite
from sparsity_lab.measure.subject import BatchVisitor, Subject

FINE_BINS = 1024
EVENTS_AT_ONCE = 8192


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
        self.norms = [subject.column_norms(site) for site in subject.sites]
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
        tail = torch.le(scores, low, out=torch.empty_like(flat)).mul_(flat) @ weight.T
        before = cett_of(torch.linalg.vector_norm(tail, dim=-1).double(), whole)
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
    after = cett_of(norms, whole[t])
    before = torch.empty_like(after)
    before[1:] = after[:-1]
    before[starts] = cett_of(torch.linalg.vector_norm(tail[t[starts]].double(), dim=-1), whole[t[starts]])
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
