"""What sparsity gives on the machine at hand: products and decoding of a record's model, on its own text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _dispatch, sparse_down
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.affinity.decode import time_decoding
from sparsity_lab.measure.neurons.affinity.products import (
    break_even,
    calls_row,
    of_model,
    planted,
    planted_weights,
    timed_row,
)
from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan
from sparsity_lab.measure.neurons.affinity.traffic import traffic_rows
from sparsity_lab.measure.neurons.affinity.weights import Weights
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.sources.named import NamedText
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work.failures import Lost
from sparsity_lab.measure.work.places import load, places
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.settings import HEAD, SPREAD, ModelSettings
from sparsity_lab.store.table_columns.affinity import BREAK_EVEN, DECODE, PRODUCTS

Row = dict[str, Any]
WINDOWS = 4  # at most, that the timed tokens are drawn from


@dataclass(frozen=True)
class TimedCase:
    """A record with what is needed to time it.

    Attributes:
        body: the record.
        path: where it lies.
        source: its model.
        text: its text.
        weights: of its model.
    """

    body: Mapping[str, Any]
    path: Path
    source: Source
    text: TextPlace
    weights: Weights


def time_case(
    case: TimedCase, plan: TimingPlan, *, machine: ModelSettings, shelf: Shelf, progress: Progress = SILENT
) -> tuple[dict[str, list[Row]], Row]:
    """Time products and decoding of one record.

    Returns:
        Rows without identity, by the names of their tables, and where they were timed.

    Raises:
        SparsityLabError: model or text are not the record's, or a product is wrong on this device.
    """
    subject, calibration, dtype_reason = _subject(case, machine=machine, shelf=shelf, progress=progress)
    weights = [site.down_weight().detach() for site in subject.sites]
    device, dtype = str(weights[0].device), weights[0].dtype
    if len({str(weight.device) for weight in weights}) > 1:
        raise SparsityLabError("Decoding is timed on one device", fix="Name it with --device cuda:0 or cpu")
    with progress.track("timing", 2 + len(_shapes(case, plan))) as advance, torch.no_grad():
        activations = active_tokens(subject, calibration, tokens=plan.tokens, seed=plan.seed)
        products = [timed_row(of_model(activations, weights), what="model", pairs=plan.pairs, device=device)]
        products.append(calls_row(dtype=dtype, device=device, pairs=plan.pairs, seed=plan.seed))
        advance(1)
        points = []
        for F, d in _shapes(case, plan):
            rows = planted_rows(F, d, case=case, plan=plan, dtype=dtype, device=device)
            products += rows
            points.append(break_even(rows))
            advance(1)
        decode = [_decoded(case, subject, calibration, plan)]
        advance(1)
    where = {
        "device": torch.cuda.get_device_name(weights[0].device) if device.startswith("cuda") else device,
        "dtype": str(dtype).removeprefix("torch."), "dtype_reason": dtype_reason,
        "sparse_down": _dispatch.resolve(sparse_down.NAME, "auto", weights[0]),
        "threads": torch.get_num_threads(), "clock": "wall clock, launches included",
    }  # fmt: skip
    return {PRODUCTS.name: products, BREAK_EVEN.name: points, DECODE.name: decode}, where


class _Remembering(SparseVisitor):
    """Masks activations and keeps what is left of them."""

    def __init__(self, sites: Sequence[FfnSite], calibration: Calibration) -> None:
        super().__init__(sites, calibration)
        self.passed: list[list[Tensor]] = [[] for _ in sites]

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        self.passed[site.layer].append(a * keep)


def active_tokens(
    subject: Subject, calibration: Calibration, *, tokens: int, seed: int
) -> list[list[Tensor]]:
    """Masked activations [F] of each layer, of tokens drawn from a few windows of the text.

    Args:
        subject: model and text.
        calibration: the thresholds.
        tokens: how many, in the order of the text.
        seed: of the draw.
    """
    remembered = _Remembering(subject.sites, calibration)
    count = subject.windows.count
    rows = np.unique(np.linspace(0, count - 1, min(WINDOWS, count)).round().astype(np.int64))
    subject.losses(rows, visitor=remembered, label="activations")
    layers = [torch.cat([subject.valid(a).flatten(0, 1) for a in parts]) for parts in remembered.passed]
    at_hand = len(layers[0])
    taken = np.sort(np.random.default_rng(seed).choice(at_hand, min(tokens, at_hand), replace=False))
    return [[layer[token].clone() for layer in layers] for token in taken.tolist()]


def planted_rows(
    F: int, d: int, *, case: TimedCase, plan: TimingPlan, dtype: torch.dtype, device: str
) -> list[Row]:
    """Products of one shape at the planted ratios and at the record's own."""
    weights = planted_weights(F, d, dtype=dtype, device=device, seed=plan.seed)
    ratios = sorted(
        {*plan.ratios, *([measured_ratio] if (measured_ratio := case.body["activation_ratio"]) else [])}
    )
    return [
        timed_row(
            planted(weights, ratio=ratio, seed=plan.seed), what="planted", pairs=plan.pairs, device=device
        )
        for ratio in ratios
    ]


def _shapes(case: TimedCase, plan: TimingPlan) -> list[tuple[int, int]]:
    of_model = (int(case.body["intermediate_size"]), int(case.body["hidden_size"]))
    return list(dict.fromkeys([of_model, *plan.shapes]))


def _subject(
    case: TimedCase, *, machine: ModelSettings, shelf: Shelf, progress: Progress
) -> tuple[Subject, Calibration, str]:
    """The record's model and text under its thresholds."""
    body = case.body
    of = body.get("text_source") or {}
    spec = NeuronSpec(
        texts=(NamedText(body["text"], case.text),), tokens=body["tokens"], window=body["window"], bos=body["bos"],
        sample=SPREAD if body.get("sample") == SPREAD else HEAD, seed=body["seed"], text_column=of.get("column"),
        pack=bool(of.get("packed")), **asdict(machine),
    )  # fmt: skip
    checkpoint = Checkpoint(case.source, body["series"])
    (on_texts,) = places(spec, [checkpoint], thresholds=[case.path])
    assert not isinstance(on_texts, Lost), "alone, it is prepared or ends the run"
    (place,) = on_texts
    if place.prepared.windows.sha256 != body["text_sha256"]:
        raise SparsityLabError(
            f"{case.text} is not the text of the record {case.path}",
            why=f"Its first {body['tokens']:,} tokens are others",
            fix=f"Name the text called {body['text']} with --text",
        )
    _, subject = load(spec, place, shelf=shelf, progress=progress)
    return subject, place.calibration, place.prepared.dtype_reason


def _decoded(case: TimedCase, subject: Subject, calibration: Calibration, plan: TimingPlan) -> Row:
    """Decoding, dense and sparse, with the ideal speed-up by bytes at this context and dtype."""
    windows = subject.windows
    ids = windows.inputs(np.array([0], np.int64))
    bos = int(windows.bos_id is not None)
    written = min(plan.written_tokens, windows.window - 1)
    prompt = min(plan.prompt_tokens, windows.window - written)
    seconds = time_decoding(
        subject.model, subject.sites, calibration, ids=ids[:, : bos + prompt + written],
        prompt_tokens=bos + prompt, pairs=plan.pairs,
    )  # fmt: skip
    width = subject.sites[0].down_weight().element_size()
    costs = replace(
        Costs(bytes_per_weight=width, bytes_per_kv=width), context_tokens=bos + prompt + written // 2
    )
    ideal = next(row for row in traffic_rows(case.body, case.weights, costs=costs))
    return {
        "prompt_tokens": prompt,
        "timed_tokens": written,
        **seconds.as_row(units=written, ideal=ideal["model_speedup"]),
        "ideal_se": ideal["model_speedup_se"],
    }
