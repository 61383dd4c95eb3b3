"""Every checkpoint on every text under its thresholds: what `neurons`, `structure` and `predict` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import tokenizer_identity
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.model.loaded import Loaded, Shelf
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.windows import Windows, refuse_same_tokens
from sparsity_lab.measure.neurons.spec import NeuronSpec, thresholds_of
from sparsity_lab.measure.search.settings import cell_key, given
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration, refuse_other_models
from sparsity_lab.measure.work.cells import Bench
from sparsity_lab.measure.work.record import shape_of
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance

# What `described` says of a place, for the documented keys of a record.
PLACE_KEYS: dict[str, str] = {
    "model": "directory or Hub id of the checkpoint, as given",
    "revision": "Hub revision as given, or null",
    "commit": "hash of the commit that the Hub id and revision meant at that time, or null for a local directory",
    "series": "name of the run the checkpoint belongs to",
    "name": "how tables call the checkpoint",
    "text": "how tables call the text",
    "tokenizer": "hash of the tokenizer's files; models of one hash share their token ids",
    "criterion": "id of the rule whose thresholds were applied",
    "knob": "where they were set, or null",
    "ppl_increase_target": "p of PPL-p% where they were set so, or null",
    "thresholds": "on the criterion's score, layer by layer",
    "calibrated_on": "content_key of the record they are of and text_sha256 of its text",
    "tokens": "valid tokens of the text (BOS not among them)",
    "window": "tokens of one window, without the BOS",
    "bos": "true where a BOS token stood in front of each window",
    "text_sha256": "hash of the token ids (little-endian int64)",
    "provenance": "versions, device, dtype with its reason, tokenizer (what tokenising lost or its files disagree "
    "about), command, time, git revision",
}


@dataclass(frozen=True)
class Place:
    """One checkpoint on one text under one record's thresholds.

    Attributes:
        prepared: the checkpoint and the text's windows.
        calibration: the thresholds.
        text: name of the text.
        measured: content key of the sparse run this is.
    """

    prepared: Prepared
    calibration: Calibration
    text: str
    measured: str

    def named(self) -> dict[str, Any]:
        """How records and tables call it; no part of what determines the numbers."""
        checkpoint = self.prepared.checkpoint
        return {
            "model": checkpoint.source.model,
            "revision": checkpoint.source.revision,
            "commit": checkpoint.source.commit,
            "series": checkpoint.series,
            "name": checkpoint.name,
            "text": self.text,
        }

    def described(self) -> dict[str, Any]:
        """The keys of `PLACE_KEYS`."""
        prepared, windows, calibration = self.prepared, self.prepared.windows, self.calibration
        return {
            **self.named(),
            "tokenizer": tokenizer_identity(prepared.checkpoint.source),
            "criterion": calibration.criterion,
            "knob": calibration.knob,
            "ppl_increase_target": calibration.ppl_increase,
            "thresholds": list(calibration.thresholds),
            "calibrated_on": calibration.calibrated_on and dict(calibration.calibrated_on),
            "tokens": windows.tokens,
            "window": windows.window,
            "bos": windows.bos_id is not None,
            "text_sha256": windows.sha256,
            "provenance": provenance(
                device=prepared.device,
                dtype=str(prepared.dtype).removeprefix("torch."),
                dtype_reason=prepared.dtype_reason,
                tokenizer=list(windows.notes),
            ),
        }


def places(
    spec: NeuronSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    progress: Progress = SILENT,
    shelf: Shelf | None = None,
) -> list[Place]:
    """Every place, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.check()
    checkpoints = [checkpoint.pinned() for checkpoint in checkpoints]
    benches = {
        text.name: Bench(spec.measure_spec(text.path), folder=Path(), progress=progress, shelf=shelf)
        for text in spec.texts
    }
    found = []
    for checkpoint, path in zip(checkpoints, thresholds_of(thresholds, checkpoints), strict=True):
        calibration = read_calibration(path)
        prepared = {text: bench.prepare(checkpoint) for text, bench in benches.items()}
        refuse_same_tokens({text: one.windows for text, one in prepared.items()})
        found += [_place(spec, one, calibration, text=text) for text, one in prepared.items()]
    return found


def refuse_unhalved(windows: Windows, *, text: str = "") -> None:
    """Refuse a text whose second half could not judge what the first half found.

    Args:
        windows: of the text.
        text: its name, where it has one.

    Raises:
        SparsityLabError: fewer than two windows in the second half: no error could be told of what is judged there.
    """
    if windows.count < 3:
        raise SparsityLabError(
            f"The text {text!r} of {windows.count} windows is too short" if text else "The text is too short",
            why=f"Its first half finds and its second judges, which takes 3 windows of {windows.window} tokens",
            fix="Give a longer --text, more --tokens, or a smaller --window",
        )


def load(
    spec: NeuronSpec, place: Place, *, shelf: Shelf, progress: Progress
) -> tuple[Loaded, dict[str, Any], Subject]:
    """The model of a place, its shape, and the model with its text, ready to be passed over.

    Raises:
        SparsityLabError: weights that cannot be used, or thresholds of another kind of model.
    """
    prepared, windows = place.prepared, place.prepared.windows
    loaded = shelf.get(
        prepared.checkpoint.source, dtype=prepared.dtype, device=prepared.device, ids=windows.ids
    )
    shape = shape_of(
        loaded.model,
        loaded.sites,
        architecture=loaded.architecture,
        architecture_file=spec.architecture_file,
    )
    refuse_other_models(place.calibration, loaded.sites, shape=shape)
    batch = spec.batch_size or auto_batch_size(prepared.device, window=windows.window)
    return loaded, shape, Subject(loaded.model, loaded.sites, windows, batch, progress)


def _place(spec: NeuronSpec, prepared: Prepared, calibration: Calibration, *, text: str) -> Place:
    key = cell_key(
        given(calibration), windows=prepared.windows, weights=prepared.identity, dtype=prepared.dtype,
        device=prepared.device, criterion=calibration.criterion, seed=spec.seed,
        architecture_file=spec.architecture_file,
    )  # fmt: skip
    return Place(prepared, calibration, text, key)
