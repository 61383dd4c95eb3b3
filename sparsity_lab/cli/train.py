"""`sparsity-lab train`: a ladder of checkpoints from one YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.measure_options import Log

if TYPE_CHECKING:
    from sparsity_lab.ladder.config.spec import LadderConfig


def command(
    config: Annotated[str, typer.Argument(help="YAML file, or a bundled config by name: demo.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where everything goes; left out, runs/<name>.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help="Seed of split, initial weights and order, over the config's."
        ),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Train on this corpus instead of the config's text: python.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Runs trained at a time, the cores shared among them.")
    ] = 1,
    log: Log = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, FLOPs, time and disk; train nothing.")
    ] = False,
) -> None:
    """Train a family of small models, with checkpoints at log-spaced token counts.

    Killed at any moment, the same command takes up where it was; finished runs are kept.
    """
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.ladder.config.ladder_config import load_config
    from sparsity_lab.ladder.ladder import train_ladder
    from sparsity_lab.ladder.train import ranks
    from sparsity_lab.loggers import check_names
    from sparsity_lab.progress import SILENT
    from sparsity_lab.store.records import prepare_output

    check_names(log or [])
    ladder = load_config(config)
    if seed is not None:
        ladder = ladder.with_seed(seed)
    if corpus is not None:
        ladder = ladder.with_corpus(corpus)
    folder = output or Path("runs", ladder.name)
    if not dry_run:
        prepare_output(folder)
    if ranks.is_main():
        _print_sizes(ladder, folder if dry_run else None)
    if dry_run:
        return
    trained = train_ladder(
        ladder, output=folder, jobs=jobs, progress=progress() if ranks.is_main() else SILENT, log=log or ()
    )
    if not ranks.is_main():
        return
    for run in trained.runs:
        typer.echo(f"{run.spec.name}: {len(run.checkpoints)} checkpoints in {run.folder}")
    typer.echo(f"Held-out text: {trained.data.validation_text}")


def _print_sizes(ladder: LadderConfig, folder: Path | None) -> None:
    """Print what the ladder takes; with the folder of a dry run, also how often each run walks the corpus."""
    from sparsity_lab.ladder.corpus.epochs import corpus_size
    from sparsity_lab.ladder.estimate import COLUMNS, LadderEstimate
    from sparsity_lab.ladder.ladder import is_begun
    from sparsity_lab.store.tables import to_markdown

    estimate, columns = LadderEstimate.of(ladder), dict(COLUMNS)
    if folder is None:  # training tokenizes first and then counts
        del columns["epochs"]
    else:
        size = corpus_size(ladder, prepared=folder / "data", replace=not is_begun(folder))
        estimate = estimate.on(ladder, size)
        typer.echo(f"Corpus: {'' if size.exact else 'about '}{size.train_tokens:,} training tokens", err=True)
    estimate = estimate.timed(ladder)
    typer.echo(to_markdown([*estimate.rows, estimate.totals], columns))
