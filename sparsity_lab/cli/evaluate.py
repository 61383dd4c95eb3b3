"""`sparsity-lab eval`: lm-eval on models, dense and with thresholds applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import fill, of_fields, refuse_idle
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import LaunchOptions, Log, ModelOptions, Output, TextOptions
from sparsity_lab.settings import WHAT, EvalSettings, Flag


@dataclass(frozen=True, kw_only=True)
class EvalOptions(EvalSettings, LaunchOptions, ModelOptions, TextOptions):
    """The options of `sparsity-lab eval`."""

    tasks: Annotated[
        str, Flag("Tasks of lm-eval, separated by commas; none with a text alone.", WHAT, shown="none")
    ] = ""
    thresholds: Annotated[
        tuple[Path, ...],
        Flag(
            "Records of `measure` whose thresholds are applied, one after another; of several models one for each, or "
            "the folder that `measure` wrote.",
            WHAT,
        ),
    ] = ()
    log: Log = ()
    output: Output = Path("runs/eval")


@of_fields
def command(options: EvalOptions) -> None:
    """Run lm-eval on each model, dense and with the thresholds of records, and compute perplexity on a text.

    The perplexity equals that of `measure` with the same text options.

    A stopped run resumes where it left off: settings with a record are not evaluated again. If one of several settings
    or models fails, it is marked in the table, the others are evaluated, and the exit code is 1.
    """
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
    from sparsity_lab.measure.spec import as_json
    from sparsity_lab.measure.work.run_cells import Means
    from sparsity_lab.store.tables import to_markdown

    tasks = tuple(name.strip() for name in options.tasks.split(",") if name.strip())
    checkpoints, crew, output = options.checkpoints(), options.crew(), options.output
    named: dict[str, str | None] = {"model": " ".join(options.model)}
    if len(checkpoints) == 1 and not any(path.is_dir() for path in options.thresholds):
        (source,) = (checkpoint.source for checkpoint in checkpoints)
        named, checkpoints = {"model": source.model, "revision": source.revision}, []
    text = None if options.text is options.dataset is None else options.place()
    if text is None:
        refuse_idle(
            options, "tokens", "window", "sample", "text_column", "pack", "bos",
            because="without a text", fix="Leave it out, or add --text or --dataset",
        )  # fmt: skip
    spec = fill(EvalSpec, options, tasks=tasks, text=text, **named)
    with open_loggers(options.log, job=Job("eval", output, as_json(spec), options.offline)) as loggers:
        report = run_eval(spec, checkpoints, output=output, means=Means(crew, loggers, progress()))
    save_resolved(options, output)
    typer.echo(to_markdown(report.rows, report.columns))
    typer.echo(f"Written to {output}")
    if report.failed:
        raise typer.Exit(1)
