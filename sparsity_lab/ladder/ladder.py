"""Trains every run of a ladder on one corpus, and says what it will cost before it does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sparsity_lab.ladder.config.spec import LadderConfig
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.epochs import CorpusSize, refuse_repeats
from sparsity_lab.ladder.corpus.prepared import PreparedData
from sparsity_lab.ladder.estimate import LadderEstimate, refuse_without_space
from sparsity_lab.ladder.train import checkpoints, ranks
from sparsity_lab.ladder.train.training import IDENTITY, TrainedRun, train_run
from sparsity_lab.loggers import check_names
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.ladder import CHECKPOINTS, RUNS


@dataclass(frozen=True)
class TrainedLadder:
    """A finished ladder: its data and its runs, in the order of the config."""

    folder: Path
    data: PreparedData
    runs: tuple[TrainedRun, ...]


def train_ladder(
    config: LadderConfig,
    *,
    output: Path,
    jobs: int = 1,
    progress: Progress = SILENT,
    log: Sequence[str] = (),
) -> TrainedLadder:
    """Train every run of a ladder; finished ones are kept, a killed one is taken up again.

    Writes `ladder.json` (the resolved config), `data/`, `runs/<name>/`, and two tables as CSV and Markdown:
    `runs` (sizes, tokens, FLOPs) and `checkpoints`.

    Args:
        config: the ladder.
        output: where everything goes.
        jobs: runs trained at a time, the cores shared among them; a run's numbers depend on its threads in
            their last digits.
        progress: receives bytes read, documents tokenized and tokens trained.
        log: loggers to show every run's loss log in.

    Raises:
        SparsityLabError: no space, another ladder in the directory, another process that writes there, too little text,
            or a run that diverges.
    """
    loggers = check_names(log) if ranks.is_main() else ()
    train = partial(train_run, log=loggers, log_folder=output)
    # The main process alone writes what all share.
    with sole_writer(output) if ranks.is_main() else contextlib.nullcontext():
        return _trained(config, output, jobs, train, progress)


def _trained(
    config: LadderConfig, output: Path, jobs: int, train: Callable[..., TrainedRun], progress: Progress
) -> TrainedLadder:
    estimate = LadderEstimate.of(config)
    refuse_without_space(estimate.disk_bytes, output)
    data = _data_of(config, output / "data", progress)
    if ranks.is_main():
        records.write_json(output / "ladder.json", config.as_dict())
        RUNS.write(output, estimate.rows)
    calls = [partial(train, run, data=data, output=output / "runs" / run.name) for run in config.runs]
    if jobs > 1 and len(calls) > 1:
        runs = _side_by_side(calls, jobs, progress)
    else:
        runs = [call(progress=progress) for call in calls]
    if ranks.is_main():
        CHECKPOINTS.write(output, checkpoint_rows(runs, output=output))
    return TrainedLadder(output, data, tuple(runs))


def _side_by_side(
    calls: Sequence[Callable[[], TrainedRun]], jobs: int, progress: Progress
) -> list[TrainedRun]:
    """Runs trained in processes of their own, in the order given: a run a core is sooner than all cores on one run."""
    trained: dict[int, TrainedRun] = {}
    with progress.track("train runs", len(calls)) as advance, side_by_side(min(jobs, len(calls))) as workers:
        for number, run in workers.perform(calls):
            trained[number] = run
            advance(1)
    return [trained[number] for number in range(len(calls))]


def _data_of(config: LadderConfig, folder: Path, progress: Progress) -> PreparedData:
    """The windows of a ladder's corpus, enough of them for each of its runs."""
    with records.no_empty_folders(folder):
        data = prepare_data(
            config.data, tokenizer=config.tokenizer, output=folder, seed=config.seed,
            replace=not is_begun(folder.parent), progress=progress,
        )  # fmt: skip
    for run in config.runs:
        refuse_repeats(run, CorpusSize(data.train_tokens, exact=True), max_epochs=config.data.max_epochs)
    return data


def is_begun(output: Path) -> bool:
    """Whether a run was begun in a ladder's folder."""
    runs = output / "runs"
    return os.path.isdir(runs) and any(runs.glob(f"*/{IDENTITY}"))


def checkpoint_rows(runs: list[TrainedRun], *, output: Path) -> list[dict[str, object]]:
    """One row a checkpoint: run, shape, trained tokens and where it lies, relative to `output`."""
    return [
        {
            "run": run.spec.name,
            "activation": run.spec.shape.activation,
            "gated": run.spec.shape.gated,
            "hidden_size": run.spec.shape.hidden_size,
            "layers": run.spec.shape.layers,
            "params_total": run.spec.shape.params_total,
            "params_nonembedding": run.spec.shape.params_nonembedding,
            "step": about["step"],
            "trained_tokens": about["trained_tokens"],
            "checkpoint": str(path.relative_to(output)),
        }
        for run in runs
        for path in run.checkpoints
        for about in (checkpoints.read_about(path),)
    ]
