"""The stages of a study: one room's function each, on the folders `study_plan` names."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sparsity_lab.cli.console.progress import progress
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from pathlib import Path

    from sparsity_lab.fitting.data.columns import Columns
    from sparsity_lab.fitting.spec import FitSpec
    from sparsity_lab.fitting.study.outcome import StudyOutcome
    from sparsity_lab.ladder.study.plan import Study

logger = logging.getLogger("sparsity_lab.study")


def check(study: Study) -> None:
    """Refuse before anything is trained what a later stage would refuse."""
    from sparsity_lab.ladder.study.study_measure import specs
    from sparsity_lab.measure.checks import check_spec

    for spec in specs(study).values():
        check_spec(spec)


def train(study: Study) -> None:
    """The ladder; finished runs are kept."""
    from sparsity_lab.ladder.ladder import train_ladder

    train_ladder(study.config.ladder, output=study.train, jobs=study.jobs, progress=progress(), log=study.log)


def measure(study: Study) -> None:
    """Every checkpoint by both rules and at the fixed knobs; cells with a record are not measured again."""
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.ladder.study.study_measure import specs
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.checkpoints import measure_checkpoints
    from sparsity_lab.measure.spec import as_json, expand
    from sparsity_lab.measure.work.launchers import Options

    checkpoints = expand([str(folder) for folder in study.run_folders])
    for name, spec in specs(study).items():
        both = spec.stabilise_last is not None
        folder = study.table(name).parent
        with open_loggers(study.log, job=Job("measure", folder, as_json(spec))) as loggers:
            measure_checkpoints(
                replace(spec, fail_fast=True), checkpoints, output=folder, per_checkpoint=both, progress=progress(),
                options=Options(jobs=study.jobs), loggers=loggers,
            )  # fmt: skip
        with attempted(folder / "activation_ratio"):
            from sparsity_lab.fitting.plots.measured import draw_table

            draw_table(folder / "table.csv", output=folder)


def fit(study: Study) -> None:
    """Laws and rivals of every measured table."""
    from sparsity_lab.fitting.spec import FitSpec

    own = study.config.fit
    spec = FitSpec(
        drop=own.drop, drop_rule="as the study asks", draws=own.bootstrap, seed=study.config.ladder.seed
    )
    for name in study.knobs:
        _fit_table(study.table(name), study.fits(name), spec=spec)


def compare(study: Study) -> None:
    """Directions, segments, activations at equal loss, shapes and sizes, as tables."""
    from sparsity_lab.fitting.study.outcome import write_tables

    write_tables(_outcome(study), study.compare)


def width_depth(study: Study) -> None:
    """The width-depth law and its rivals on the shapes of one size."""
    from sparsity_lab.fitting.data.columns import Columns
    from sparsity_lab.fitting.spec import FitSpec
    from sparsity_lab.fitting.study.shapes import enough
    from sparsity_lab.ladder.study.plan import SHAPE_COLUMNS, SHAPE_RIVALS, SHAPE_UNITS

    table = study.compare / "shapes.csv"
    if not enough(table):
        logger.info("width-depth: too few shapes of one size for a law")
        return
    spec = FitSpec(
        law="width-depth",
        rivals=SHAPE_RIVALS,
        draws=study.config.fit.bootstrap,
        seed=study.config.ladder.seed,
    )
    _fit_table(
        table, study.folder / "width-depth", spec=spec, columns=Columns(**SHAPE_COLUMNS, unit=SHAPE_UNITS)
    )


def loss(study: Study) -> None:
    """The loss law of every activation with two sizes or more."""
    from sparsity_lab.fitting import stage
    from sparsity_lab.fitting.ladders.runs import LadderColumns
    from sparsity_lab.fitting.ladders.runs_table import LadderSpec, fit_ladder_table
    from sparsity_lab.ladder.study.plan import LOCK_REASON, LOSS_INPUTS, LOSS_OUTPUT, LOSS_UNITS

    draws, seed = study.config.fit.bootstrap, study.config.ladder.seed
    for activation, table in study.loss_tables.items():
        folder = study.folder / "loss" / activation
        with stage.once(folder, table, {"draws": draws, "seed": seed, "law": "loss-power"}) as needed:
            if needed:
                fit_ladder_table(
                    table,
                    LadderColumns(x=LOSS_INPUTS, y=LOSS_OUTPUT, group="series", unit=LOSS_UNITS),
                    LadderSpec(law="loss-power", draws=draws, seed=seed),
                    output=folder,
                    lock=LOCK_REASON,
                    progress=progress(),
                )


def report(study: Study) -> None:
    """The page, its figures and its findings."""
    from sparsity_lab.fitting.study.report import StudySettings, write_report

    own = study.config
    settings = StudySettings(own.ladder.name, own.measure.ppl_increase, own.measure.stabilise)
    write_report(_outcome(study), study.folder, settings=settings)


def _fit_table(table: Path, folder: Path, *, spec: FitSpec, columns: Columns | None = None) -> None:
    """Fit a table once; the same table and settings are not fitted again."""
    from sparsity_lab.fitting import stage
    from sparsity_lab.fitting.fit_table import fit_table
    from sparsity_lab.ladder.study.plan import LOCK_REASON

    with stage.once(folder, table, {"spec": repr(spec), "columns": repr(columns)}) as needed:
        if needed:
            fit_table(
                table,
                output=folder,
                spec=spec,
                mapping=columns,
                lock=LOCK_REASON,
                jobs=0,
                progress=progress(),
            )


def _outcome(study: Study) -> StudyOutcome:
    from sparsity_lab.fitting.stage import entries
    from sparsity_lab.fitting.study.curves import read_curves
    from sparsity_lab.fitting.study.outcome import outcome

    for name in study.knobs:
        if not study.table(name).exists():
            raise SparsityLabError(f"There is no {study.table(name)}", fix="Run the stage measure first")
    curves = read_curves([study.table(name) for name in study.knobs])
    fitted = [entry for name in study.knobs for entry in entries(study.fits(name))]
    return outcome(curves, fitted, edges=study.config.fit.segments)


RUN = {
    "train": train, "measure": measure, "fit": fit, "compare": compare, "width-depth": width_depth, "loss": loss,
    "report": report,
}  # fmt: skip
