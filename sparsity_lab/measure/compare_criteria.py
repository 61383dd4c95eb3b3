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
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.errors import InapplicableError, SparsityLabError
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.search.settings import Setting, setting_of
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.table import names_of, place_of, write_table
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Bench
from sparsity_lab.measure.work.failures import FAILED, Lost, together
from sparsity_lab.measure.work.text_length import grown
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records, tables

logger = logging.getLogger(__name__)

INCREASES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
COLUMNS = {
    "name": "model",
    "criterion": "criterion",
    "activation_ratio": "activation ratio",
    "activation_ratio_se": "± se",
    "knob": "knob",
    "ppl_ratio": "PPL ratio",
    "loss_delta_se_nats": "se of loss rise (nats)",
    "flags": "flags",
}


def compare_criteria(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    sweep: bool = False,
    progress: Progress = SILENT,
    loggers: Loggers = NO_LOGGERS,
) -> list[dict[str, Any]]:
    """Measure every criterion on every checkpoint; one that a model cannot have is left out, and that is said.

    Of several checkpoints, one that fails leaves rows that say why, as in `measure_checkpoints`.

    Args:
        spec: its criterion does not matter; with `activation_ratio` all are compared at that ratio.
        checkpoints: which models.
        output: gets `records/`, `table.csv`, `table.md`, `criteria.md` and, with `sweep`, `sweep.csv`.
        sweep: measure at a range of perplexity increases as well.
        progress: where to report.
        loggers: get a point of each record of the comparison at the end.

    Returns:
        The records of the comparison, those of the sweep not among them.

    Raises:
        SparsityLabError: as for `measure_checkpoints`.
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
    spec, checkpoints = together(spec, checkpoints)
    found = [failures.pinned(one, fail_fast=spec.fail_fast) for one in checkpoints]
    settings = [setting_of(spec)]
    if sweep:
        settings += [Setting("ppl-increase", ppl_increase=p) for p in INCREASES]
    with records.no_empty_folders(output / "records"):
        folder = records.prepare_output(records.prepare_output(output) / "records")

        def measure(one: MeasureSpec) -> list[dict[str, Any]]:
            rows, shelf = [], Shelf(one.architecture_file)
            benches = [
                Bench(replace(one, criterion=name), folder=folder, progress=progress, shelf=shelf)
                for name in registry.names("criteria")
            ]
            for checkpoint in found:
                for bench in benches:
                    rows += _one(bench, checkpoint, list(dict.fromkeys(settings)))
            return rows

        rows = grown(spec, measure)
    compared = [row for row in rows if row["rule"] in (settings[0].rule, "fixed") and _at(row, settings[0])]
    _write(output, compared)
    for row in failures.measured(compared):
        loggers.record(row)
    if sweep:
        keys = ("series", "criterion", "knob", "activation_ratio", "activation_ratio_se", "ppl_ratio")
        swept = failures.measured(rows)
        records.write_text(output / "sweep.csv", tables.to_csv(swept, [*keys, "loss_delta_se_nats"]))
    failures.tell(rows, total=len(checkpoints), table="table.csv")
    return compared


def _at(row: dict[str, Any], setting: Setting) -> bool:
    return row["rule"] == "fixed" or row["ppl_increase_target"] == setting.ppl_increase


def _write(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_table(output, rows)
    names = names_of(rows)
    shown = [
        {
            **row,
            "name": names[place_of(row)],
            FAILED: failures.shortened(row.get(FAILED)),
            "flags": " ".join(row["flags"]),
            "ppl_ratio": row["ppl_ratio"] and f"{row['ppl_ratio']:.5f}",
        }
        for row in rows
    ]
    answer = "ppl_ratio" if any(row["rule"] == "activation-ratio" for row in rows) else "activation_ratio"
    shown.sort(key=lambda row: (str(row["name"]), float(row[answer] or math.inf)))
    columns = COLUMNS | ({FAILED: "failed"} if any(row.get(FAILED) for row in shown) else {})
    records.write_text(output / "criteria.md", tables.to_markdown(shown, columns))


def _one(bench: Bench, checkpoint: Checkpoint | Lost, settings: Sequence[Setting]) -> list[dict[str, Any]]:
    prepared = bench.prepared(checkpoint)
    searchable = registry.load("criteria", bench.spec.criterion).KNOB.scale != "none"
    rows = []
    for setting in settings if searchable else [Setting("fixed", knob=0.0)]:
        try:
            rows.append(bench.row(prepared, setting))
        except InapplicableError as error:
            name = prepared.checkpoint.source
            logger.warning("%s left out for %s: %s", bench.spec.criterion, name, error.what)
        except Exception as error:
            why = failures.failure(error, prepared.checkpoint, fail_fast=bench.spec.fail_fast)
            rows.append(bench.row(Lost(prepared.checkpoint, why), setting))
    return rows
