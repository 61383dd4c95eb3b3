"""The stages of a study, each declared once as the options of its command, which is printed and run."""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from sparsity_lab.cli.console.options import words_of
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.fit import FitOptions
from sparsity_lab.cli.measure_options import MeasureOptions
from sparsity_lab.cli.train import TrainOptions
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from pathlib import Path

    from sparsity_lab.fitting.data.columns import Columns
    from sparsity_lab.fitting.spec import FitSpec
    from sparsity_lab.fitting.study.outcome import StudyOutcome
    from sparsity_lab.ladder.study.plan import Study

logger = logging.getLogger("sparsity_lab.study")
LOCK_REASON = "as measured and fitted by this study; report.md says what they mean"
SHAPE_RIVALS = ("width-depth", "linear", "logarithmic", "constant")


def commands(study: Study, stage: str) -> list[str]:
    """The command lines that a stage consists of; empty for a stage that only a study has."""
    planned = {
        "train": ("train", lambda study: [train_options(study)]),
        "measure": ("measure", lambda study: measurements(study).values()),
        "fit": ("fit", lambda study: fits(study).values()),
        "width-depth": ("fit", lambda study: [width_depth_options(study)]),
        "loss": ("fit", lambda study: loss_options(study).values()),
    }
    name, options = planned.get(stage, ("", lambda study: ()))
    return [shlex.join(["sparsity-lab", name, *words_of(each)]) for each in options(study)]


def train_options(study: Study) -> TrainOptions:
    """`train`, of the whole ladder."""
    return TrainOptions(
        config=study.name, seed=study.config.ladder.seed, jobs=study.jobs, log=study.log, output=study.train
    )


def measurements(study: Study) -> dict[str, MeasureOptions]:
    """Name of each measured table -> `measure`; both rules are in one, each fixed knob in one of its own."""
    asked = study.config.measure
    shared = MeasureOptions(
        models=[str(folder) for folder in study.run_folders], text=study.text, dataset=asked.dataset,
        text_column=asked.text_column, pack=asked.pack, criterion=asked.criterion,
        tokens=str(asked.tokens), window=study.window, sample=asked.sample, device=asked.device, dtype=asked.dtype,
        fail_fast=True, seed=study.config.ladder.seed, jobs=study.jobs, log=study.log,
    )  # fmt: skip
    rules = replace(
        shared,
        ppl_increase=(str(asked.ppl_increase),),
        stabilise=f"last:{asked.stabilise}",
        per_checkpoint=True,
    )
    return {
        name: replace(
            rules if knob is None else replace(shared, knob=(knob,)), output=study.table(name).parent
        )
        for name, knob in study.knobs.items()
    }


def fits(study: Study) -> dict[str, FitOptions]:
    """Name of each measured table -> `fit`."""
    asked = study.config.fit
    return {
        name: replace(
            _fit_options(study, study.table(name), output=study.fits(name)), drop=(str(asked.drop),)
        )
        for name in study.knobs
    }


def width_depth_options(study: Study) -> FitOptions:
    """`fit` of the width-depth law and its rivals to the shapes of one size."""
    options = _fit_options(study, study.compare / "shapes.csv", output=study.folder / "width-depth")
    return replace(
        options, law="width-depth", rivals=",".join(SHAPE_RIVALS), x="width_depth_ratio", y="activation_ratio",
        group="rule", unit=("parameters=1",),
    )  # fmt: skip


def loss_options(study: Study) -> dict[str, FitOptions]:
    """Activation -> `fit` of the loss law to its table; parameters and tokens are counts, however small a study is."""
    tables = study.loss_tables or {"ACTIVATION": study.compare / "losses-ACTIVATION.csv"}
    return {
        activation: replace(
            _fit_options(study, table, output=study.folder / "loss" / activation), law="loss-power",
            x="params_nonembedding,trained_tokens", y="loss_dense_nats", group="series",
            unit=("params_nonembedding=1", "trained_tokens=1"),
        )
        for activation, table in tables.items()
    }  # fmt: skip


def _fit_options(study: Study, table: Path, *, output: Path) -> FitOptions:
    return FitOptions(
        table=table, bootstrap=study.config.fit.bootstrap, seed=study.config.ladder.seed, output=output,
        lock=LOCK_REASON,
    )  # fmt: skip


def check(study: Study) -> None:
    """Refuse before anything is trained what a later stage would refuse."""
    from sparsity_lab.measure.checks import check_spec
    from sparsity_lab.measure.sources.texts import open_text

    specs = [options.spec() for options in measurements(study).values()]
    for spec in specs:
        check_spec(spec)
    if study.config.measure.text is not None or study.config.measure.dataset is not None:
        open_text(specs[0].text, column=specs[0].text_column, pack=specs[0].pack)


def train(study: Study) -> None:
    """The ladder; finished runs are kept."""
    from sparsity_lab.ladder.ladder import train_ladder

    options = train_options(study)
    train_ladder(
        study.config.ladder, output=study.train, jobs=options.jobs, progress=progress(), log=options.log
    )


def measure(study: Study) -> None:
    """Every checkpoint by both rules and at the fixed knobs; cells with a record are not measured again."""
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.checkpoints import measure_checkpoints
    from sparsity_lab.measure.spec import as_json
    from sparsity_lab.measure.work.run_cells import Means

    for options in measurements(study).values():
        spec, folder = options.spec(), options.output
        with open_loggers(options.log, job=Job("measure", folder, as_json(spec))) as loggers:
            measure_checkpoints(
                spec, options.checkpoints(), output=folder, per_checkpoint=options.per_checkpoint,
                means=Means(options.crew(), loggers, progress()),
            )  # fmt: skip
        with attempted(folder / "activation_ratio"):
            from sparsity_lab.fitting.plots.measured import draw_table

            draw_table(folder / "table.csv", output=folder)


def fit(study: Study) -> None:
    """Laws and rivals of every measured table."""
    for options in fits(study).values():
        _fit_table(options, replace(options.spec(), drop_rule="as the study asks"))


def compare(study: Study) -> None:
    """Directions, segments, activations at equal loss, shapes and sizes, as tables."""
    from sparsity_lab.fitting.study.outcome import write_tables

    write_tables(_outcome(study), study.compare)


def width_depth(study: Study) -> None:
    """The width-depth law and its rivals on the shapes of one size."""
    from sparsity_lab.fitting.study.shapes import enough

    options = width_depth_options(study)
    if options.table is None or not enough(options.table):
        logger.info("width-depth: too few shapes of one size for a law")
        return
    _fit_table(options, options.spec(), columns=options.columns())


def loss(study: Study) -> None:
    """The loss law of every activation with two sizes or more."""
    for activation in study.loss_tables:
        options = loss_options(study)[activation]
        _fit_table(options, options.spec(), columns=options.columns())


def report(study: Study) -> None:
    """The page, its figures and its findings."""
    from sparsity_lab.fitting.study.report import StudySettings, write_report

    own = study.config
    settings = StudySettings(own.ladder.name, own.measure.ppl_increase, own.measure.stabilise)
    write_report(_outcome(study), study.folder, settings=settings)


def _fit_table(options: FitOptions, spec: FitSpec, columns: Columns | None = None) -> None:
    """Fit a table once; the same table and settings are not fitted again."""
    from sparsity_lab.fitting import stage
    from sparsity_lab.fitting.fit_table import fit_table

    table, folder = options.table, options.output
    assert table is not None
    assert folder is not None
    with stage.once(folder, table, {"spec": repr(spec), "columns": repr(columns)}) as needed:
        if needed:
            fit_table(
                table, output=folder, spec=spec, mapping=columns, lock=options.lock, jobs=options.jobs,
                progress=progress(),
            )  # fmt: skip


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
