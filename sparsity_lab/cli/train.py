"""`sparsity-lab train`: a ladder of checkpoints from one YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.shared_options import LadderOptions
from sparsity_lab.settings import TEXT, Flag

if TYPE_CHECKING:
    from sparsity_lab.ladder.config.spec import LadderConfig


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LadderOptions):
    """The options of `sparsity-lab train`."""

    corpus: Annotated[
        str | None, Flag("Train on this corpus instead of the config's text: python.", TEXT)
    ] = None


@of_fields
def command(options: TrainOptions) -> None:
    """Train a family of small models, with checkpoints at log-spaced token counts.

    If training is interrupted, the same command resumes it; finished runs are kept.
    """
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.ladder.config.ladder_config import load_config
    from sparsity_lab.ladder.ladder import train_ladder
    from sparsity_lab.ladder.train import ranks
    from sparsity_lab.loggers import check_names
    from sparsity_lab.progress import SILENT
    from sparsity_lab.store.records import prepare_output

    check_names(options.log)
    ladder = load_config(options.config)
    if options.seed is not None:
        ladder = ladder.with_seed(options.seed)
    if options.corpus is not None:
        ladder = ladder.with_corpus(options.corpus)
    folder = options.output or Path("runs", ladder.name)
    if not options.dry_run:
        prepare_output(folder)
    if ranks.is_main():
        _print_sizes(ladder, folder if options.dry_run else None)
    if options.dry_run:
        return
    shown = progress() if ranks.is_main() else SILENT
    trained = train_ladder(ladder, output=folder, jobs=options.jobs, progress=shown, log=options.log)
    if not ranks.is_main():
        return
    for run in trained.runs:
        typer.echo(f"{run.spec.name}: {len(run.checkpoints)} checkpoints in {run.folder}")
    typer.echo(f"Held-out text: {trained.data.validation_text}")


def _print_sizes(ladder: LadderConfig, folder: Path | None) -> None:
    """Print the work that the ladder takes; after a dry run in a folder, also each run's passes over the corpus."""
    from sparsity_lab.ladder.corpus.epochs import corpus_size
    from sparsity_lab.ladder.estimate import LadderEstimate
    from sparsity_lab.ladder.ladder import is_begun
    from sparsity_lab.store.table_columns.ladder import ESTIMATE

    estimate, keys = LadderEstimate.of(ladder), ESTIMATE.header
    if folder is None:  # training tokenizes first and then counts
        keys.remove("epochs")
    else:
        size = corpus_size(ladder, prepared=folder / "data", replace=not is_begun(folder))
        estimate = estimate.on(ladder, size)
        typer.echo(f"Corpus: {'' if size.exact else 'about '}{size.train_tokens:,} training tokens", err=True)
    estimate = estimate.timed(ladder)
    typer.echo(ESTIMATE.shown([*estimate.rows, estimate.totals], " ".join(keys)))
