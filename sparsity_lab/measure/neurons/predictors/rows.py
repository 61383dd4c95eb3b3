"""Recall and precision of every method at every budget, with errors, and what the predictors cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsity_lab.measure.neurons.estimates import ratio_of
from sparsity_lab.measure.neurons.predictors.api import PredictReport
from sparsity_lab.measure.neurons.predictors.judge import BASELINES
from sparsity_lab.measure.neurons.predictors.lowrank import cost
from sparsity_lab.measure.neurons.rows import ALL, pair
from sparsity_lab.measure.search.counts import Ints

Row = dict[str, Any]


def predictor_rows(report: PredictReport) -> list[Row]:
    """All layers together, then each; methods and budgets within."""
    each = range(len(report.trained))
    layers: list[tuple[int | str, slice]] = [(ALL, slice(None)), *((i, slice(i, i + 1)) for i in each)]
    return [row for layer, chosen in layers for row in _rows(report, layer, chosen)]


def _rows(report: PredictReport, layer: int | str, chosen: slice) -> list[Row]:
    methods = [
        *(("predictor", rank) for rank in report.settings.ranks),
        *((name, None) for name in BASELINES),
    ]
    rows = [
        _row(report, layer, chosen, method=index, name=name, rank=rank, budget=budget)
        for index, (name, rank) in enumerate(methods)
        for budget in range(len(report.settings.budgets))
    ]
    return [*rows, _as_is(report, layer, chosen)]


def _row(
    report: PredictReport, layer: int | str, chosen: slice, *,
    method: int, name: str, rank: int | None, budget: int,
) -> Row:  # fmt: skip
    counts, draws = report.counts, report.draws
    named = int(report.named[chosen, budget].sum())
    hits, active = _summed(counts.hits[:, chosen, method, budget]), _summed(counts.active[:, chosen])
    row: Row = {
        "layer": layer, "method": name, "rank": rank, "budget": report.settings.budgets[budget], "named": named,
        "named_share": named / int(report.widths.sizes[chosen].sum()),
        **pair("recall", ratio_of(draws, hits, active)),
        **pair("precision", ratio_of(draws, hits, counts.tokens * named)),
    }  # fmt: skip
    if rank is None:
        return row
    first = len(report.settings.ranks)
    for place, other in enumerate(("over_frequent", "over_last_token"), start=first):
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
            "mean_active": one.mean_active,
        }
        for layer, one in enumerate(report.trained)
        for rank, predictor in zip(report.settings.ranks, one.predictors, strict=True)
    ]  # fmt: skip


def _summed(counts: Ints) -> Ints:
    return np.asarray(counts.sum(axis=1))
