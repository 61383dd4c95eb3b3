"""This package's engine and a reproduced released algorithm, side by side in one process.

Same model, text, dtype, windows and threads. The engine runs before and after the reference, so that a machine
that slows down meanwhile shows; what it computes is counted in a third run that is not timed.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch

from sparsity_lab.bench.measure.cost import Metered, Peak, peak_memory
from sparsity_lab.measure.compat import sparsinglaw
from sparsity_lab.measure.model.passes import UNSEEN, Subject
from sparsity_lab.measure.search import engine
from sparsity_lab.measure.search.measurement import Measurement

OURS, AGAIN, THEIRS = "sparsity-lab", "sparsity-lab, again", "sparsinglaw"


@dataclass(frozen=True)
class ComparedRun:
    """One run of one path; `AGAINST` of `store/table_columns/bench.py` says what the numbers are."""

    question: str
    path: str
    seconds: float
    cpu_seconds: float
    forward_passes: float
    products: float
    syncs: int
    peak_mib: float | None
    knob: float
    activation_ratio: float
    activation_ratio_se: float
    loss_delta_nats: float
    loss_delta_se_nats: float
    flags: str


@dataclass(frozen=True)
class EngineComparison:
    """Both paths on one question.

    Attributes:
        rows: the engine, the reference, the engine again.
        speed_up: the reference's seconds over the mean of the engine's two.
        speed_up_least: over the longer of the two.
        cpu_speed_up: as `speed_up`, of processor time.
        activation_ratio_difference: engine less reference.
        knob_difference: engine less reference.
        loss_delta_difference_nats: engine less reference.
        threshold_difference: largest relative difference of a layer's threshold.
        grid_step: largest distance of two of the reference's candidates, relative to the threshold found.
        capped_layers: layers where the end of the reference's grid decided, not c.
        target_miss_nats: the engine's loss rise less ln(1 + p); None at a fixed c.
    """

    rows: tuple[ComparedRun, ComparedRun, ComparedRun]
    speed_up: float
    speed_up_least: float
    cpu_speed_up: float
    activation_ratio_difference: float
    knob_difference: float
    loss_delta_difference_nats: float
    threshold_difference: float
    grid_step: float
    capped_layers: int
    target_miss_nats: float | None

    def summary(self) -> dict[str, object]:
        """Everything but the rows."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "rows"}
        return {"question": self.rows[0].question, **numbers}


def compare_at_ppl_increase(subject: Subject, *, ppl_increase: float, seed: int = 0) -> EngineComparison:
    """Both paths at PPL-p%, p a fraction, each run to its own tolerance.

    Raises:
        SparsityLabError: as for `engine.at_ppl_increase`.
    """
    return _compare(
        subject,
        f"PPL-{100 * ppl_increase:g}%",
        ours=lambda s: engine.at_ppl_increase(s, criterion="cett", ppl_increase=ppl_increase, seed=seed),
        theirs=lambda s: sparsinglaw.at_ppl_increase(s, ppl_increase=ppl_increase),
        target_nats=math.log1p(ppl_increase),
    )


def compare_at_cett(subject: Subject, *, c: float, seed: int = 0) -> EngineComparison:
    """Both paths at one fixed CETT.

    Raises:
        SparsityLabError: as for `engine.at_knob`.
    """
    return _compare(
        subject,
        f"c = {c:g}",
        ours=lambda s: engine.at_knob(s, criterion="cett", knob=c, seed=seed),
        theirs=lambda s: sparsinglaw.at_cett(s, c=c),
    )


def _compare(
    subject: Subject,
    question: str,
    *,
    ours: Callable[[Subject], Measurement],
    theirs: Callable[[Subject], sparsinglaw.Reproduced],
    target_nats: float | None = None,
) -> EngineComparison:
    subject.losses(subject.all_rows[:1], visitor=UNSEEN, label="warm-up")
    first, first_cost = _timed(subject, ours)
    reproduced, their_cost = _timed(subject, theirs)
    again, again_cost = _timed(subject, ours)
    metered = Metered(**{f.name: getattr(subject, f.name) for f in fields(Subject)})
    ours(metered)
    rows = (
        _row(question, OURS, first, first_cost, products=metered.products, syncs=metered.syncs),
        _row(
            question, THEIRS, reproduced.measurement, their_cost,
            products=float(reproduced.products), syncs=reproduced.syncs,
        ),
        _row(question, AGAIN, again, again_cost, products=metered.products, syncs=metered.syncs),
    )  # fmt: skip
    assert first.thresholds is not None
    pairs = list(zip(first.thresholds, reproduced.layers, strict=True))
    return EngineComparison(
        rows=rows,
        speed_up=2 * rows[1].seconds / (rows[0].seconds + rows[2].seconds),
        cpu_speed_up=2 * rows[1].cpu_seconds / (rows[0].cpu_seconds + rows[2].cpu_seconds),
        speed_up_least=rows[1].seconds / max(rows[0].seconds, rows[2].seconds),
        activation_ratio_difference=first.activation_ratio - reproduced.activation_ratio,
        knob_difference=first.knob - reproduced.knob,
        loss_delta_difference_nats=first.loss_delta_nats - reproduced.loss_delta_nats,
        threshold_difference=max(_relative(eps - layer.eps, layer.eps) for eps, layer in pairs),
        grid_step=max(_relative(layer.step, layer.eps) for _, layer in pairs),
        capped_layers=sum(layer.capped for _, layer in pairs),
        target_miss_nats=None if target_nats is None else first.loss_delta_nats - target_nats,
    )


def _relative(difference: float, value: float) -> float:
    return abs(difference) / value if value > 0 else float(difference != 0)


def _timed(subject: Subject, work: Callable[[Subject], Any]) -> tuple[Any, tuple[float, float, Peak]]:
    device = subject.model.get_input_embeddings().weight.device.type
    gc.collect()
    with peak_memory(device) as peak:
        start, cpu_start = time.perf_counter(), time.process_time()
        result = work(subject)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return result, (seconds, cpu_seconds, peak)


def _row(
    question: str,
    path: str,
    measurement: Measurement,
    cost: tuple[float, float, Peak],
    *,
    products: float,
    syncs: int,
) -> ComparedRun:
    seconds, cpu_seconds, peak = cost
    return ComparedRun(
        question=question,
        path=path,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        forward_passes=measurement.forward_passes,
        products=products,
        syncs=syncs,
        peak_mib=None if peak.bytes is None else peak.bytes / 2**20,
        knob=measurement.knob,
        activation_ratio=measurement.activation_ratio,
        activation_ratio_se=measurement.errors.activation_ratio,
        loss_delta_nats=measurement.loss_delta_nats,
        loss_delta_se_nats=measurement.errors.loss_delta_nats,
        flags=" ".join(measurement.flags),
    )
