"""The cells of `measure`: a criterion in a setting, as a whole or in parts of the text, and their rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.prepared import Prepared, name_of, named_of
from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.model.loaded import Loaded
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.search.engine import measure_subject
from sparsity_lab.measure.search.part import WindowSpan
from sparsity_lab.measure.search.settings import CellIdentity, Setting
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.thresholds.stored import refuse_other_models, write_weights
from sparsity_lab.measure.work.cells import Cell, Desk, Recipe, RunTerms
from sparsity_lab.measure.work.failures import Lost, failed_row, together
from sparsity_lab.measure.work.preparing import Preparer
from sparsity_lab.measure.work.record import record_body, shape_of
from sparsity_lab.measure.work.run_cells import HERE, CellRun, Means, cell_run, command_words
from sparsity_lab.measure.work.shards import (
    has_part,
    measure_part,
    read_parts,
    remove_parts,
    spans,
    write_part,
)
from sparsity_lab.store import records

Record = dict[str, Any]
RECORDS = "records"  # their folder in an output


@dataclass(frozen=True)
class MeasureRecipe(Recipe[Prepared, Record]):
    """A measurement.

    Attributes:
        spec: its criterion and all that holds for every cell.
        setting: how its knob is chosen.
    """

    spec: MeasureSpec
    setting: Setting

    @property
    def label(self) -> str:
        """The rule that chooses the knob."""
        return self.setting.rule

    def key(self, prepared: Prepared) -> str:
        """See `search.settings.CellIdentity`."""
        spec = self.spec
        return CellIdentity(
            windows=prepared.windows,
            weights=prepared.identity,
            dtype=prepared.dtype,
            device=prepared.device,
            criterion=spec.criterion,
            seed=spec.seed,
            architecture_file=spec.architecture_file,
            compat=spec.compat,
        ).key(self.setting)

    def find(self, folder: Path, key: str) -> Record | None:
        """See `Recipe`."""
        return records.find_record(folder, key)

    def make(self, prepared: Prepared, key: str, desk: Desk) -> Record:
        """Measure, of the cell's parts where they are there."""
        spec, folder = self.spec, desk.terms.folder
        loaded, subject = self.subject(prepared, desk)
        split = self._spans(prepared)
        part = read_parts(folder, key, split) if split else None
        measured = measure_subject(
            subject, self.setting, criterion=spec.criterion, seed=spec.seed, compat=spec.compat, part=part
        )
        body = record_body(
            measured,
            named=named_of(prepared),
            setting={**self.setting.said(), "compat": spec.compat},
            windows=prepared.windows,
            shape=self._shape(loaded),
        )
        body |= {
            "seed": spec.seed,
            **loaded.files(),
            "content_key": key,
            "provenance": dict(prepared.provenance(desk.terms.command, notes=prepared.windows.notes)),
        }
        weights = measured.score_weights
        sha256 = weights and write_weights(folder, key, weights)
        return records.write_and_read(folder, {**body, "score_weights_sha256": sha256})

    def named(self, prepared: Prepared, record: Record, folder: Path) -> Record:
        """The record with its checkpoint's names and trained tokens as this run knows them."""
        noise = self.setting.knob_noise
        known = {} if noise is None else noise.of_record(record)
        retold = records.retold(folder, record, trained_tokens=prepared.trained_tokens, **known)
        return {**retold, **named_of(prepared).words()}

    def parts(self, prepared: Prepared) -> list[PartRecipe]:
        """The stretches of the text that are measured apart."""
        return [PartRecipe(self, span) for span in self._spans(prepared)]

    def clear(self, folder: Path, key: str) -> None:
        """Remove the parts' files."""
        if self.spec.text_shards > 1:
            remove_parts(folder, key)

    def subject(self, prepared: Prepared, desk: Desk) -> tuple[Loaded, Subject]:
        """What was loaded, and the model with its text.

        Raises:
            SparsityLabError: weights that cannot be used or have changed, or thresholds of another kind of model.
        """
        windows, checkpoint = prepared.windows, prepared.checkpoint
        loaded = desk.kept.shelf(prepared).get(
            checkpoint.source, dtype=prepared.dtype, device=prepared.device, ids=windows.ids
        )
        if checkpoint.source.folder is not None and loaded.content != prepared.identity:
            raise SparsityLabError(
                f"The files of {checkpoint.source} changed while they were being measured",
                fix="Leave checkpoints alone while they are measured, and run the command again",
            )
        if self.setting.calibration is not None:
            refuse_other_models(self.setting.calibration, loaded.sites, shape=self._shape(loaded))
        allowed = self.spec.allow_untrained or checkpoint.in_series
        batch = self._batch(prepared)
        return loaded, Subject(loaded.model, loaded.sites, windows, batch, desk.progress, allowed)

    def _spans(self, prepared: Prepared) -> list[WindowSpan]:
        """The parts of the text; none where it is measured as a whole."""
        if self.spec.text_shards == 1:
            return []
        return spans(prepared.windows.count, shards=self.spec.text_shards, batch=self._batch(prepared))

    def _batch(self, prepared: Prepared) -> int:
        return self.spec.batch_size or auto_batch_size(prepared.device, window=prepared.windows.window)

    def _shape(self, loaded: Loaded) -> dict[str, Any]:
        return shape_of(loaded.model, loaded.found)


@dataclass(frozen=True)
class PartRecipe(Recipe[Prepared, bool]):
    """One part of a measurement: both runs over some windows, in a file that the whole is made of."""

    whole: MeasureRecipe
    span: WindowSpan

    @property
    def label(self) -> str:
        """Which part."""
        return f"part {self.span.number} of {self.span.count}"

    def key(self, prepared: Prepared) -> str:
        """The name of the part's file and claim."""
        return self.span.name(self.whole.key(prepared))

    def find(self, folder: Path, key: str) -> bool | None:
        """Whether the file is there."""
        return has_part(folder, key) or None

    def make(self, prepared: Prepared, key: str, desk: Desk) -> bool:
        """Measure the part and write its file."""
        spec, setting = self.whole.spec, self.whole.setting
        _, subject = self.whole.subject(prepared, desk)
        part = halving(
            subject,
            lambda: measure_part(subject, setting, self.span, criterion=spec.criterion, seed=spec.seed),
        )
        write_part(desk.terms.folder, key, part, span=self.span)
        return True


def measure_run(
    spec: MeasureSpec, means: Means = HERE, *, output: Path, leave_out: bool = False
) -> AbstractContextManager[CellRun[Record]]:
    """A run of measurements, whose records lie in `output`; see `run_cells.cell_run`.

    Raises:
        SparsityLabError: an output that cannot be written, or as `cell_run`.
    """
    terms = RunTerms(output / RECORDS, command_words(), spec.again, spec.fail_fast, leave_out)
    return cell_run(terms, means)


@dataclass(frozen=True)
class MeasurePlan:
    """What a run would do.

    Attributes:
        prepared: checkpoints, ready but for their weights; where there are several texts, on each.
        cells: of them all, the series rule's own search aside.
        done: how many of these have records already.
        lost: checkpoints that cannot be measured.
    """

    prepared: tuple[Prepared, ...]
    cells: int
    done: int
    lost: tuple[Lost, ...] = ()


def planned(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    recipes_of: Callable[[MeasureSpec], Sequence[MeasureRecipe]],
    *,
    output: Path,
) -> MeasurePlan:
    """What there would be to do for each checkpoint by each recipe, given the records in an output."""
    spec, checkpoints = together(spec, checkpoints)
    recipes = recipes_of(spec)
    prepared = Preparer(spec).prepare_all(checkpoints)
    ready = tuple(checkpoint for checkpoint in prepared if isinstance(checkpoint, Prepared))
    lost = tuple(checkpoint for checkpoint in prepared if isinstance(checkpoint, Lost))
    cells = [Cell(recipe, checkpoint) for checkpoint in ready for recipe in recipes if not spec.again]
    done = sum(cell.find(output / RECORDS) is not None for cell in cells)
    return MeasurePlan(ready, len(ready) * len(recipes), done, lost)


Wanted = tuple[Prepared | Lost, MeasureRecipe]


def measured_rows(
    run: CellRun[Record],
    wanted: Sequence[Wanted],
    *,
    label: str,
    tell: Callable[[Record], None] | None = None,
) -> list[Record]:
    """The records of cells, in their order; a cell that fails has a row that says why in its place.

    Args:
        run: measures those that have no record.
        wanted: checkpoints, each with what to measure of it; those that are lost already stay so.
        label: names the work where progress is shown.
        tell: given each cell's record once, in the cells' order, as soon as it and all before it are there.

    Raises:
        SparsityLabError: a cell cannot be measured and that is to end the run, or its record not be written.
    """
    cells = [Cell(recipe, prepared) for prepared, recipe in wanted if isinstance(prepared, Prepared)]
    answers = iter(run.answers(cells, label=label, tell=tell))
    rows = []
    for checkpoint, recipe in wanted:
        answer = checkpoint.error if isinstance(checkpoint, Lost) else next(answers)
        if isinstance(answer, SparsityLabError):
            name = name_of(checkpoint.checkpoint) if isinstance(checkpoint, Lost) else named_of(checkpoint)
            answer = failed_row(name, answer, setting=recipe.setting, spec=recipe.spec)
        rows.append(answer)
    return rows
