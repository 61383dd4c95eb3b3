"""Measures checkpoints cell by cell, each cell's record written as it completes, then the table of them all."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.search.settings import settings_of
from sparsity_lab.measure.search.steps import UNTRAINED
from sparsity_lab.measure.series_rule import series_knobs
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec, as_json
from sparsity_lab.measure.table import write_table
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Bench
from sparsity_lab.measure.work.dispatch import Crew
from sparsity_lab.measure.work.failures import Lost, pinned, together
from sparsity_lab.measure.work.launchers import ALONE, Options, check_options
from sparsity_lab.measure.work.run_cells import Cell, Tell, gather
from sparsity_lab.measure.work.text_length import grown
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeasurePlan:
    """What a run would do.

    Attributes:
        prepared: checkpoints, ready but for their weights.
        cells: of them all, the series rule's own search aside.
        done: how many of these have records already.
        lost: checkpoints that cannot be measured.
    """

    prepared: tuple[Prepared, ...]
    cells: int
    done: int
    lost: tuple[Lost, ...] = ()


def plan(spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, output: Path) -> MeasurePlan:
    """What there is to do; loads no weights and writes nothing."""
    check_spec(spec)
    spec, checkpoints = together(spec, checkpoints)
    bench = Bench(spec, folder=output / "records")
    found = bench.prepare_all(checkpoints)
    prepared = tuple(one for one in found if isinstance(one, Prepared))
    done = [bench.done(one, setting) is not None for one in prepared for setting in settings_of(spec)]
    return MeasurePlan(prepared, len(done), sum(done), tuple(one for one in found if isinstance(one, Lost)))


def measure_checkpoints(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    per_checkpoint: bool = False,
    progress: Progress = SILENT,
    launcher: str = "inline",
    options: Options = ALONE,
    loggers: Loggers = NO_LOGGERS,
) -> list[dict[str, Any]]:
    """Measure every checkpoint; cells with a record are not measured again.

    Of several checkpoints, one that fails leaves rows that say why under the key `failed`, and no record; a summary is
    logged at the end. Under `spec.fail_fast`, and where there is but one, its error ends the run.

    Args:
        spec: the settings; with `stabilise_last` the series rule is applied to each series.
        checkpoints: in the order of their training, series by series.
        output: gets `records/`, `config.json`, `table.csv` and `table.md`.
        per_checkpoint: with the series rule, also measure each checkpoint at its own knob.
        progress: where to report.
        launcher: id of the launcher that hands cells to processes.
        options: what it is told; the numbers do not depend on it.
        loggers: get a point of each record as it is there; under `error_share`, which measures on growing text, at
            the end.

    Returns:
        The records of the table, in its order, and `failures.failed_row`s among them.

    Raises:
        SparsityLabError: bad settings, or a failure that is to end the run; records already written stay.
    """
    check_spec(spec)
    check_options(launcher, options)
    asked = spec
    spec, checkpoints = together(spec, checkpoints)
    found = [pinned(one, fail_fast=spec.fail_fast) for one in checkpoints]
    records.refuse_model_folder(output)
    with records.no_empty_folders(output / "records"):
        records.prepare_output(output)
        folder = records.prepare_output(output / "records")
        measured: set[str] = set()
        tell = loggers.record if loggers.guards and spec.error_share is None else None

        with registry.load("launchers", launcher).crew(options) as crew:

            def measure(one: MeasureSpec) -> list[dict[str, Any]]:
                bench = Bench(one, folder=folder, progress=progress, elsewhere=crew.device)
                bench.measured = measured
                prepared = bench.prepare_all(found)
                loggers.start()
                return _measure_all(bench, prepared, per_checkpoint=per_checkpoint, crew=crew, tell=tell)

            rows = grown(spec, measure)
    records.write_json(output / "config.json", _config(asked, checkpoints))
    write_table(output, rows)
    for row in failures.measured(rows) if tell is None else ():
        loggers.record(row)
    logger.info("%d cell(s) measured in this run, %d row(s) in the table", len(measured), len(rows))
    _tell_untrained(rows)
    failures.tell(rows, total=len(checkpoints), table="table.csv")
    return rows


def _measure_all(
    bench: Bench, prepared: Sequence[Prepared | Lost], *, per_checkpoint: bool, crew: Crew, tell: Tell | None
) -> list[dict[str, Any]]:
    settings, last = settings_of(bench.spec), bench.spec.stabilise_last
    setting = settings[0]
    if last is None:
        wanted = [(one, each) for one in prepared for each in settings]
        return gather(bench, wanted, crew=crew, label=setting.rule, tell=tell)
    series = [list(group) for _, group in itertools.groupby(prepared, key=lambda one: one.checkpoint.series)]
    for group in series:
        if len(group) < last and any(isinstance(one, Prepared) for one in group):
            raise SparsityLabError(
                f"The series {group[0].checkpoint.series} has {len(group)} checkpoint(s), "
                f"the rule asks for the last {last}",
                fix=f"Give more checkpoints, or --stabilise last:{len(group)}",
            )
    knobs = series_knobs(bench, [group[-last:] for group in series], setting, crew=crew)
    cells: list[Cell] = []
    for group, knob in zip(series, knobs, strict=True):
        cells += [knob.cell(one, setting) for one in group]
        cells += [(knob.left(one), setting) for one in group if per_checkpoint]
    return gather(bench, cells, crew=crew, label="all checkpoints", tell=tell)


def _tell_untrained(rows: Sequence[dict[str, Any]]) -> None:
    """Warn where a series holds no trained checkpoint: the text or the tokenizer may not be its own."""
    for series in dict.fromkeys(row["series"] for row in rows):
        own = [row for row in failures.measured(rows) if row["series"] == series]
        if len(own) > 1 and all(UNTRAINED in row["flags"] for row in own):
            logger.warning(
                "Every checkpoint of the series %s has a perplexity above half its vocabulary, as untrained models do: "
                "check the text and the tokenizer", series,
            )  # fmt: skip


def _config(spec: MeasureSpec, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return {**as_json(spec), "checkpoints": [str(checkpoint.source) for checkpoint in checkpoints]}
