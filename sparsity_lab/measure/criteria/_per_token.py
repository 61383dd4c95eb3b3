"""Rules that decide token by token, from that token's own scores: nothing is calibrated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sparsity_lab.kernels.topk_threshold import topk_threshold
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.criteria._tally import OnScores
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.thresholds.masks import CountingVisitor

# scores [..., F] float32 and the knob -> which of them stay, bool [..., F].
Keeping = Callable[[Tensor, float], Tensor]


class PerToken(OnScores):
    """A per-token rule on one model and text."""

    LABEL = "dense run"

    def __init__(self, subject: Subject, *, criterion: str, score: Score, keeping: Keeping) -> None:
        super().__init__(subject, criterion=criterion, score=score)
        self.keeping = keeping

    def thresholds(self, knob: float) -> list[float] | None:
        """The rule has no thresholds that another text could be cut by."""
        return None

    def score_weights(self) -> None:
        """Nothing of the score comes from the text."""

    def visitor(self, knob: float) -> CountingVisitor:
        """Masks what each token's own scores do not keep."""
        return _TokenVisitor(self, knob)


class _TokenVisitor(CountingVisitor):
    def __init__(self, rule: PerToken, knob: float) -> None:
        super().__init__(rule.subject)
        self.rule, self.knob = rule, knob

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        scores = self.rule.score.values(a, s, self.rule.weights[site.layer])
        keep = self.rule.keeping(scores, self.knob) & (a != 0)
        self.count(site, keep)
        return a * keep


def keep_top_k(scores: Tensor, rho: float) -> Tensor:
    """The k largest scores of each token, k = round(rho F)."""
    k = round(rho * scores.shape[-1])
    if k == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    return _largest(scores, k, smallest=topk_threshold(scores, k).view(*scores.shape[:-1], 1))


def keep_top_p(scores: Tensor, share: float) -> Tensor:
    """The smallest set of each token's largest scores that holds a share of their sum."""
    ordered = scores.sort(dim=-1, descending=True).values
    running = ordered.double().cumsum(dim=-1)
    wanted = share * running[..., -1:]
    count = (running < wanted).sum(dim=-1, keepdim=True) + (wanted > 0)
    smallest = ordered.gather(-1, (count - 1).clamp(0, scores.shape[-1] - 1))
    return _largest(scores, count, smallest=smallest)


def keep_max_p(scores: Tensor, share: float) -> Tensor:
    """The scores of at least a share of the token's largest."""
    return scores >= scores.amax(dim=-1, keepdim=True) * share


def _largest(scores: Tensor, count: Tensor | int, *, smallest: Tensor) -> Tensor:
    """As many of each token's largest scores as `count` [..., 1] says, the last of them `smallest` [..., 1].

    Scores of half precision are often equal: of those that are equal to the smallest the first neurons stay, on
    every device alike.
    """
    above, equal = scores > smallest, scores == smallest
    room = count - above.sum(dim=-1, keepdim=True)
    return above | (equal & (equal.cumsum(dim=-1, dtype=torch.int32) <= room))
