"""`sparsity-lab eval`: lm-eval on a model, dense and with thresholds applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import LaunchOptions, Log, ModelOptions, Output
from sparsity_lab.settings import WHAT, EvalSettings, Flag


@dataclass(frozen=True, kw_only=True)
class EvalOptions(EvalSettings, LaunchOptions, ModelOptions):
    """The options of `sparsity-lab eval`."""

    tasks: Annotated[str, Flag("Tasks of lm-eval, separated by commas.", WHAT)]
    thresholds: Annotated[
        tuple[Path, ...], Flag("Record of `measure` whose thresholds are applied. Repeatable.", WHAT)
    ] = ()
    log: Log = ()
    output: Output = Path("runs/eval")


@of_fields
def command(options: EvalOptions) -> None:
    """Run lm-eval on the dense model and under each threshold file.

    A run that was stopped goes on where it was: settings with a record are not evaluated again. Of several settings,
    one that fails is marked in the table and the others are evaluated; the exit code is 1 then.
    """
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
    from sparsity_lab.measure.spec import as_json
    from sparsity_lab.measure.work.run_cells import Means
    from sparsity_lab.store.tables import to_markdown

    tasks = tuple(name.strip() for name in options.tasks.split(",") if name.strip())
    spec, crew, output = fill(EvalSpec, options, tasks=tasks), options.crew(), options.output
    with open_loggers(options.log, job=Job("eval", output, as_json(spec), options.offline)) as loggers:
        report = run_eval(spec, output=output, means=Means(crew, loggers, progress()))
    save_resolved(options, output)
    typer.echo(to_markdown(report.rows, report.columns))
    typer.echo(f"Written to {output}")
    if report.failed:
        raise typer.Exit(1)
