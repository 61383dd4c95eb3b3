"""Rules that decide token by token, from that token's own scores: nothing is calibrated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from sparsity_lab.measure.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.criteria._tally import Tally, dense_run
from sparsity_lab.measure.sites import FfnSite
from sparsity_lab.measure.sparse import CountingVisitor

if TYPE_CHECKING:
    from sparsity_lab.measure.subject import Subject

# scores [..., F] float32 and the knob -> smallest score kept, [..., 1] (scores equal to it stay).
Cutoff = Callable[[Tensor, float], Tensor]


class PerToken:
    """A per-token rule on one model and text."""

    def __init__(self, subject: Subject, *, criterion: str, score: Score, cutoff: Cutoff) -> None:
        score.check(subject.sites, criterion=criterion)
        self.subject, self.score, self.cutoff = subject, score, cutoff
        self.weights = [score.static_weights(site) for site in subject.sites]
        self._sums: DenseSums | None = None

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses of the pilot."""
        return dense_run(self.subject, rows, Tally(self.subject), label="dense run (pilot)")

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses of the whole text."""
        tally = Tally(self.subject)
        dense = dense_run(self.subject, self.subject.all_rows, tally, label="dense run")
        self._sums = tally.sums
        return dense

    def refine(self, knob: float) -> None:
        """Nothing to refine: the rule is exact."""

    def sums(self) -> DenseSums:
        """Zeros of the dense run."""
        assert self._sums is not None, "calibrate comes first"
        return self._sums

    def covers(self, knob: float) -> bool:
        """Any knob, once the dense run is there."""
        return self._sums is not None

    def thresholds(self, knob: float) -> list[float] | None:
        """The rule has no thresholds that another text could be cut by."""
        return None

    def score_weights(self) -> None:
        """Nothing of the score comes from the text."""

    def visitor(self, knob: float) -> CountingVisitor:
        """Masks below each token's own cutoff."""
        return _CutoffVisitor(self, knob)


class _CutoffVisitor(CountingVisitor):
    def __init__(self, rule: PerToken, knob: float) -> None:
        super().__init__(rule.subject)
        self.rule, self.knob = rule, knob

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        keep = (scores >= self.rule.cutoff(scores, self.knob)) & (a != 0)
        self.count(site, keep)
        return a * keep


def top_k_cutoff(scores: Tensor, rho: float) -> Tensor:
    """The k-th largest score of each token, k = round(rho F); infinity where k = 0."""
    from sparsity_lab.kernels.topk_threshold import topk_threshold

    k = round(rho * scores.shape[-1])
    if k == 0:
        return scores.new_full((*scores.shape[:-1], 1), float("inf"))
    return topk_threshold(scores, k).view(*scores.shape[:-1], 1)


def top_p_cutoff(scores: Tensor, share: float) -> Tensor:
    """The smallest score of the smallest set of largest scores that holds a share of their sum."""
    ordered = scores.sort(dim=-1, descending=True).values
    running = ordered.double().cumsum(dim=-1)
    enough = (running < share * running[..., -1:]).sum(dim=-1, keepdim=True)
    return ordered.gather(-1, enough.clamp_max(scores.shape[-1] - 1))


def max_p_cutoff(scores: Tensor, share: float) -> Tensor:
    """A share of the token's largest score."""
    return scores.amax(dim=-1, keepdim=True) * share
