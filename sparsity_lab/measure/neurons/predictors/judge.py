"""How many active neurons are named at a budget, by predictors and by what needs no training; additive counts.

A method orders all neurons of a layer for each token; at budget b it names the first k = round(b times the mean number
of active neurons on the training part). Over tokens that have a predecessor in their window, the same for all:

    recall = named and active / active        precision = named and active / named

    predictor     by its logits
    frequent      by frequency on the training part, for every token the same
    last-token    those active on the token before first, by frequency among them and after them
    oracle        those active first: what no method can beat, since the number of active neurons varies
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.counts import groups_of
from sparsity_lab.measure.neurons.predictors.gather import InputVisitor
from sparsity_lab.measure.neurons.predictors.lowrank import LowRank
from sparsity_lab.measure.search.counts import Additive, Floats, Ints
from sparsity_lab.measure.thresholds.stored import Calibration

BASELINES = ("frequent", "last-token", "oracle")


@dataclass(frozen=True)
class Trained:
    """What was learned about one layer from the training part.

    Attributes:
        predictors: one for each rank.
        order: neurons, the most frequent first, int64 [F].
        mean_active: mean number of active neurons of a token.
    """

    predictors: tuple[LowRank, ...]
    order: Tensor
    mean_active: float

    def named(self, budgets: tuple[float, ...]) -> Ints:
        """k at each budget, int64 [budgets]."""
        wanted = np.round(np.array(budgets) * self.mean_active).astype(np.int64)
        return np.clip(wanted, 1, len(self.order))


@dataclass(frozen=True)
class JudgeCounts(Additive):
    """Counts by group of windows (32 at most); additive. Methods are ranks, then `BASELINES`.

    Attributes:
        tokens: int64 [groups], tokens with a predecessor in their window.
        active: int64 [groups, layers], active neurons, summed over these.
        hits: int64 [groups, layers, methods, budgets], active ones among those named.
        before: int64 [groups, layers], active neurons of their predecessors.
        kept: int64 [groups, layers], neurons active on both.
    """

    tokens: Ints
    active: Ints
    hits: Ints
    before: Ints
    kept: Ints


class JudgeVisitor(InputVisitor):
    """Masks activations and counts how many of the kept ones each method names."""

    def __init__(
        self, subject: Subject, calibration: Calibration, *,
        trained: list[Trained], budgets: tuple[float, ...], rows: Ints,
    ) -> None:  # fmt: skip
        super().__init__(subject, calibration)
        self.trained, self.rows = trained, rows
        self.k = np.stack([layer.named(budgets) for layer in trained])
        self.groups = int(groups_of(np.arange(len(rows)), windows=len(rows))[-1]) + 1
        layers, methods = len(trained), len(trained[0].predictors) + len(BASELINES)
        self.tokens = np.zeros(self.groups, np.int64)
        self.active, self.before, self.kept = (np.zeros((self.groups, layers), np.int64) for _ in range(3))
        self.hits = np.zeros((self.groups, layers, methods, len(budgets)), np.int64)
        self.group: Ints = np.zeros(0, np.int64)

    def begin(self, rows: Ints) -> None:
        """Note which windows are about to pass."""
        self.group = groups_of(np.searchsorted(self.rows, rows), windows=len(self.rows))
        np.add.at(self.tokens, self.group, self.subject.windows.window - 1)

    def learn(self, layer: int, x: Tensor, active: Tensor) -> None:
        """Count one layer's hits."""
        now, before, x = active[:, 1:], active[:, :-1], x[:, 1:]
        np.add.at(self.active[:, layer], self.group, _per_window(now))
        np.add.at(self.before[:, layer], self.group, _per_window(before))
        np.add.at(self.kept[:, layer], self.group, _per_window(now & before))
        for method, scores in enumerate(self._scores(self.trained[layer], x, now=now, before=before)):
            best = scores.topk(int(self.k[layer].max()), dim=-1).indices
            hits = now.gather(-1, best).cumsum(dim=-1)
            at_budgets = hits[..., torch.from_numpy(self.k[layer] - 1).to(hits.device)]
            np.add.at(self.hits[:, layer, method], self.group, at_budgets.sum(dim=1).cpu().numpy())

    def _scores(self, trained: Trained, x: Tensor, *, now: Tensor, before: Tensor) -> list[Tensor]:
        """Of each method, scores [windows, tokens, F], the highest named first."""
        neurons = len(trained.order)
        place = torch.empty(neurons, device=x.device)
        place[trained.order] = torch.arange(neurons - 1, -1, -1, dtype=place.dtype, device=x.device)
        usual = place.expand(now.shape)
        by_predictors = [predictor.logits(x) for predictor in trained.predictors]
        return [*by_predictors, usual, before * neurons + usual, now * neurons + usual]

    def counts(self) -> JudgeCounts:
        """What was counted."""
        return JudgeCounts(self.tokens, self.active, self.hits, self.before, self.kept)


def learned(active: Tensor, predictors: tuple[LowRank, ...]) -> Trained:
    """What the active sets of the training part, bool [tokens, F], say, apart from the predictors."""
    fired = active.sum(dim=0)
    order = torch.argsort(fired, descending=True, stable=True)
    return Trained(predictors, order, float(fired.sum()) / len(active))


def _per_window(mask: Tensor) -> Ints:
    counts: Ints = mask.sum(dim=(1, 2)).cpu().numpy()
    return counts


def shares(hits: Ints, below: Ints) -> Floats:
    """Hits over what there was, 0 where there was nothing."""
    return np.divide(hits, below, out=np.zeros(np.shape(hits)), where=below > 0)
