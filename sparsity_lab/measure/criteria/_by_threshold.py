"""Rules with thresholds on a score: one for all layers, or one a layer at a quantile of the dense scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from sparsity_lab.measure.criteria._scores import Score, kept, mean_size
from sparsity_lab.measure.criteria._tally import OnScores, Tally, dense_run
from sparsity_lab.measure.model.hooks import FfnSite, up_tapped
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.search.counts import Counts, Floats, Ints
from sparsity_lab.measure.thresholds.masks import CountingVisitor, ThresholdVisitor
from sparsity_lab.measure.thresholds.stored import Calibration

# 256 bins an octave: a quantile is known to 0.4 % of the score before interpolation.
GRID = LogGrid(lowest=-40, octaves=56, splits=256)
FINE_BINS = (
    4096  # of one bin of the grid: narrower than float32 tells two scores apart by more than ten steps
)
CROWDED = 0.005  # of all scores in one bin


class ByThreshold(OnScores):
    """Thresholds on a score, fixed for all layers; the base of the calibrated rules."""

    LABEL = "calibrating"

    def thresholds(self, knob: float) -> list[float]:
        """The knob itself, for every layer."""
        return [float(np.float32(knob))] * len(self.subject.sites)

    def score_weights(self) -> list[Tensor] | None:
        """Mean |u_i| of each layer, where the score has it."""
        return [w for w in self.weights if w is not None] if self.score.weight == "mean-up" else None

    def visitor(self, knob: float) -> CountingVisitor:
        """Masks scores at or below the thresholds."""
        return _ScoreVisitor(self, self.thresholds(knob))


class ByQuantile(ByThreshold):
    """One threshold a layer, at the same quantile of each layer's dense scores.

    The q-quantile is the smallest score at or below which at least a share q of all scores lies: of equal scores,
    frequent in half precision and where SiLU has its minimum, all go or none.
    """

    def __init__(self, subject: Subject, *, criterion: str, score: Score) -> None:
        super().__init__(subject, criterion=criterion, score=score)
        self.ladders: list[_Ladder] = []

    def thresholds(self, knob: float) -> list[float]:
        """The `knob`-quantile of each layer's scores, exact zeros among them; 0 keeps all but zeros."""
        return [ladder.quantile(knob) for ladder in self.ladders]

    def doubtful(self, knob: float) -> bool:
        """Whether the quantile's bin holds enough of a layer's scores for the threshold's place in it to matter."""
        return any(ladder.share_at(knob) > CROWDED for ladder in self.ladders)

    def refine(self, knob: float) -> None:
        """Cut the bins that hold the quantile, layer by layer, so fine that no two different scores share one."""
        bins = [ladder.bin_of(knob) for ladder in self.ladders]
        edges = [torch.linspace(*ends, FINE_BINS + 1, dtype=torch.float64).float() for ends in bins]
        visitor = _HistogramVisitor(self, edges)
        dense_run(self.subject, self.subject.all_rows, visitor, label="calibrating (fine)")
        self.ladders = [
            ladder.with_bin(knob, fine.double().numpy(), below)
            for ladder, fine, below in zip(self.ladders, edges, visitor.below(), strict=True)
        ]

    def _dense(self, rows: Ints, *, label: str) -> tuple[Counts, Tally]:
        if self.score.weight == "mean-up":
            self._measure_up(rows)
        histogram = _HistogramVisitor(self, [GRID] * len(self.subject.sites))
        dense = dense_run(self.subject, rows, histogram, label=label)
        edges = GRID.edges().double().numpy()
        self.ladders = [_Ladder(edges, below) for below in histogram.below()]
        return dense, histogram

    def _measure_up(self, rows: Ints) -> None:
        """Mean |u_i| over the dense run, from the up projections' outputs."""
        totals: list[Tensor | None] = [None] * len(self.subject.sites)

        def add(site: FfnSite, u: Tensor) -> None:
            size = self.subject.valid(u).abs().double().sum(dim=(0, 1))
            known = totals[site.layer]
            totals[site.layer] = size if known is None else known + size

        with up_tapped(self.subject.sites, add):
            dense_run(self.subject, rows, Tally(self.subject), label="mean of |u|")
        tokens = self.subject.reached[rows].sum(axis=0)
        self.weights = [
            None if total is None else mean_size(total, int(count))
            for total, count in zip(totals, tokens, strict=True)
        ]


class Given(ByThreshold):
    """Thresholds found elsewhere, whatever the knob."""

    def __init__(self, subject: Subject, *, calibration: Calibration) -> None:
        super().__init__(subject, criterion=calibration.criterion, score=calibration.score)
        self.given = list(calibration.thresholds)
        self.weights = given_weights(subject.sites, calibration)

    def thresholds(self, knob: float) -> list[float]:
        """As they were found."""
        return self.given

    def visitor(self, knob: float) -> CountingVisitor:
        """The criterion's own mask; on |a_i| ||W_d[:, i]|| it is one read of the activations."""
        if self.score.weight == "column-norm":
            return ThresholdVisitor(self.subject, self.given)
        return super().visitor(knob)


def given_weights(sites: Sequence[FfnSite], calibration: Calibration) -> list[Tensor | None]:
    """v [F] of each site, on its device: the calibration's where they were measured on a text."""
    if calibration.score_weights is None:
        return [calibration.score.static_weights(site) for site in sites]
    return [
        weight.to(site.down_weight().device)
        for site, weight in zip(sites, calibration.score_weights, strict=True)
    ]


@dataclass(frozen=True)
class _Ladder:
    """How many of a layer's scores lie at or below each of many edges.

    Attributes:
        edges: float64 [edges], increasing.
        below: float64 [edges + 1], scores at or below each edge, exact zeros among them, and their total last.
        fine: the bin of the edges, by its upper one, that was cut fine enough to take its upper edges as they are.
    """

    edges: Floats
    below: Floats
    fine: tuple[int, int] | None = None

    def quantile(self, q: float) -> float:
        """The smallest score at or below which a share q lies, float32; interpolated inside a bin not cut finely."""
        wanted = q * self.below[-1]
        if wanted <= 0:
            return 0.0
        place = self._place(wanted)
        if place == 0 or (self.fine is not None and self.fine[0] < place <= self.fine[1]):
            return float(np.float32(self.edges[place]))
        return float(
            np.float32(
                np.interp(wanted, self.below[place - 1 : place + 1], self.edges[place - 1 : place + 1])
            )
        )

    def share_at(self, q: float) -> float:
        """Share of all scores in the bin that holds the q-quantile, where that is not cut finely."""
        place = self._place(q * self.below[-1])
        if q <= 0 or place == 0 or (self.fine is not None and self.fine[0] < place <= self.fine[1]):
            return 0.0
        return float((self.below[place] - self.below[place - 1]) / self.below[-1])

    def bin_of(self, q: float) -> tuple[float, float]:
        """Both edges of the bin that holds the q-quantile; below the first edge from 0."""
        place = self._place(q * self.below[-1])
        return (float(self.edges[place - 1]) if place else 0.0), float(self.edges[place])

    def with_bin(self, q: float, edges: Floats, below: Floats) -> _Ladder:
        """The same with the bin that holds the q-quantile cut at `edges`, `below` counted at these."""
        place = self._place(q * self.below[-1])
        return _Ladder(
            np.concatenate([self.edges[:place], edges[1:], self.edges[place + 1 :]]),
            np.concatenate([self.below[:place], below[1:-1], self.below[place + 1 :]]),
            (place - 1, place + len(edges) - 2),
        )

    def _place(self, wanted: float) -> int:
        """The first edge at or below which `wanted` scores lie; the last edge where none has as many."""
        return min(int(np.searchsorted(self.below[:-1], wanted)), len(self.edges) - 1)


class _HistogramVisitor(Tally):
    """Tallies, and counts of each site's scores between edges."""

    def __init__(self, rule: ByQuantile, edges: Sequence[LogGrid | Tensor]) -> None:
        super().__init__(rule.subject)
        self.rule, self.edges = rule, edges
        self.counts = [torch.zeros(_count(rungs) + 2, dtype=torch.int64) for rungs in edges]

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> None:
        """Count one site's scores: a and s of shape (sequences, positions, neurons)."""
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        flat = self.subject.valid(scores).flatten(0, 1)
        edges = self.edges[site.layer]
        edges = edges if isinstance(edges, LogGrid) else edges.to(flat.device)
        counted = score_histogram(flat, torch.ones(flat.shape[1], device=flat.device), edges)
        absent = torch.as_tensor(self.rule.subject.absent(site)).sum()
        counts = torch.cat([(counted.zeros - absent * flat.shape[1]).view(1), counted.bins])
        self.counts[site.layer] = self.counts[site.layer].to(counts.device) + counts

    def below(self) -> list[Floats]:
        """Scores at or below each edge, zeros among them, and their total last, float64 [edges + 1] of each site."""
        return [counts.cpu().numpy().cumsum()[1:].astype(np.float64) for counts in self.counts]


def _count(edges: LogGrid | Tensor) -> int:
    return edges.octaves * edges.splits + 1 if isinstance(edges, LogGrid) else edges.numel()


class _ScoreVisitor(CountingVisitor):
    def __init__(self, rule: ByThreshold, thresholds: list[float]) -> None:
        super().__init__(rule.subject)
        self.rule, self.limits = rule, thresholds

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        keep = kept(scores, self.limits[site.layer], a)
        self.count(site, keep)
        return a * keep
