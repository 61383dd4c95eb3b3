"""The places of `neurons`, `structure` and `predict`: a checkpoint on a text under a record's thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import tokenizer_identity
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.neurons.spec import NeuronSpec, thresholds_of
from sparsity_lab.measure.search.settings import CellIdentity, given
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration, refuse_other_models
from sparsity_lab.measure.work.failures import Lost, failure
from sparsity_lab.measure.work.preparing import Preparer, prepared_on
from sparsity_lab.measure.work.record import shape_of
from sparsity_lab.progress import Progress
from sparsity_lab.store.record_keys import RECORD_KEYS

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
    "sample": "where the windows lie: spread over the whole text, its head, or the whole of it",
    "errors_hold_for": "what standard errors and intervals speak of: the corpus, or this text alone",
    "text_source": RECORD_KEYS["text_source"],
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
        return names_of(self.prepared.checkpoint, self.text)

    def described(self, command: Sequence[str]) -> dict[str, Any]:
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
            **windows.sampling(),
            "text_sha256": windows.sha256,
            "provenance": prepared.provenance(command, notes=windows.notes),
        }


def places(
    spec: NeuronSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    elsewhere: str | None = None,
) -> list[list[Place] | Lost]:
    """The places of each checkpoint, or why it has none; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, texts or thresholds; or of a checkpoint, where it is alone or under `fail_fast`.
    """
    spec.check()
    preparers = {
        text.name: Preparer(spec.measure_spec(text.path), elsewhere=elsewhere) for text in spec.texts
    }
    fail_fast = spec.fail_fast or len(checkpoints) == 1
    of_checkpoints: list[list[Place] | Lost] = []
    for checkpoint, path in zip(checkpoints, thresholds_of(thresholds, checkpoints, spec), strict=True):
        if isinstance(path, SparsityLabError):
            of_checkpoints.append(Lost(checkpoint, failure(path, checkpoint, fail_fast=fail_fast)))
            continue
        calibration = read_calibration(path)
        on_texts = prepared_on(preparers, checkpoint, fail_fast=fail_fast)
        if isinstance(on_texts, Lost):
            of_checkpoints.append(on_texts)
            continue
        of_checkpoints.append(
            [place_of(spec, each, calibration, text=text) for text, each in on_texts.items()]
        )
    return of_checkpoints


def refuse_unhalved(windows: Windows, *, text: str = "") -> None:
    """Refuse a text whose second half could not judge what the first half found.

    Args:
        windows: of the text.
        text: its name, where it has one.

    Raises:
        SparsityLabError: fewer than two windows in the second half, too few to estimate an error there.
    """
    if windows.count < 3:
        raise SparsityLabError(
            f"The text {text!r} of {windows.count} windows is too short" if text else "The text is too short",
            why=f"Its first half finds and its second judges, which takes 3 windows of {windows.window} tokens",
            fix="Give a longer --text, more --tokens, or a smaller --window",
        )


def load(
    spec: NeuronSpec, place: Place, *, shelf: Shelf, progress: Progress
) -> tuple[dict[str, Any], Subject]:
    """The shape of a place's model, and the model with its text, ready to be passed over.

    Raises:
        SparsityLabError: weights that cannot be used, or thresholds of another kind of model.
    """
    prepared, windows = place.prepared, place.prepared.windows
    loaded = shelf.get(
        prepared.checkpoint.source, dtype=prepared.dtype, device=prepared.device, ids=windows.ids
    )
    shape = shape_of(loaded.model, loaded.found)
    refuse_other_models(place.calibration, loaded.sites, shape=shape)
    batch = spec.batch_size or auto_batch_size(prepared.device, window=windows.window)
    return shape, Subject(loaded.model, loaded.sites, windows, batch, progress)


def place_of(spec: NeuronSpec, prepared: Prepared, calibration: Calibration, *, text: str) -> Place:
    """A place, with the content key of the sparse run that it is."""
    key = CellIdentity(
        windows=prepared.windows,
        weights=prepared.identity,
        dtype=prepared.dtype,
        device=prepared.device,
        criterion=calibration.criterion,
        seed=spec.seed,
        architecture_file=spec.architecture_file,
    ).key(given(calibration))
    return Place(prepared, calibration, text, key)


def names_of(checkpoint: Checkpoint, text: str) -> dict[str, Any]:
    """How records and tables call a checkpoint on a text."""
    source = checkpoint.source
    return {
        "model": source.model,
        "revision": source.revision,
        "commit": source.commit,
        "series": checkpoint.series,
        "name": checkpoint.name,
        "text": text,
    }
