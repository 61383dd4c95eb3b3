"""All criteria side by side at equal quality or equal sparsity, and what each pays along its whole range.

At PPL-p% every criterion answers the same question, how few neurons do, so the ratios can be compared; at one
activation ratio it is the perplexity that can. The sweep draws what lies behind one number: perplexity against
activation ratio (Sparsing Law, arXiv 2411.02335, figure 2).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.errors import InapplicableError, SparsityLabError
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.search.settings import Setting, setting_of
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.table import names_of, readable, write_table
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.failures import FAILED, attempted, together
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
from sparsity_lab.store import records, tables
from sparsity_lab.store.columns import headings
from sparsity_lab.store.table_columns.measured import SWEEP, TABLE

logger = logging.getLogger(__name__)

INCREASES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
COLUMNS = TABLE.pick(
    "criterion activation_ratio activation_ratio_se knob ppl_ratio loss_delta_se_nats flags failed",
    criterion="criterion",
)


def compare_criteria(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    sweep: bool = False,
    means: Means = HERE,
) -> list[dict[str, Any]]:
    """Measure every criterion on every checkpoint; one that a model cannot have is left out, and that is said.

    Of several checkpoints, one that fails leaves rows that say why, as in `measure_checkpoints`.

    Args:
        spec: its criterion does not matter; with `activation_ratio` all are compared at that ratio.
        checkpoints: which models.
        output: gets `records/`, `table.csv`, `table.md`, `criteria.md` and, with `sweep`, `sweep.csv`.
        sweep: measure at a range of perplexity increases as well.
        means: launcher, progress, and loggers, which get the points of the comparison at the end.

    Returns:
        The records of the comparison, those of the sweep not among them.

    Raises:
        SparsityLabError: as for `measure_checkpoints`.
    """
    check_compared(spec)
    spec, checkpoints = together(spec, checkpoints)
    at_commit = partial(Checkpoint.pinned, settings=spec)
    at_commits = [attempted(at_commit, each, fail_fast=spec.fail_fast) for each in checkpoints]
    settings = _settings(spec, sweep=sweep)
    with measure_run(spec, means, output=output, leave_out=True) as run:

        def measure(grown_spec: MeasureSpec) -> list[dict[str, Any]]:
            preparer = Preparer(grown_spec, elsewhere=run.crew.device)
            prepared = [preparer.prepared(checkpoint) for checkpoint in at_commits]
            recipes = _recipes(grown_spec, settings)
            wanted = [(each, recipe) for each in prepared for recipe in recipes]
            return _without_inapplicable(run, wanted, measured_rows(run, wanted, label="all criteria"))

        rows = grown(spec, measure)
    compared = [row for row in rows if row["rule"] in (settings[0].rule, "fixed") and _at(row, settings[0])]
    _write(output, compared)
    for row in failures.measured(compared):
        means.loggers.record(row)
    if sweep:
        records.write_text(output / "sweep.csv", SWEEP.csv(failures.measured(rows)))
    failures.tell(rows, total=len(checkpoints), table="table.csv")
    return compared


def plan_compared(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, output: Path, sweep: bool = False
) -> MeasurePlan:
    """What there is to do; loads no weights and writes nothing. A criterion that a model cannot have is counted."""
    check_compared(spec)
    settings = _settings(spec, sweep=sweep)
    return planned(spec, checkpoints, lambda marked: _recipes(marked, settings), output=output)


def check_compared(spec: MeasureSpec) -> None:
    """Refuse settings that criteria are not compared in.

    Raises:
        SparsityLabError: a fixed knob, a series, several values or a reproduced algorithm; or as `check_spec`.
    """
    if spec.knob is not None or spec.stabilise_last is not None or spec.further:
        raise SparsityLabError(
            "All criteria are compared at one perplexity increase or at one activation ratio",
            fix="Leave --knob and --stabilise out, and give one value of p or of the ratio",
        )
    if spec.compat is not None:
        raise SparsityLabError(
            "A reproduced algorithm has one criterion", fix="Leave --compat or --criterion all out"
        )
    check_spec(spec)


def _settings(spec: MeasureSpec, *, sweep: bool) -> list[Setting]:
    """The setting of the comparison, then those of the sweep, each once."""
    swept = [Setting("ppl-increase", ppl_increase=p) for p in INCREASES] if sweep else []
    return list(dict.fromkeys([setting_of(spec), *swept]))


def _recipes(spec: MeasureSpec, settings: Sequence[Setting]) -> list[MeasureRecipe]:
    """Every criterion in every setting; one without a knob as it is."""
    recipes = []
    for name in registry.names("criteria"):
        searchable = registry.load("criteria", name).KNOB.scale != "none"
        for setting in settings if searchable else [Setting("fixed", knob=0.0)]:
            recipes.append(MeasureRecipe(replace(spec, criterion=name), setting))
    return recipes


def _without_inapplicable(
    run: CellRun[dict[str, Any]], wanted: Sequence[Wanted], rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows, less those of criteria that a model cannot have; of these it is said."""
    kept = []
    for (prepared, recipe), row in zip(wanted, rows, strict=True):
        error = run.failed.get(recipe.key(prepared)) if isinstance(prepared, Prepared) else None
        if row.get(FAILED) and isinstance(error, InapplicableError):
            source = prepared.checkpoint.source
            logger.warning("%s left out for %s: %s", recipe.spec.criterion, source, error.what)
        else:
            kept.append(row)
    return kept


def _at(row: dict[str, Any], setting: Setting) -> bool:
    return row["rule"] == "fixed" or row["ppl_increase_target"] == setting.ppl_increase


def _write(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_table(output, rows)
    shown = readable([{**row, "flags": " ".join(row["flags"])} for row in rows], names_of(rows))
    answer = "ppl_ratio" if any(row["rule"] == "activation-ratio" for row in rows) else "activation_ratio"
    shown.sort(key=lambda row: (str(row["name"]), float(row[answer] or math.inf)))
    columns = {"name": "model", **headings(COLUMNS)}
    if not any(row.get(FAILED) for row in shown):
        del columns[FAILED]
    records.write_text(output / "criteria.md", tables.to_markdown(shown, columns))
