"""`sparsity-lab study`: train, measure, fit, compare and report a whole study from one YAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.measure_options import Log
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from sparsity_lab.ladder.study.plan import Study


def command(
    config: Annotated[str, typer.Argument(help="YAML file, or a bundled config by name: laptop.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where everything goes; left out, runs/<name>.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help="Seed of training, measuring and fitting, over the config's."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STAGE", help="Run this stage alone; repeatable.", show_default="all"),
    ] = None,
    publish: Annotated[
        Path | None,
        typer.Option(
            help="Copy the report, tables, locks and main figures here, as results to commit, in place of an "
            "earlier study's."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Runs trained and checkpoints measured at a time.")
    ] = 1,
    log: Log = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print stages, cells, what is done and the time left.")
    ] = False,
) -> None:
    """Train a ladder, measure every checkpoint by both rules, fit laws, compare, and report.

    Each stage is a command of its own, printed before it starts. Killed at any moment, the same command goes
    on where it was.
    """
    from sparsity_lab.ladder.study.plan import STAGES, Study
    from sparsity_lab.ladder.study.study_config import load_study
    from sparsity_lab.loggers import check_names
    from sparsity_lab.registry import unknown

    if odd := [stage for stage in only or [] if stage not in STAGES]:
        raise unknown(odd[0], kind="stage", known=list(STAGES))
    made = load_study(config)
    if seed is not None:
        made = made.with_seed(seed)
    study = Study(
        made, config, output or Path("runs", made.ladder.name), jobs=jobs, log=check_names(log or ())
    )
    stages = [stage for stage in STAGES if not only or stage in only]
    if dry_run:
        _print_plan(study, stages)
        return
    run(study, stages)
    if publish is not None:
        _publish(study, publish)
    typer.echo(
        f"Report: {study.folder / 'report.md'}" if "report" in stages else f"Written to {study.folder}"
    )


def run(study: Study, stages: list[str]) -> None:
    """Run stages in their order, each announced with the commands it stands for."""
    from sparsity_lab.cli.stages import RUN, check
    from sparsity_lab.machine.sole_writer import sole_writer
    from sparsity_lab.store.records import write_json

    with sole_writer(study.folder):
        check(study)
        write_json(study.folder / "study.json", study.config.as_dict())
        for number, stage in enumerate(stages, start=1):
            typer.echo(f"[{number}/{len(stages)}] {stage}", err=True)
            for line in study.commands(stage):
                typer.echo(f"    {line}", err=True)
            RUN[stage](study)


def _print_plan(study: Study, stages: list[str]) -> None:
    from sparsity_lab.cli.stages import check
    from sparsity_lab.ladder.study.study_estimate import COLUMNS, plan_rows
    from sparsity_lab.store.tables import to_markdown

    check(study)
    typer.echo(to_markdown(plan_rows(study, stages), COLUMNS))
    for stage in stages:
        typer.echo(f"{stage}:")
        for line in study.commands(stage):
            typer.echo(f"    {line}")


def _publish(study: Study, folder: Path) -> None:
    from sparsity_lab.fitting.study.publish import publish

    if os.path.realpath(folder) == os.path.realpath(study.folder):
        raise SparsityLabError(f"{folder} is the study's own folder", fix="Name another one with --publish")
    typer.echo(f"{publish(study.folder, folder)} files copied to {folder}")
