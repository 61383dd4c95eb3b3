"""The cells of `neurons`, `structure` and `predict`: every checkpoint on every text under a record's thresholds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import tokenizer_identity
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.model.windows import Windows, refuse_same_tokens
from sparsity_lab.measure.neurons.spec import NeuronSpec, thresholds_of
from sparsity_lab.measure.search.settings import CellIdentity, given
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration, refuse_other_models
from sparsity_lab.measure.work.cells import Cell, Desk, Recipe, RunTerms
from sparsity_lab.measure.work.launchers import ALONE, Options
from sparsity_lab.measure.work.preparing import Preparer
from sparsity_lab.measure.work.record import shape_of
from sparsity_lab.measure.work.run_cells import cell_run, command_words
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Kind, Sealed

SUMMARY_KEYS = ("name", "model", "revision", "text", "criterion", "knob", "ppl_increase_target", "tokens", "window",
                "content_key")  # fmt: skip
Made = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]

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
            "text_sha256": windows.sha256,
            "provenance": prepared.provenance(command, notes=windows.notes),
        }


def places(
    spec: NeuronSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    elsewhere: str | None = None,
) -> list[Place]:
    """Every place, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.check()
    checkpoints = [checkpoint.pinned() for checkpoint in checkpoints]
    preparers = {
        text.name: Preparer(spec.measure_spec(text.path), elsewhere=elsewhere) for text in spec.texts
    }
    found = []
    for checkpoint, path in zip(checkpoints, thresholds_of(thresholds, checkpoints), strict=True):
        calibration = read_calibration(path)
        prepared = {text: preparer.prepare(checkpoint) for text, preparer in preparers.items()}
        refuse_same_tokens({text: one.windows for text, one in prepared.items()})
        found += [_place(spec, one, calibration, text=text) for text, one in prepared.items()]
    return found


@dataclass(frozen=True)
class PlaceRecipe(Recipe[Prepared, Sealed]):
    """What one command asks of a place; each adds its settings, its record's kind and how it is made.

    Attributes:
        watch: what holds for all places.
        calibration: the thresholds.
        text: name of the text.
    """

    KIND: ClassVar[Kind]

    watch: NeuronSpec
    calibration: Calibration
    text: str

    @abstractmethod
    def determinants(self, measured: str) -> dict[str, Any]:
        """What the content key is made of; `measured` is that of the sparse run."""

    @abstractmethod
    def made(self, place: Place, desk: Desk) -> Made:
        """What the record says besides its place, and its arrays."""

    def loaded(self, place: Place, desk: Desk) -> tuple[dict[str, Any], Subject]:
        """The shape of a place's model, and the model with its text."""
        shelf = desk.kept.shelf(place.prepared)
        return load(self.watch, place, shelf=shelf, progress=desk.progress)

    @property
    def label(self) -> str:
        """The text."""
        return self.text

    def place(self, prepared: Prepared) -> Place:
        """Where it is asked."""
        return _place(self.watch, prepared, self.calibration, text=self.text)

    def key(self, prepared: Prepared) -> str:
        """See `Recipe`."""
        return records.content_key(self.determinants(self.place(prepared).measured))

    def find(self, folder: Path, key: str) -> Sealed | None:
        """See `Recipe`."""
        return self.KIND.find(folder, key)

    def make(self, prepared: Prepared, key: str, desk: Desk) -> Sealed:
        """See `Recipe`."""
        place = self.place(prepared)
        body, arrays = self.made(place, desk)
        described = place.described(desk.terms.command)
        whole = {**described, **body, "seed": self.watch.seed, "content_key": key}
        return self.KIND.write(desk.terms.folder, whole, arrays)

    def named(self, prepared: Prepared, record: Sealed, folder: Path) -> Sealed:
        """See `Recipe`."""
        return Sealed({**record.body, **self.place(prepared).named()}, record.arrays)


def calibration_of(cell: Cell[Sealed]) -> Calibration:
    """The thresholds of a cell of these commands."""
    assert isinstance(cell.recipe, PlaceRecipe), "theirs are"
    return cell.recipe.calibration


def prepared_of(cell: Cell[Sealed]) -> Prepared:
    """The checkpoint of a cell of these commands, on its text."""
    assert isinstance(cell.prepared, Prepared), "theirs are"
    return cell.prepared


def sealed_records(
    kind: Kind,
    cells_of: Callable[[str | None], Sequence[Cell[Sealed]]],
    *,
    output: Path,
    options: Options = ALONE,
    progress: Progress = SILENT,
) -> list[Sealed]:
    """The records of a command's cells in `output`, in order; those that are there are not made again.

    Args:
        kind: of the records.
        cells_of: gives the cells, told what the device `auto` means where they are made.
        output: the command's.
        options: the launcher that hands cells to processes and what it is told.
        progress: where to report.

    Raises:
        SparsityLabError: what planning or making refuses; records already written stay.
    """
    terms = RunTerms(output / kind.folder, command_words())
    with cell_run(terms, options=options, progress=progress) as run:
        answers = run.answers(cells_of(run.crew.device), label=kind.command)
    return [answer for answer in answers if isinstance(answer, Sealed)]  # a failure has ended the run


def summary(
    watch: NeuronSpec, sealed: Sequence[Sealed], *, keys: Sequence[str] = (), **more: object
) -> dict[str, Any]:
    """What was done, for the folder's report: a row a record, the texts, and where the numbers come from."""
    return {
        "rows": [{key: record.body[key] for key in (*SUMMARY_KEYS, *keys)} for record in sealed],
        **more,
        "texts": {text.name: str(text.path) for text in watch.texts},
        "provenance": provenance(seed=watch.seed),
    }


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
) -> tuple[dict[str, Any], Subject]:
    """The shape of a place's model, and the model with its text, ready to be passed over.

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
    return shape, Subject(loaded.model, loaded.sites, windows, batch, progress)


def _place(spec: NeuronSpec, prepared: Prepared, calibration: Calibration, *, text: str) -> Place:
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
