"""The way of `neurons`, `structure` and `predict`: a record of every checkpoint on every text, then the tables.

A checkpoint that fails does not end a run of several: its rows in the main table say why.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Cell, Desk, Recipe, RunTerms
from sparsity_lab.measure.work.failures import FAILED, Lost
from sparsity_lab.measure.work.places import Place, load, names_of, place_of, places
from sparsity_lab.measure.work.run_cells import HERE, Means, cell_run, command_words
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Kind, Sealed

SUMMARY_KEYS = ("name", "model", "revision", "text", "criterion", "knob", "ppl_increase_target", "tokens", "window",
                "content_key")  # fmt: skip
Made = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]


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
        """What the record says other than its place, and its arrays."""

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
        return place_of(self.watch, prepared, self.calibration, text=self.text)

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


@dataclass(frozen=True)
class Watched:
    """What a run found.

    Attributes:
        records: of each checkpoint and text that has one, in order.
        failed: names of the others, and why under `FAILED`.
    """

    records: list[Sealed]
    failed: list[dict[str, Any]]


@dataclass(frozen=True)
class PlaceCommand:
    """What one of the commands asks at every place.

    Attributes:
        kind: of its records.
        watch: texts, and how models read them.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        recipes: gives those of the places of one checkpoint.
        write: writes the tables to a folder, and gives what the summary holds of all records together.
        values: of a record's body, by names for loggers.
        summary: name of the JSON summary.
        keys: of records that the summary repeats, in addition to `SUMMARY_KEYS`.
        settings: what else it says of the run.
    """

    kind: Kind
    watch: NeuronSpec
    thresholds: Sequence[Path]
    recipes: Callable[[Sequence[Place]], Sequence[PlaceRecipe]]
    write: Callable[[Path, Watched], Mapping[str, Any]]
    values: Callable[[Mapping[str, Any]], Mapping[str, float]]
    summary: str
    keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def watch_checkpoints(
    command: PlaceCommand,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    means: Means = HERE,
) -> Watched:
    """Watch every checkpoint on every text; cells with a record are not run again.

    Of several checkpoints, one that fails leaves rows that say why, and no record. Under `fail_fast`, and where there
    is but one, its error ends the run.

    Args:
        command: what to ask; see the `run.py` of each command's folder.
        checkpoints: which models.
        output: gets the folder of records, the tables and the summary.
        means: launcher, progress, and loggers, which get a point of each record, in a series for each text.

    Raises:
        SparsityLabError: bad settings, texts or thresholds, or a failure that is to end the run; records already
            written stay.
    """
    watch, kind = command.watch, command.kind
    terms = RunTerms(
        output / kind.folder, command_words(), watch.again, watch.fail_fast or len(checkpoints) == 1
    )
    with cell_run(terms, means) as run:
        planned = plan_cells(command, checkpoints, elsewhere=run.crew.device)
        cells = [each[1] for each in planned if not isinstance(each, Lost)]
        steps = {cell.key: cell.prepared.trained_tokens for cell in cells}
        means.loggers.start()

        def log(record: Sealed) -> None:
            body = record.body
            series = f"{body['series']} on {body['text']}"
            means.loggers.values(series, kind.command, command.values(body), step=steps[body["content_key"]])

        answers = iter(run.answers(cells, label=kind.command, tell=log))
    watched = Watched([], [])
    for each in planned:
        answer = each.error if isinstance(each, Lost) else next(answers)
        if isinstance(answer, Sealed):
            watched.records.append(answer)
            continue
        if isinstance(each, Lost):
            names = [names_of(each.checkpoint, text.name) for text in watch.texts]
        else:
            names = [each[0].named()]
        watched.failed.extend({**name, FAILED: answer.paragraph()} for name in names)
    _write(command, watched, output=output)
    bodies = [record.body for record in watched.records]
    failures.tell([*watched.failed, *bodies], total=len(checkpoints), table=f"{command.summary}.json")
    return watched


def plan_cells(
    command: PlaceCommand,
    checkpoints: Sequence[Checkpoint],
    *,
    elsewhere: str | None = None,
) -> list[tuple[Place, Cell[Sealed]] | Lost]:
    """Every place and its cell, checkpoint by checkpoint, or why a checkpoint has none.

    Loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, texts or thresholds; or as `places`.
    """
    planned: list[tuple[Place, Cell[Sealed]] | Lost] = []
    every = places(command.watch, checkpoints, thresholds=command.thresholds, elsewhere=elsewhere)
    for of_checkpoint in every:
        if isinstance(of_checkpoint, Lost):
            planned.append(of_checkpoint)
            continue
        pairs = zip(of_checkpoint, command.recipes(of_checkpoint), strict=True)
        planned += [(place, Cell(recipe, place.prepared)) for place, recipe in pairs]
    return planned


def _write(command: PlaceCommand, watched: Watched, *, output: Path) -> None:
    """Write tables and summary: a row a record, the texts, and where the numbers come from."""
    across = command.write(output, watched)
    rows = [{key: record.body[key] for key in (*SUMMARY_KEYS, *command.keys)} for record in watched.records]
    whole = {
        "rows": rows,
        **({"failed": watched.failed} if watched.failed else {}),
        **command.settings,
        "texts": {text.name: str(text.path) for text in command.watch.texts},
        "provenance": provenance(seed=command.watch.seed),
        **across,
    }
    records.write_json(output / f"{command.summary}.json", whole)
