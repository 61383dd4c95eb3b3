"""How the commands run that watch neurons under thresholds: a dry run, the run, the figures, the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import WatchOptions
from sparsity_lab.labels import counted

if TYPE_CHECKING:
    from sparsity_lab.measure.neurons.watching import PlaceCommand
    from sparsity_lab.measure.spec import Checkpoint
    from sparsity_lab.measure.work.failures import Lost


def run_watch(
    options: WatchOptions,
    command: PlaceCommand,
    *,
    output: Path,
    figures: tuple[str, Callable[[Path], object]],
    tables: Sequence[str],
) -> None:
    """Run one of these commands, or print what it would do.

    Args:
        options: the command's.
        command: what it asks.
        output: the folder of its results.
        figures: the first one's name, and what draws them all in a folder.
        tables: that are printed at the end, those that are there.

    Raises:
        SparsityLabError: as `watch_checkpoints`.
    """
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.loggers import Job, check_names, open_loggers
    from sparsity_lab.measure.neurons.watching import watch_checkpoints
    from sparsity_lab.measure.spec import as_json
    from sparsity_lab.measure.work.run_cells import Means

    checkpoints, crew = options.checkpoints(), options.crew()
    check_names(options.log)
    if options.dry_run:
        _echo_plan(command, checkpoints, output=output)
        return
    job = Job(command.kind.command, output, as_json(command.watch), options.offline)
    with open_loggers(options.log, job=job) as loggers:
        means = Means(crew, loggers, progress())
        watched = watch_checkpoints(command, checkpoints, output=output, means=means)
    name, draw = figures
    with attempted(output / name):
        draw(output)
    for path in (output / f"{table}.md" for table in tables):
        if path.exists():
            typer.echo(path.read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
    if watched.failed:
        raise typer.Exit(1)


def _echo_plan(command: PlaceCommand, checkpoints: Sequence[Checkpoint], *, output: Path) -> None:
    """Print a dry run: every cell, how many there are, and how many of them have records."""
    from sparsity_lab.measure.neurons.watching import plan_cells
    from sparsity_lab.measure.work.failures import Lost
    from sparsity_lab.store.tables import to_markdown

    planned = plan_cells(command, checkpoints)
    cells = [each for each in planned if not isinstance(each, Lost)]
    rows = [
        {
            "checkpoint": str(cell.checkpoint.source),
            "text": place.text,
            "thresholds of": place.calibration.name,
            "tokens": place.prepared.windows.tokens,
            "windows": place.prepared.windows.count,
            "device": place.prepared.device,
            "dtype": str(place.prepared.dtype).removeprefix("torch."),
        }
        for place, cell in cells
    ]
    if rows:
        typer.echo(to_markdown(rows, list(rows[0])))
    done = sum(cell.find(output / command.kind.folder) is not None for _, cell in cells)
    typer.echo(f"{counted(len(cells), 'cell')}, {done} of them done already")
    if echo_lost(each for each in planned if isinstance(each, Lost)):
        raise typer.Exit(1)


def echo_lost(lost: Iterable[Lost]) -> bool:
    """Say which checkpoints of a dry run cannot be measured, and whether there are any."""
    several = list(lost)
    for each in several:
        typer.echo(f"{each.checkpoint.source} cannot be measured: {each.error.paragraph()}", err=True)
    return bool(several)
