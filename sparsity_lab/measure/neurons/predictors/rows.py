"""Recall and precision of every method at every budget, with errors, and what the predictors cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.neurons.estimates import ratio_of
from sparsity_lab.measure.neurons.predictors.api import PredictReport
from sparsity_lab.measure.neurons.predictors.judge import BASELINES
from sparsity_lab.measure.neurons.predictors.lowrank import cost
from sparsity_lab.measure.neurons.rows import Row, each_layer, pair
from sparsity_lab.measure.search.counts import Ints


@dataclass(frozen=True)
class _Case:
    """What one row is about: some layers, named `layer`, a method by its place among all, and a budget's place."""

    layer: int | str
    chosen: slice
    method: int
    budget: int


def predictor_rows(report: PredictReport) -> list[Row]:
    """All layers together, then each; methods and budgets within."""
    methods, budgets = len(report.settings.ranks) + len(BASELINES), len(report.settings.budgets)
    rows = []
    for layer, chosen in each_layer(len(report.trained)):
        cases = [_Case(layer, chosen, m, b) for m in range(methods) for b in range(budgets)]
        rows += [*(_row(report, case) for case in cases), _as_is(report, layer, chosen)]
    return rows


def _row(report: PredictReport, case: _Case) -> Row:
    counts, draws, chosen, budget = report.counts, report.draws, case.chosen, case.budget
    ranks = report.settings.ranks
    rank = ranks[case.method] if case.method < len(ranks) else None
    named = int(report.named[chosen, budget].sum())
    hits, active = _summed(counts.hits[:, chosen, case.method, budget]), _summed(counts.active[:, chosen])
    row: Row = {
        "layer": case.layer,
        "method": "predictor" if rank is not None else BASELINES[case.method - len(ranks)],
        "rank": rank,
        "budget": report.settings.budgets[budget],
        "named": named,
        "named_share": named / int(report.widths.sizes[chosen].sum()),
        **pair("recall", ratio_of(draws, hits, active)),
        **pair("precision", ratio_of(draws, hits, counts.tokens * named)),
    }
    if rank is None:
        return row
    for place, other in enumerate(("over_frequent", "over_last_token"), start=len(ranks)):
        theirs = _summed(counts.hits[:, chosen, place, budget])
        row |= pair(other, ratio_of(draws, hits - theirs, active))
    return {**row, **_cost(report, chosen, rank=rank)}


def _as_is(report: PredictReport, layer: int | str, chosen: slice) -> Row:
    """The active set of the last token, whatever its size."""
    counts, draws = report.counts, report.draws
    kept, before = _summed(counts.kept[:, chosen]), _summed(counts.before[:, chosen])
    named = float(before.sum() / counts.tokens.sum())
    return {
        "layer": layer, "method": "last-token-as-is", "rank": None, "budget": None, "named": named,
        "named_share": named / int(report.widths.sizes[chosen].sum()),
        **pair("recall", ratio_of(draws, kept, _summed(counts.active[:, chosen]))),
        **pair("precision", ratio_of(draws, kept, before)),
    }  # fmt: skip


def _cost(report: PredictReport, chosen: slice, *, rank: int) -> Row:
    widths = report.widths
    weights = sum(cost(report.inputs, size, rank=rank) for size in widths.sizes[chosen].tolist())
    ffn = int(((widths.input_side + widths.output_side) * widths.sizes)[chosen].sum())
    return {"parameters": weights, "ffn_share": weights / ffn}


def training_rows(report: PredictReport) -> list[Row]:
    """How training went: epoch taken and cross-entropy on the tokens held out from it."""
    return [
        {
            "layer": layer, "rank": rank, "epoch": predictor.epoch, "loss_nats": predictor.loss_nats,
            "mean_active": trained.mean_active,
        }
        for layer, trained in enumerate(report.trained)
        for rank, predictor in zip(report.settings.ranks, trained.predictors, strict=True)
    ]  # fmt: skip


def _summed(counts: Ints) -> Ints:
    return np.asarray(counts.sum(axis=1))
