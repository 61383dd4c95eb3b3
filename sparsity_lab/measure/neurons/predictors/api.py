"""Train and judge predictors of the active neurons of a live model, as a Python function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import Applicable, live_under
from sparsity_lab.measure.live.arguments import Reading, check_numbers
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.neurons.parameters import Widths
from sparsity_lab.measure.neurons.predictors.gather import gathered
from sparsity_lab.measure.neurons.predictors.judge import JudgeCounts, JudgeVisitor, Trained, learned
from sparsity_lab.measure.neurons.predictors.lowrank import train
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work.places import refuse_unhalved

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class PredictReport:
    """What predictors could do on one text.

    Attributes:
        settings: what was trained and asked.
        trained: of each layer.
        counts: hits on the second part.
        named: neurons named at each budget, int64 [layers, budgets].
        widths: weights of the feed-forward networks, for what predictors cost.
        inputs: d.
        draws: replicates of the groups of windows of the second part.
        training_tokens: tokens of the first part.
    """

    settings: PredictorSettings
    trained: tuple[Trained, ...]
    counts: JudgeCounts
    named: Ints
    widths: Widths
    inputs: int
    draws: noise.Replicates
    training_tokens: int


def predict_active(
    model: Any,
    ids: torch.Tensor | Windows,
    *,
    thresholds: Applicable,
    settings: PredictorSettings | None = None,
    seed: int = 0,
    **reading: Unpack[Reading],
) -> PredictReport:
    """Train predictors of the active neurons on the first half of a text and judge them on the second.

    Args:
        model: as in `measure`, without experts; its weights are not changed.
        ids: the text's token ids, int64 [tokens], one stream without padding, or windows from `text_windows`.
        thresholds: as `sparsified` takes them; inputs and active neurons are those of the sparse run.
        settings: ranks, budgets and training.
        seed: of training.
        reading: window, bos_id, batch_size, architecture_file and progress, as `Reading` explains them.

    Raises:
        SparsityLabError: thresholds of another model, a mixture of experts, or a text that is too short.
    """
    check_numbers(seed=seed)
    with live_under(model, ids, thresholds, **reading) as live:
        total, asked = live.shape["params_total"], settings or PredictorSettings()
        return report_of(live.subject, live.calibration, settings=asked, params_total=total, seed=seed)


def report_of(
    subject: Subject, calibration: Calibration, *, settings: PredictorSettings, params_total: int, seed: int
) -> PredictReport:
    """The report of a model and text at hand.

    Raises:
        SparsityLabError: settings out of range, or a mixture of experts.
    """
    settings.check()
    refuse_mixtures(subject.sites)
    refuse_unhalved(subject.windows)
    inputs = int(subject.sites[0].down_weight().shape[0])
    settings.refuse_beyond(inputs=inputs, neurons=int(subject.sizes.min()))
    half = subject.windows.count // 2
    first, second = subject.all_rows[:half], subject.all_rows[half:]
    trained = tuple(
        _trained(layer, x, active, settings=settings, seed=seed)
        for layer, x, active in gathered(subject, calibration, rows=first)
    )
    judge = JudgeVisitor(subject, calibration, trained=list(trained), budgets=settings.budgets, rows=second)
    judge.run(second, label="predictions")
    counts = judge.counts()
    return PredictReport(
        settings=settings,
        trained=trained,
        counts=counts,
        named=judge.k,
        widths=Widths.of(subject.sites, params_total=params_total),
        inputs=inputs,
        draws=noise.replicates(np.arange(judge.groups), sample=subject.windows.sample),
        training_tokens=len(first) * subject.windows.window,
    )


def refuse_mixtures(sites: Sequence[FfnSite]) -> None:
    """Refuse models whose experts see only some of the tokens.

    Raises:
        SparsityLabError: a site is an expert's.
    """
    routed = [site.name for site in sites if site.routed]
    if routed:
        raise SparsityLabError(
            f"The active neurons of a mixture of experts cannot be predicted here: {routed[0]} is an expert",
            why="Predictors are trained on the inputs of all tokens, and an expert sees only those routed to it",
            fix="Count what its neurons do, expert by expert, with `sparsity-lab neurons`",
        )


def _trained(
    layer: int, x: torch.Tensor, active: torch.Tensor, *, settings: PredictorSettings, seed: int
) -> Trained:
    predictors = tuple(
        train(x, active, rank=rank, settings=settings, seed=seed * 1000 + layer) for rank in settings.ranks
    )
    return learned(active, predictors)
