"""Measures checkpoints cell by cell, each cell's record written as it completes, then the table of them all."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.model.plausible import UNTRAINED
from sparsity_lab.measure.search.settings import settings_of
from sparsity_lab.measure.series_rule import series_knobs
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec, as_json
from sparsity_lab.measure.table import write_table
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.failures import Lost, attempted, together
from sparsity_lab.measure.work.measuring import (
    MeasurePlan,
    MeasureRecipe,
    Wanted,
    measure_run,
    measured_rows,
    planned,
)
from sparsity_lab.measure.work.preparing import Preparer
from sparsity_lab.measure.work.run_cells import HERE, CellRun, Means
from sparsity_lab.measure.work.text_length import grown
from sparsity_lab.store import records

logger = logging.getLogger(__name__)


def plan(spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, output: Path) -> MeasurePlan:
    """What there is to do; loads no weights and writes nothing."""
    check_spec(spec)
    return planned(spec, checkpoints, _recipes, output=output)


def _recipes(spec: MeasureSpec) -> list[MeasureRecipe]:
    """One for each value of the knob, of p or of the ratio."""
    return [MeasureRecipe(spec, setting) for setting in settings_of(spec)]


def measure_checkpoints(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    per_checkpoint: bool = False,
    means: Means = HERE,
) -> list[dict[str, Any]]:
    """Measure every checkpoint; cells with a record are not measured again.

    Of several checkpoints, one that fails leaves rows that say why under the key `failed`, and no record; a summary is
    logged at the end. Under `spec.fail_fast`, and where there is but one, its error ends the run.

    Args:
        spec: the settings; with `stabilise_last` the series rule is applied to each series.
        checkpoints: in the order of their training, series by series.
        output: gets `records/`, `config.json`, `table.csv` and `table.md`.
        per_checkpoint: with the series rule, also measure each checkpoint at its own knob.
        means: launcher, loggers and progress; under `error_share`, which measures on growing text, loggers get all
            points at the end.

    Returns:
        The records of the table, in its order, and `failures.failed_row`s among them.

    Raises:
        SparsityLabError: bad settings, or a failure that is to end the run; records already written stay.
    """
    check_spec(spec)
    asked = spec
    spec, checkpoints = together(spec, checkpoints)
    at_commit = partial(Checkpoint.pinned, settings=spec)
    at_commits = [attempted(at_commit, each, fail_fast=spec.fail_fast) for each in checkpoints]
    records.refuse_model_folder(output)
    loggers = means.loggers
    tell = loggers.record if loggers.guards and spec.error_share is None else None
    with measure_run(spec, means, output=output) as run:

        def measure(grown_spec: MeasureSpec) -> list[dict[str, Any]]:
            prepared = Preparer(grown_spec, elsewhere=run.crew.device).prepare_all(at_commits)
            loggers.start()
            wanted = _wanted(run, grown_spec, prepared, per_checkpoint=per_checkpoint)
            label = "all checkpoints" if spec.stabilise_last else settings_of(spec)[0].rule
            return measured_rows(run, wanted, label=label, tell=tell)

        rows = grown(spec, measure)
    records.write_json(output / "config.json", _config(asked, checkpoints))
    write_table(output, rows)
    for row in failures.measured(rows) if tell is None else ():
        loggers.record(row)
    logger.info(
        "%s measured in this run, %s in the table", counted(len(run.made), "cell"), counted(len(rows), "row")
    )
    _tell_untrained(rows)
    failures.tell(rows, total=len(checkpoints), table="table.csv")
    return rows


def _wanted(
    run: CellRun[dict[str, Any]],
    spec: MeasureSpec,
    prepared: Sequence[Prepared | Lost],
    *,
    per_checkpoint: bool,
) -> list[Wanted]:
    """The rows of the table; under the series rule, at the knob that is searched for now."""
    recipes, last = _recipes(spec), spec.stabilise_last
    if last is None:
        return [(each, recipe) for each in prepared for recipe in recipes]
    search = recipes[0]
    series = [
        list(group) for _, group in itertools.groupby(prepared, key=lambda each: each.checkpoint.series)
    ]
    for group in series:
        if len(group) < last and any(isinstance(each, Prepared) for each in group):
            raise SparsityLabError(
                f"The series {group[0].checkpoint.series} has {counted(len(group), 'checkpoint')}, "
                f"the rule asks for the last {last}",
                fix=f"Give more checkpoints, or --stabilise last:{len(group)}",
            )
    knobs = series_knobs(run, [group[-last:] for group in series], search)
    wanted: list[Wanted] = []
    for group, knob in zip(series, knobs, strict=True):
        wanted += [knob.wanted(each, search) for each in group]
        wanted += [(knob.left(each), search) for each in group if per_checkpoint]
    return wanted


def _tell_untrained(rows: Sequence[dict[str, Any]]) -> None:
    """Warn where a series holds no trained checkpoint: the text or the tokenizer may not be its own."""
    for series in dict.fromkeys(row["series"] for row in rows):
        of_series = [row for row in failures.measured(rows) if row["series"] == series]
        if len(of_series) > 1 and all(UNTRAINED in row["flags"] for row in of_series):
            logger.warning(
                "Every checkpoint of the series %s has a perplexity above half its vocabulary, as untrained models do: "
                "check the text and the tokenizer", series,
            )  # fmt: skip


def _config(spec: MeasureSpec, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return {**as_json(spec), "checkpoints": [str(checkpoint.source) for checkpoint in checkpoints]}
