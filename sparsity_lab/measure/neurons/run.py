"""Watches the neurons of checkpoints on texts, cell by cell; each cell's record is written as it completes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import records
from sparsity_lab.measure.body import shape_of
from sparsity_lab.measure.calibration import Calibration, read_calibration, refuse_other_models
from sparsity_lab.measure.cells import Bench, Prepared, tokenizer_identity
from sparsity_lab.measure.loading import Source, load_tokenizer
from sparsity_lab.measure.neurons import record, tables
from sparsity_lab.measure.neurons.api import NeuronReport, refuse_mixtures, report_of
from sparsity_lab.measure.neurons.decoding import DecodePlan, auto_plan
from sparsity_lab.measure.neurons.estimates import position_ratios, token_ratios
from sparsity_lab.measure.neurons.record import NeuronRecord
from sparsity_lab.measure.neurons.rows import (
    chunk_rows,
    decode_rows,
    layer_rows,
    parameter_rows,
)
from sparsity_lab.measure.neurons.spec import NeuronSpec, name_of, thresholds_of
from sparsity_lab.measure.settings import cell_key, given
from sparsity_lab.measure.shelf import Shelf
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.subject import Subject, auto_batch_size
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance

logger = logging.getLogger(__name__)

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key
FEW_TOKENS = 10_000  # below, a neuron is called dead on the evidence of fewer than ten expected firings


@dataclass(frozen=True)
class Cell:
    """One checkpoint on one text under one record's thresholds.

    Attributes:
        prepared: the checkpoint and the text's windows.
        calibration: the thresholds.
        text: name of the text.
        plan: what to let the model write, or None.
        key: content key.
    """

    prepared: Prepared
    calibration: Calibration
    text: str
    plan: DecodePlan | None
    key: str


def watch_checkpoints(
    spec: NeuronSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    output: Path,
    progress: Progress = SILENT,
) -> list[NeuronRecord]:
    """Watch every checkpoint on every text; cells with a record are not run again.

    Args:
        spec: texts and settings.
        checkpoints: which models.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        output: gets `neuron_records/`, the tables and `neurons.json`.
        progress: where to report.

    Returns:
        One record for each checkpoint and text.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds; records already written stay.
    """
    folder = output / "neuron_records"
    with records.no_empty_folders(folder):
        records.prepare_output(records.prepare_output(output) / "neuron_records")
        shelf = Shelf(spec.architecture_file)
        cells = plan_cells(spec, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)
        found = []
        with progress.track("neurons", len(cells)) as advance:
            for cell in cells:
                found.append(_record(spec, cell, folder=folder, shelf=shelf, progress=progress))
                advance(1)
    tables.write_tables(output, found, seed=spec.seed)
    records.write_json(output / "neurons.json", _summary(spec, found))
    return found


def plan_cells(
    spec: NeuronSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    progress: Progress = SILENT,
    shelf: Shelf | None = None,
) -> list[Cell]:
    """Every cell, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.check()
    benches = {
        text.name: Bench(spec.measure_spec(text.path), folder=Path(), progress=progress, shelf=shelf)
        for text in spec.texts
    }
    cells = []
    for checkpoint, path in zip(checkpoints, thresholds_of(thresholds, checkpoints), strict=True):
        calibration = read_calibration(path)
        for text, bench in benches.items():
            cells.append(_cell(spec, bench.prepare(checkpoint), calibration, text=text))
    return cells


def done(cells: Sequence[Cell], *, output: Path) -> int:
    """How many of the cells have records."""
    return sum(record.find(output / "neuron_records", cell.key) is not None for cell in cells)


def _cell(spec: NeuronSpec, prepared: Prepared, calibration: Calibration, *, text: str) -> Cell:
    window = prepared.windows.window
    plan = None
    if spec.written_tokens:
        plan = auto_plan(window=window, prompts=spec.prompts, written_tokens=spec.written_tokens)
        plan.check(window=window)
    under = cell_key(
        given(calibration), windows=prepared.windows, weights=prepared.identity, dtype=prepared.dtype,
        device=prepared.device, criterion=calibration.criterion, seed=spec.seed,
        architecture_file=spec.architecture_file,
    )  # fmt: skip
    key = {"neurons": ALGORITHM, "measured": under, "plan": None if plan is None else asdict(plan)}
    return Cell(prepared, calibration, text, plan, records.content_key(key))


def _record(spec: NeuronSpec, cell: Cell, *, folder: Path, shelf: Shelf, progress: Progress) -> NeuronRecord:
    """The record of a cell: read where it exists, counted and written where not."""
    checkpoint = cell.prepared.checkpoint
    named = {
        "model": checkpoint.source.model,
        "revision": checkpoint.source.revision,
        "series": checkpoint.series,
        "name": name_of(checkpoint),
        "text": cell.text,
    }
    found = record.find(folder, cell.key)
    if found is not None:
        logger.info("%s on %s: counted before", checkpoint.source, cell.text)
        return NeuronRecord({**found.body, **named}, found.arrays)
    shape, report = _counted(spec, cell, shelf=shelf, progress=progress)
    arrays = arrays_of(report)
    words = _texts(checkpoint.source, arrays["token_ids"])
    body = {**named, **_body(report, cell, seed=spec.seed), **shape, "token_text": words}
    return record.write(folder, body, arrays)


def _counted(
    spec: NeuronSpec, cell: Cell, *, shelf: Shelf, progress: Progress
) -> tuple[dict[str, Any], NeuronReport]:
    """The model's shape, and what its neurons do on the text."""
    prepared, windows = cell.prepared, cell.prepared.windows
    if windows.tokens < FEW_TOKENS:
        logger.info("%s: on %d tokens a neuron that fires rarely may look dead", cell.text, windows.tokens)
    loaded = shelf.get(
        prepared.checkpoint.source, dtype=prepared.dtype, device=prepared.device, ids=windows.ids
    )
    shape = shape_of(
        loaded.model,
        loaded.sites,
        architecture=loaded.architecture,
        architecture_file=spec.architecture_file,
    )
    refuse_mixtures(loaded.sites)
    refuse_other_models(cell.calibration, loaded.sites, shape=shape)
    batch = spec.batch_size or auto_batch_size(prepared.device, window=windows.window)
    subject = Subject(loaded.model, loaded.sites, windows, batch, progress)
    total = shape["params_total"]
    return shape, report_of(subject, cell.calibration, decode=cell.plan, params_total=total, seed=spec.seed)


def _body(report: NeuronReport, cell: Cell, *, seed: int) -> dict[str, Any]:
    prepared, windows, calibration = cell.prepared, cell.prepared.windows, cell.calibration
    ratio = report.estimator.activation_ratio()
    counts = report.estimator.counts
    predictions = int(counts.windows.sum()) * windows.predictions_per_window
    return {
        "tokenizer": tokenizer_identity(prepared.checkpoint.source),
        "criterion": calibration.criterion,
        "knob": calibration.knob,
        "ppl_increase_target": calibration.ppl_increase,
        "thresholds": list(calibration.thresholds),
        "calibrated_on": calibration.calibrated_on and dict(calibration.calibrated_on),
        "activation_ratio": ratio.value,
        "activation_ratio_se": ratio.se,
        "loss_sparse_nats": float(counts.loss_nats.sum() / predictions),
        "layer_rows": layer_rows(report),
        "chunk_rows": chunk_rows(report),
        "parameter_rows": parameter_rows(report),
        "decode_rows": decode_rows(report, seed=seed),
        "tokens": windows.tokens,
        "window": windows.window,
        "bos": windows.bos_id is not None,
        "text_sha256": windows.sha256,
        "seed": seed,
        "content_key": cell.key,
        "provenance": provenance(
            device=prepared.device,
            dtype=str(prepared.dtype).removeprefix("torch."),
            dtype_reason=prepared.dtype_reason,
        ),
    }


def arrays_of(report: NeuronReport) -> dict[str, np.ndarray]:
    """The arrays of a record; see `record.ARRAYS`."""
    counts, sizes = report.estimator.counts, report.estimator.sizes
    ids = np.flatnonzero(counts.token_count)
    token_ratio, token_error = token_ratios(counts, sizes, ids)
    position_ratio, position_error = position_ratios(counts, sizes)
    return {
        "sizes": sizes,
        "fired": counts.fired.sum(axis=0),
        "token_ids": ids,
        "token_count": counts.token_count[ids],
        "token_active": counts.token_active[:, ids],
        "token_ratio": token_ratio,
        "token_ratio_se": token_error,
        "position_active": counts.position_active,
        "position_ratio": position_ratio,
        "position_ratio_se": position_error,
    }


def _texts(source: Source, ids: np.ndarray) -> list[str]:
    """What each token reads as, one line each; a part of a character by the tokenizer's own name of it."""
    tokenizer = load_tokenizer(source)
    found = []
    for token in ids.tolist():
        text = tokenizer.decode([token])
        if not text or "\ufffd" in text:
            text = str(tokenizer.convert_ids_to_tokens(token))
        found.append(
            text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        )
    return found


def _summary(spec: NeuronSpec, found: Sequence[NeuronRecord]) -> dict[str, Any]:
    """What was watched, for the folder's report."""
    keys = ("name", "model", "revision", "text", "criterion", "knob", "ppl_increase_target", "tokens", "window",
            "activation_ratio", "activation_ratio_se", "loss_sparse_nats", "content_key")  # fmt: skip
    rows = [{key: one.body[key] for key in keys} for one in found]
    return {
        "rows": rows,
        "texts": {text.name: str(text.path) for text in spec.texts},
        "provenance": provenance(seed=spec.seed),
    }
