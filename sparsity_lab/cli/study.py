"""`sparsity-lab study`: train, measure, fit, compare and report a whole study from one YAML."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.options import of_fields, words_of
from sparsity_lab.cli.shared_options import LadderOptions
from sparsity_lab.cli.stages import RUN, check, commands
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import OUTPUT, WHAT, Flag

if TYPE_CHECKING:
    from sparsity_lab.ladder.study.plan import Study


@dataclass(frozen=True, kw_only=True)
class StudyOptions(LadderOptions):
    """The options of `sparsity-lab study`."""

    only: Annotated[
        tuple[str, ...], Flag("Run this stage alone. Repeatable.", WHAT, metavar="STAGE", shown="all stages")
    ] = ()
    publish: Annotated[
        Path | None,
        Flag(
            "Copy the report, tables, locks and main figures to this folder, replacing those of an earlier study.",
            OUTPUT,
        ),
    ] = None


@of_fields
def command(options: StudyOptions) -> None:
    """Train a ladder, measure every checkpoint by both rules, fit laws, compare, and report.

    Each stage is a separate command, printed before it starts. If a study is interrupted, the same command resumes it.
    """
    from sparsity_lab.ladder.study.plan import STAGES, Study
    from sparsity_lab.ladder.study.study_config import load_study
    from sparsity_lab.loggers import check_names
    from sparsity_lab.registry import unknown

    if odd := [stage for stage in options.only if stage not in STAGES]:
        raise unknown(odd[0], kind="stage", known=list(STAGES))
    config = load_study(options.config)
    if options.seed is not None:
        config = config.with_seed(options.seed)
    folder = options.output or Path("runs", config.ladder.name)
    study = Study(config, options.config, folder, jobs=options.jobs, log=check_names(options.log))
    stages = [stage for stage in STAGES if not options.only or stage in options.only]
    if options.dry_run:
        _print_plan(study, stages)
        return
    run(study, stages)
    if options.publish is not None:
        _publish(study, options.publish)
    typer.echo(
        f"Report: {study.folder / 'report.md'}" if "report" in stages else f"Written to {study.folder}"
    )


def run(study: Study, stages: list[str]) -> None:
    """Run stages in order, after printing the commands that each consists of."""
    from sparsity_lab.machine.sole_writer import sole_writer
    from sparsity_lab.store.records import write_json

    with sole_writer(study.folder):
        check(study)
        write_json(study.folder / "study.json", study.config.as_dict())
        for number, stage in enumerate(stages, start=1):
            typer.echo(f"[{number}/{len(stages)}] {stage}", err=True)
            for line in _lines(study, stage):
                typer.echo(f"    {line}", err=True)
            RUN[stage](study)


def _lines(study: Study, stage: str) -> list[str]:
    """What a stage does: the separate commands it consists of, or else this stage of the study."""
    alone = StudyOptions(config=study.name, only=(stage,), seed=study.config.ladder.seed, output=study.folder)
    return commands(study, stage) or [shlex.join(["sparsity-lab", "study", *words_of(alone)])]


def _print_plan(study: Study, stages: list[str]) -> None:
    from sparsity_lab.ladder.study.plan import plan_rows
    from sparsity_lab.store.table_columns.ladder import PLAN

    check(study)
    typer.echo(PLAN.shown(plan_rows(study, stages)))
    for stage in stages:
        typer.echo(f"{stage}:")
        for line in _lines(study, stage):
            typer.echo(f"    {line}")


def _publish(study: Study, folder: Path) -> None:
    from sparsity_lab.fitting.study.publish import publish

    if os.path.realpath(folder) == os.path.realpath(study.folder):
        raise SparsityLabError(f"{folder} is the study's own folder", fix="Name another one with --publish")
    typer.echo(f"{publish(study.folder, folder)} files copied to {folder}")
