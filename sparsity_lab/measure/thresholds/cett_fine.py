"""CETT between two near thresholds, resolved activation by activation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Floats, Ints
from sparsity_lab.measure.thresholds.cett_curves import CettCurves
from sparsity_lab.measure.thresholds.cett_passes import cett_of, output_norms

FINE_BINS = 4096
FINE = 7.5e-6  # relative width of a bin that is narrow enough
MOST_PASSES = 4
EVENTS_AT_ONCE = 8192


def resolve(
    subject: Subject, rows: NDArray[np.int64], *, known: CettCurves, c: float, near: Floats
) -> CettCurves:
    """Curves about one value of c, each so fine that the threshold there is known to `FINE` of itself.

    Args:
        subject: model and text.
        rows: indices of the windows.
        known: exact curves that hold c.
        c: the value.
        near: thresholds that ought to lie on either side of it, float64 [layers, 2]. Where few tokens (experts,
            values of c near 1) make a layer's mean jump over both, or leave the bins between them too wide, another
            pass goes between the edges that certainly do.
    """
    ends = near
    for _ in range(MOST_PASSES):
        fine = _fine_curves(subject, rows, ends=ends, known=known)
        spans = np.where(fine.reached[:, None], ends, 1.0)  # experts that no token came to have none
        missed, wide = ~fine.holds(c), np.log(spans[:, 1] / spans[:, 0]) > FINE_BINS * FINE
        if not (missed | wide).any():
            break
        ends = np.where(missed[:, None], known.bracket(c), np.where(wide[:, None], fine.bracket(c), ends))
    return fine


def _fine_curves(subject: Subject, rows: NDArray[np.int64], *, ends: Floats, known: CettCurves) -> CettCurves:
    """Curves between two near thresholds a layer, resolved activation by activation."""
    visitor = _EventVisitor(subject, ends=ends)
    losses = subject.losses(rows, visitor=visitor, label="calibrating (fine)", outputs=True)
    tokens = subject.counts(rows, losses).reached.sum(axis=0)
    return visitor.curves(tokens, top=known.top)


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
        self.events = np.zeros(len(subject.sites), np.int64)

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Add this batch's tokens at one site."""
        a, y = self.subject.valid(a), self.subject.valid(y)
        for window in zip(a, output_norms(site, a, y), strict=True):
            self._add(site, *window)  # one at a time: see _CettVisitor

    def _add(self, site: FfnSite, a: Tensor, norms: Tensor) -> None:
        """Add the tokens [tokens, F] of one window, the norms of their outputs given."""
        flat, whole = a.float(), norms.double()
        scores = flat.abs() * self.norms[site.layer]
        low, high = (float(np.float32(end)) for end in self.ends[site.layer])
        weight = site.down_weight().float()
        tail = torch.le(scores, low, out=torch.empty_like(flat)).mul_(flat) @ weight.T
        before = cett_of(torch.linalg.vector_norm(tail, dim=-1).double(), whole)
        self.base[site.layer] += float(before.sum())
        token, neuron = ((scores > low) & (scores <= high)).nonzero(as_tuple=True)
        self.events[site.layer] += token.numel()
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
        means = sums / np.maximum(tokens, 1)[:, None]
        return CettCurves(edges, means, tokens > 0, top, resolved=True, events=self.events)


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
