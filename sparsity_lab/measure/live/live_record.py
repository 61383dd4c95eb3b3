"""Measures a model that lives in this process, in the midst of its training, into the record a checkpoint would leave.

It is left as it was found (see `live_model`), so that training goes on bit for bit as if nothing had been measured.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sparsity_lab.measure.checkpoint.fingerprints import fingerprint
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.live.live_model import undisturbed
from sparsity_lab.measure.model.loaded import find_sites, refuse_strange_ids
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search.engine import measure_subject
from sparsity_lab.measure.search.settings import CellIdentity, Setting
from sparsity_lab.measure.thresholds.stored import refuse_other_models, write_weights
from sparsity_lab.measure.work.record import Named, record_body, shape_of
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records


@dataclass(frozen=True)
class LiveCell:
    """What to measure a live model on, and how.

    Attributes:
        windows: the text.
        setting: how the knob is chosen.
        criterion: id of the criterion.
        seed: of the bootstrap and the pilot.
        batch_size: windows per forward pass, None for auto.
        architecture_file: a file of the user's own for the model's family, or None.
    """

    windows: Windows
    setting: Setting
    criterion: str = "cett"
    seed: int = 0
    batch_size: int | None = None
    architecture_file: Path | None = None


def live_record(
    model: Any, cell: LiveCell, *, named: Named, folder: Path, progress: Progress = SILENT
) -> dict[str, Any]:
    """The record of a live model: read where the folder has it, else measured and written there.

    Args:
        model: a transformers causal LM, left as it was found.
        cell: text and settings.
        named: what the record calls the model.
        folder: of records.
        progress: where to report.

    Raises:
        SparsityLabError: a model, text or setting that cannot be measured.
    """
    with undisturbed(model) as model:
        device, dtype = model.get_input_embeddings().weight.device, model.dtype
        saved = saved_fingerprint(model, Path(named.model))
        key = CellIdentity(
            windows=cell.windows,
            weights=saved or live_fingerprint(model),
            dtype=dtype,
            device=device.type,
            criterion=cell.criterion,
            seed=cell.seed,
            architecture_file=cell.architecture_file,
        ).key(cell.setting)
        found = records.find_record(folder, key)
        if found is not None:
            return records.retold(folder, found, trained_tokens=named.trained_tokens)
        body = _measured(model, cell, named=named, key=key, progress=progress)
        body["weights_sha256"] = saved
        weights = body.pop("score_weights")
        body["score_weights_sha256"] = weights and write_weights(folder, key, weights)
        return records.write_and_read(folder, body)


def live_fingerprint(model: Any) -> str:
    """A hash that changes when the config or any value of the model's weights and buffers does."""
    digest = hashlib.sha256(model.config.to_json_string().encode())
    for name, weight in model.state_dict().items():
        digest.update(f"{name}:{tuple(weight.shape)}:{weight.dtype}:".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def saved_fingerprint(model: Any, folder: Path) -> str | None:
    """The fingerprint of a checkpoint on disk, where it holds the very weights of a live model; None where not.

    `measure` on that checkpoint gives its records the same keys. Weights saved under other names or in another dtype
    are not taken for the model's.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        return None
    live = model.state_dict()
    for path in files:
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - it is not a mapping
                weight = live.get(name)
                if weight is None or not _is_same(weight, stored.get_tensor(name)):
                    return None
    return fingerprint(Source(str(folder)))


def _is_same(weight: torch.Tensor, stored: torch.Tensor) -> bool:
    weight = weight.detach().cpu()
    return weight.dtype == stored.dtype and torch.equal(weight, stored)


def _measured(model: Any, cell: LiveCell, *, named: Named, key: str, progress: Progress) -> dict[str, Any]:
    found = find_sites(model, architecture_file=cell.architecture_file)
    sites = found.sites
    refuse_strange_ids(model, torch.tensor([cell.windows.largest_id]), source=named.model)
    shape = shape_of(model, found)
    if cell.setting.calibration is not None:
        refuse_other_models(cell.setting.calibration, sites, shape=shape)
    device = model.get_input_embeddings().weight.device.type
    batch = cell.batch_size or auto_batch_size(device, window=cell.windows.window)
    subject = Subject(model, sites, cell.windows, batch, progress, allow_untrained=True)  # as in any series
    measured = measure_subject(subject, cell.setting, criterion=cell.criterion, seed=cell.seed)
    body = record_body(measured, named=named, setting=cell.setting.said(), windows=cell.windows, shape=shape)
    body |= {
        "seed": cell.seed,
        "content_key": key,
        "provenance": provenance(
            device=device,
            dtype=str(model.dtype).removeprefix("torch."),
            dtype_reason="the weights of the live model are in it",
            tokenizer=list(cell.windows.notes),
        ),
    }
    return {**body, "score_weights": measured.score_weights}
