"""`sparsity-lab eval`: lm-eval on a model, dense and with thresholds applied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.progress import progress


def command(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Directory, Hub id or ID@REVISION of a causal language model.")
    ],
    tasks: Annotated[str, typer.Option("--tasks", help="lm-eval tasks, with commas between.")],
    thresholds: Annotated[
        list[Path] | None,
        typer.Option(
            "--thresholds", help="Record of `measure` whose thresholds are applied; may be repeated."
        ),
    ] = None,
    dense: Annotated[bool, typer.Option(help="Also run without thresholds.")] = True,
    include_path: Annotated[
        Path | None,
        typer.Option(
            "--include-path", help="Folder of further task files (YAML). Code that they name is EXECUTED."
        ),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Examples in the prompt.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Documents a task, for a trial.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision of a Hub id.")] = None,
    tokenizer: options.Tokenizer = None,
    batch_size: Annotated[str, typer.Option("--batch-size", help="A number, or auto.")] = "auto",
    device: options.Device = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    architecture_file: options.ArchitectureFile = None,
    offline: options.Offline = False,
    output: options.Output = Path("runs/eval"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of sampling and bootstrap.")] = 0,
    config: options.Config = None,
) -> None:
    """Run lm-eval in this process on the dense model and under each threshold file."""
    from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
    from sparsity_lab.store.tables import to_markdown

    spec = EvalSpec(
        model=model,
        tasks=tuple(name.strip() for name in tasks.split(",") if name.strip()),
        revision=revision,
        thresholds=tuple(thresholds or ()),
        dense=dense,
        include_path=include_path,
        num_fewshot=num_fewshot,
        limit=limit,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        seed=seed,
        architecture_file=architecture_file,
        tokenizer=tokenizer,
    )
    report = run_eval(spec, output=output, progress=progress())
    save_resolved(context, output)
    typer.echo(to_markdown(report.rows, report.columns))
    typer.echo(f"Written to {output}")
