"""Thresholds from one text on another: every text calibrates, and each one's thresholds are applied to all.

A threshold is set on a calibration text and used on others. How much sparsity and perplexity that costs is a
matrix: calibrated on (rows) by measured on (columns). The diagonal is measured under its own thresholds once
more, so that all errors of the matrix mean the same: at those thresholds, over windows of the text measured on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.measure.checkpoint.prepared import name_of
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.search.settings import given, setting_of
from sparsity_lab.measure.sources.named import NamedText
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec, as_json
from sparsity_lab.measure.texts.between import CALIBRATION, between_rows
from sparsity_lab.measure.texts.matrices import transfer_markdown
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Cell
from sparsity_lab.measure.work.failures import Lost, failed_row, together
from sparsity_lab.measure.work.measuring import RECORDS, MeasurePlan, MeasureRecipe, Record, measure_run
from sparsity_lab.measure.work.preparing import OnTexts, Preparer, prepared_on
from sparsity_lab.measure.work.run_cells import HERE, CellRun, Means
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.measured import TEXTS, TRANSFER

logger = logging.getLogger(__name__)


def measure_transfer(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    texts: Sequence[NamedText],
    output: Path,
    means: Means = HERE,
) -> list[dict[str, Any]]:
    """Calibrate on every text and apply each one's thresholds to all; cells with a record are not measured again.

    Of several checkpoints, one that fails leaves one row that says why, as in `measure_checkpoints`, and no matrix.

    Args:
        spec: the settings; its text does not matter.
        checkpoints: which models.
        texts: two or more, from `named_texts`.
        output: gets `records/`, `config.json`, `transfer.csv`, `texts.csv` and `transfer.md`.
        means: launcher, progress, and loggers, which get a point of each application, in a series for each text.

    Returns:
        One row for each checkpoint, text calibrated on and text measured on; `failures.failed_row`s among them.

    Raises:
        SparsityLabError: bad settings, checkpoints or texts, or a criterion without thresholds.
    """
    check_transfer(spec, texts)
    asked = spec
    spec, checkpoints = together(spec, checkpoints)
    records.refuse_model_folder(output)
    with measure_run(spec, means, output=output) as run:
        on_texts = _prepare_all(spec, checkpoints, texts, elsewhere=run.crew.device)
        means.loggers.start()
        # A process that works alone keeps one model: it has done with each checkpoint before it loads the next.
        batches = [[each] for each in on_texts] if run.crew.alone else [on_texts]
        rows = []
        for batch in batches:
            batch_rows = _matrices(run, spec, batch)
            for row in failures.measured(batch_rows):  # a curve for each text measured on
                means.loggers.record({**row, "series": f"{row['series']} on {row['measured_on']}"})
            rows += batch_rows
    records.write_json(output / "config.json", _config(asked, checkpoints, texts))
    records.write_text(output / "transfer.csv", TRANSFER.csv(rows))
    records.write_text(output / "texts.csv", TEXTS.csv(between_rows(rows)))
    records.write_text(output / "transfer.md", transfer_markdown(rows, [text.name for text in texts]))
    logger.info(
        "%s measured in this run, calibrations among them; %d in the table",
        counted(len(run.made), "cell"),
        len(rows),
    )
    failures.tell(rows, total=len(checkpoints), table="transfer.csv")
    return rows


def plan_transfer(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, texts: Sequence[NamedText], output: Path
) -> MeasurePlan:
    """What there is to do; loads no weights and writes nothing."""
    check_transfer(spec, texts)
    spec, checkpoints = together(spec, checkpoints)
    folder = output / RECORDS
    on_texts = _prepare_all(spec, checkpoints, texts)
    ready = [each for each in on_texts if not isinstance(each, Lost)]
    done = 0
    for prepared in ready:
        for each in prepared.values():
            calibrated = Cell(MeasureRecipe(spec, setting_of(spec)), each).find(folder)
            if calibrated is not None and not spec.again:
                applied = MeasureRecipe(spec, given(_calibration(folder, calibrated)))
                done += 1 + sum(Cell(applied, on).find(folder) is not None for on in prepared.values())
    shown = tuple(each for prepared in ready for each in prepared.values())
    lost = tuple(each for each in on_texts if isinstance(each, Lost))
    return MeasurePlan(shown, len(ready) * len(texts) * (1 + len(texts)), done, lost)


def check_transfer(spec: MeasureSpec, texts: Sequence[NamedText]) -> None:
    """Refuse settings and texts that make no matrix.

    Raises:
        SparsityLabError: one text alone, a criterion without thresholds, or a rule that finds no thresholds of its
            own.
    """
    check_spec(spec)
    if len(texts) < 2:
        raise SparsityLabError(
            "A transfer needs two texts or more", fix="Add --transfer NAME=FILE, once for each"
        )
    if not hasattr(registry.load("criteria", spec.criterion), "threshold_score"):
        raise SparsityLabError(
            f"{spec.criterion} has no thresholds that could be carried to another text",
            why="It decides token by token, from that token's own scores",
            fix="Measure it at one --knob on each text",
        )
    for option, value in (
        ("--thresholds", spec.thresholds),
        ("--stabilise", spec.stabilise_last),
        ("--compat", spec.compat),
        ("--tokens auto", spec.error_share),
        ("A second value", spec.further or None),
    ):
        if value is not None:
            raise SparsityLabError(
                f"{option} does not go together with --transfer", fix="Leave one of them out"
            )


def _prepare_all(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    texts: Sequence[NamedText],
    *,
    elsewhere: str | None = None,
) -> list[OnTexts | Lost]:
    """Every checkpoint on every text, or why it cannot be measured."""
    preparers = {text.name: Preparer(replace(spec, text=text.path), elsewhere=elsewhere) for text in texts}
    return [prepared_on(preparers, checkpoint, fail_fast=spec.fail_fast) for checkpoint in checkpoints]


def _matrices(run: CellRun[Record], spec: MeasureSpec, on_texts: Sequence[OnTexts | Lost]) -> list[Record]:
    """The rows of some checkpoints: all calibrations are measured, then all that they are applied to."""
    search = MeasureRecipe(spec, setting_of(spec))
    texts = [each for prepared in on_texts if not isinstance(prepared, Lost) for each in prepared.values()]
    answers = iter(run.answers([Cell(search, each) for each in texts], label="transfer, calibrations"))
    matrices: list[list[_Pair] | Lost] = []
    for prepared in on_texts:
        if isinstance(prepared, Lost):
            matrices.append(prepared)
            continue
        calibrated = _all_measured(
            next(iter(prepared.values())).checkpoint, list(islice(answers, len(prepared)))
        )
        if isinstance(calibrated, Lost):
            matrices.append(calibrated)
        else:
            matrices.append(_pairs(run.terms.folder, spec, prepared, calibrated))
    cells = [pair.cell for matrix in matrices if not isinstance(matrix, Lost) for pair in matrix]
    answers = iter(run.answers(cells, label="transfer"))
    rows = []
    for matrix in matrices:
        applied: list[Record] | Lost
        if isinstance(matrix, Lost):
            applied = matrix
        else:
            applied = _all_measured(matrix[0].cell.checkpoint, list(islice(answers, len(matrix))))
        if isinstance(applied, Lost):
            row = failed_row(name_of(applied.checkpoint), applied.error, setting=search.setting, spec=spec)
            rows.append({**row, "flags": ""})
        elif not isinstance(matrix, Lost):
            rows += [pair.row(record) for pair, record in zip(matrix, applied, strict=True)]
    return rows


def _all_measured(
    checkpoint: Checkpoint, answers: Sequence[Record | SparsityLabError]
) -> list[Record] | Lost:
    """The records of a checkpoint's cells, or why the first one that failed has none."""
    for answer in answers:
        if isinstance(answer, SparsityLabError):
            return Lost(checkpoint, answer)
    return [answer for answer in answers if not isinstance(answer, SparsityLabError)]


@dataclass(frozen=True)
class _Pair:
    """A calibration and a text that its thresholds are applied to.

    Attributes:
        calibrated_on, measured_on: names of the texts.
        calibrated: the record that the thresholds are of.
        cell: their application.
    """

    calibrated_on: str
    measured_on: str
    calibrated: Record
    cell: Cell[Record]

    def row(self, applied: Record) -> Record:
        """The row of the table, of the application's record."""
        return {
            **applied,
            "rule": self.calibrated["rule"],
            "activation_ratio_target": self.calibrated["activation_ratio_target"],
            "calibrated_on": self.calibrated_on,
            "measured_on": self.measured_on,
            "ppl_ratio_se": applied["ppl_ratio"] * applied["loss_delta_se_nats"],
            "flags": " ".join(applied["flags"]),
            "calibration_flags": " ".join(self.calibrated["flags"]),
            "calibration_key": self.calibrated["content_key"],
            CALIBRATION: self.calibrated,
        }


def _pairs(folder: Path, spec: MeasureSpec, prepared: OnTexts, calibrated: Sequence[Record]) -> list[_Pair]:
    """Each text's thresholds on every text."""
    pairs = []
    for calibrated_on, record in zip(prepared, calibrated, strict=True):
        recipe = MeasureRecipe(spec, given(_calibration(folder, record)))
        pairs += [_Pair(calibrated_on, on, record, Cell(recipe, each)) for on, each in prepared.items()]
    return pairs


def _calibration(folder: Path, record: dict[str, Any]) -> Calibration:
    return read_calibration(folder / f"{record['content_key']}.json")


def _config(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], texts: Sequence[NamedText]
) -> dict[str, Any]:
    return {
        **{key: value for key, value in as_json(spec).items() if key != "text"},
        "texts": {text.name: str(text.path) for text in texts},
        "checkpoints": [str(checkpoint.source) for checkpoint in checkpoints],
    }
