"""The dense run of criteria that need no CETT: its losses and its zeros; and what these criteria share."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.search.noise import Replicates
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


class OnScores:
    """A rule on the scores of one model and text that one dense run prepares, whatever the knob.

    Attributes:
        LABEL: what that run is called where progress is shown.
    """

    LABEL: ClassVar[str]

    def __init__(self, subject: Subject, *, criterion: str, score: Score) -> None:
        score.check(subject.sites, criterion=criterion)
        self.subject, self.score = subject, score
        self.weights = [score.static_weights(site) for site in subject.sites]
        self._sums: DenseSums | None = None

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses of the pilot, calibrated on it where the rule calibrates."""
        return self._dense(rows, label=f"{self.LABEL} (pilot)")[0]

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses of the whole text, calibrated on it where the rule calibrates."""
        dense, tally = self._dense(self.subject.all_rows, label=self.LABEL)
        self._sums = tally.sums
        return dense

    def refine(self, knob: float) -> None:
        """Nothing to refine."""

    def sums(self) -> DenseSums:
        """Zeros of the dense run."""
        assert self._sums is not None, "calibrate comes first"
        return self._sums

    def covers(self, knob: float) -> bool:
        """Any knob, once the dense run of the whole text is there."""
        return self._sums is not None

    def doubtful(self, knob: float) -> bool:
        """The rule is exact."""
        return False

    def drift(self, knob: float, draws: Replicates, dense: Counts) -> None:
        """Not known: no sums are kept window by window, or nothing is calibrated."""

    def _dense(self, rows: Ints, *, label: str) -> tuple[Counts, Tally]:
        tally = Tally(self.subject)
        return dense_run(self.subject, rows, tally, label=label), tally
