"""Rules with thresholds on a score: one for all layers, or one a layer at a quantile of the dense scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from sparsity_lab.measure.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.criteria._scores import Score, kept, mean_size
from sparsity_lab.measure.criteria._tally import Tally, dense_run
from sparsity_lab.measure.sites import FfnSite, up_tapped
from sparsity_lab.measure.sparse import CountingVisitor, ThresholdVisitor
from sparsity_lab.measure.subject import BatchVisitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsity_lab.measure.calibration import Calibration
    from sparsity_lab.measure.subject import Subject

# 256 bins an octave: a quantile is known to 0.4 % of the score before interpolation.
GRID = LogGrid(lowest=-40, octaves=56, splits=256)


class ByThreshold:
    """Thresholds on a score, fixed for all layers; the base of the calibrated rules."""

    def __init__(self, subject: Subject, *, criterion: str, score: Score) -> None:
        score.check(subject.sites, criterion=criterion)
        self.subject, self.score = subject, score
        self.weights = [score.static_weights(site) for site in subject.sites]
        self._sums: DenseSums | None = None

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses of the pilot, calibrated on it where the rule calibrates."""
        return self._dense(rows, label="calibrating (pilot)")[0]

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses of the whole text, calibrated on it where the rule calibrates."""
        dense, tally = self._dense(self.subject.all_rows, label="calibrating")
        self._sums = tally.sums
        return dense

    def refine(self, knob: float) -> None:
        """Nothing to refine."""

    def sums(self) -> DenseSums:
        """Zeros of the dense run."""
        assert self._sums is not None, "calibrate comes first"
        return self._sums

    def covers(self, knob: float) -> bool:
        """Any knob, once the whole text was calibrated on."""
        return self._sums is not None

    def thresholds(self, knob: float) -> list[float]:
        """The knob itself, for every layer."""
        return [float(np.float32(knob))] * len(self.subject.sites)

    def score_weights(self) -> list[Tensor] | None:
        """Mean |u_i| of each layer, where the score has it."""
        return [w for w in self.weights if w is not None] if self.score.weight == "mean-up" else None

    def visitor(self, knob: float) -> CountingVisitor:
        """Masks scores at or below the thresholds."""
        return _ScoreVisitor(self, self.thresholds(knob))

    def _dense(self, rows: Ints, *, label: str) -> tuple[Counts, Tally]:
        tally = Tally(self.subject)
        return dense_run(self.subject, rows, tally, label=label), tally


class ByQuantile(ByThreshold):
    """One threshold a layer, at the same quantile of each layer's dense scores."""

    def __init__(self, subject: Subject, *, criterion: str, score: Score) -> None:
        super().__init__(subject, criterion=criterion, score=score)
        self.below: list[np.ndarray] = []

    def thresholds(self, knob: float) -> list[float]:
        """The `knob`-quantile of each layer's scores, exact zeros among them; 0 keeps all but zeros."""
        edges = GRID.edges().double().numpy()
        found = []
        for below in self.below:
            wanted = knob * below[-1]
            position = np.interp(wanted, below[:-1], edges, left=0.0)
            found.append(float(np.float32(position)) if wanted > 0 else 0.0)
        return found

    def _dense(self, rows: Ints, *, label: str) -> tuple[Counts, Tally]:
        if self.score.weight == "mean-up":
            self._measure_up(rows)
        histogram = _HistogramVisitor(self)
        dense = dense_run(self.subject, rows, histogram, label=label)
        self.below = [_cumulative(bins, zeros) for bins, zeros in histogram.counts]
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


class ScoreMask(BatchVisitor):
    """Zeroes activations whose scores lie at or below given thresholds and counts nothing."""

    def __init__(self, sites: Sequence[FfnSite], calibration: Calibration) -> None:
        self.score, self.limits = calibration.score, calibration.thresholds
        self.weights = given_weights(sites, calibration)

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        """Mask one site's activations."""
        scores = self.score.values(a, s, self.weights[site.layer])
        return a * kept(scores, self.limits[site.layer], a)


def given_weights(sites: Sequence[FfnSite], calibration: Calibration) -> list[Tensor | None]:
    """v [F] of each site, on its device: the calibration's where they were measured on a text."""
    if calibration.score_weights is None:
        return [calibration.score.static_weights(site) for site in sites]
    return [
        weight.to(site.down_weight().device)
        for site, weight in zip(sites, calibration.score_weights, strict=True)
    ]


class _HistogramVisitor(Tally):
    """Tallies, and a histogram of each site's scores."""

    def __init__(self, rule: ByQuantile) -> None:
        super().__init__(rule.subject)
        self.rule = rule
        self.counts: list[tuple[Tensor, Tensor]] = [(torch.zeros(1), torch.zeros(1))] * len(
            rule.subject.sites
        )
        self.begun = [False] * len(rule.subject.sites)

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> None:
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        flat = self.subject.valid(scores).flatten(0, 1)
        found = score_histogram(flat, torch.ones(flat.shape[1], device=flat.device), GRID)
        absent = torch.as_tensor(self.rule.subject.absent(site)).sum()
        bins, zeros = found.bins, found.zeros - absent * flat.shape[1]
        if self.begun[site.layer]:
            bins, zeros = bins + self.counts[site.layer][0], zeros + self.counts[site.layer][1]
        self.counts[site.layer], self.begun[site.layer] = (bins, zeros), True


class _ScoreVisitor(CountingVisitor):
    def __init__(self, rule: ByThreshold, thresholds: list[float]) -> None:
        super().__init__(rule.subject)
        self.rule, self.limits = rule, thresholds

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        keep = kept(scores, self.limits[site.layer], a)
        self.count(site, keep)
        return a * keep


def _cumulative(bins: Tensor, zeros: Tensor) -> np.ndarray:
    """Scores at or below each edge, and their total last, float64 [edges + 1]."""
    return (bins.cpu().numpy().cumsum() + int(zeros)).astype(np.float64)
