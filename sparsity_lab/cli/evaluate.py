"""`sparsity-lab eval`: lm-eval on a model, dense and with thresholds applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import ModelOptions, Output
from sparsity_lab.settings import WHAT, EvalSettings, Flag


@dataclass(frozen=True, kw_only=True)
class EvalOptions(EvalSettings, ModelOptions):
    """The options of `sparsity-lab eval`."""

    tasks: Annotated[str, Flag("Tasks of lm-eval, separated by commas.", WHAT)]
    thresholds: Annotated[
        tuple[Path, ...], Flag("Record of `measure` whose thresholds are applied. Repeatable.", WHAT)
    ] = ()
    output: Output = Path("runs/eval")


@of_fields
def command(options: EvalOptions) -> None:
    """Run lm-eval in this process on the dense model and under each threshold file."""
    from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
    from sparsity_lab.store.tables import to_markdown

    tasks = tuple(name.strip() for name in options.tasks.split(",") if name.strip())
    report = run_eval(fill(EvalSpec, options, tasks=tasks), output=options.output, progress=progress())
    save_resolved(options, options.output)
    typer.echo(to_markdown(report.rows, report.columns))
    typer.echo(f"Written to {options.output}")
