"""Trains one model of a ladder, from the first step or from wherever it was killed.

    <run>/run.json        what is trained, on which tokens; another configuration is refused
    <run>/step-000123/    one complete Hugging Face directory a checkpoint
    <run>/loss.csv        mean training loss

A run is a function of its specification and of the tokens: initial weights and order come from the seed,
there is no dropout, and a resumed run takes the same steps as one that was never killed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import RunSpec
from sparsity_lab.ladder.corpus.prepared import PreparedData
from sparsity_lab.ladder.train import checkpoints, ranks
from sparsity_lab.ladder.train.loss_log import log_rows, read_loss_log
from sparsity_lab.ladder.train.process import prepare_process
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.setup import make_trainer
from sparsity_lab.loggers import Job, Loggers, open_loggers
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store import records

if TYPE_CHECKING:
    from transformers import Trainer

logger = logging.getLogger(__name__)

IDENTITY = "run.json"
LOSS_LOG = "loss.csv"


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its specification and its checkpoints, oldest first."""

    spec: RunSpec
    folder: Path
    checkpoints: tuple[Path, ...]


def train_run(
    spec: RunSpec,
    *,
    data: PreparedData,
    output: Path,
    progress: Progress = SILENT,
    log: Sequence[str] = (),
    log_folder: Path | None = None,
) -> TrainedRun:
    """Train one model to its end, or return it where it is finished already.

    Args:
        spec: shape, training and seed.
        data: tokenizer and token files.
        output: the run's own directory.
        progress: receives the trained tokens.
        log: loggers to show the loss log in. log_folder: they write below it; `output` where left out.

    Raises:
        SparsityLabError: the directory holds another run, the disk cannot be written, or training diverged.
    """
    plan = checkpoint_steps(spec.training)
    _claim(output, spec, data)
    job = Job("train", log_folder or output, spec.as_dict())
    with open_loggers(log if ranks.is_main() else (), job=job) as loggers:
        if checkpoints.complete(output, last_step=plan[-1]):
            log_rows(loggers, output.name, read_loss_log(output / LOSS_LOG))
        else:
            prepare_process()
            if ranks.is_main():
                checkpoints.clear_halves(output)
            _train(spec, plan=plan, data=data, output=output, progress=progress, loggers=loggers)
    if ranks.is_main():
        checkpoints.clear_resume_state(output)
    return TrainedRun(spec, output, tuple(checkpoints.finished(output).values()))


def _train(
    spec: RunSpec,
    *,
    plan: tuple[int, ...],
    data: PreparedData,
    output: Path,
    progress: Progress,
    loggers: Loggers,
) -> None:
    start = checkpoints.resume_point(output)
    per_step = spec.training.tokens_per_step
    with _quiet_transformers(), progress.track(f"train {spec.name}", plan[-1] * per_step) as advance:
        if start is not None:
            done = int(str(checkpoints.read_about(start)["step"]))
            logger.info("%s: resumed from step %s of %s", spec.name, f"{done:,}", f"{plan[-1]:,}")
            advance(done * per_step)
        trainer = make_trainer(spec, plan=plan, data=data, output=output, advance=advance, loggers=loggers)
        with _explained(spec, output, trainer):
            trainer.train(resume_from_checkpoint=str(start) if start else None)


def checkpoints_of(spec: RunSpec, *, output: Path) -> dict[int, Path]:
    """Step -> directory of the whole checkpoints of a run; none where it was never begun.

    Raises:
        SparsityLabError: the directory holds another run.
    """
    identity = _identity(output)
    if identity is None:
        return {}
    if identity.get("spec") != records.as_json(spec.as_dict()):
        raise _another_run(output)
    return checkpoints.finished(output)


def _claim(output: Path, spec: RunSpec, data: PreparedData) -> None:
    """Write the run's identity, or make sure that the directory holds this very run."""
    identity = {"spec": spec.as_dict(), "tokens_sha256": data.train_sha256}
    written = _identity(records.prepare_output(output))
    if written is None:
        if ranks.is_main():
            records.write_json(output / IDENTITY, {**identity, "provenance": provenance()})
        return
    if {key: written.get(key) for key in identity} != records.as_json(identity):
        raise _another_run(output)


def _identity(output: Path) -> dict[str, Any] | None:
    """What run.json says, or None where there is none."""
    path = output / IDENTITY
    return read_object(path, fix=f"Remove {output}") if path.exists() else None


def _another_run(output: Path) -> SparsityLabError:
    return SparsityLabError(
        f"{output} holds a run of another configuration",
        why="Its shape, training, seed or tokens differ from what is asked",
        fix="Name another directory with --output, or remove this one",
    )


@contextlib.contextmanager
def _explained(spec: RunSpec, output: Path, trainer: Trainer) -> Iterator[None]:
    """Full disks and full devices in our words; anything else is a bug and keeps its traceback."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SparsityLabError(
            f"Run {spec.name} does not fit the device's memory",
            why=str(error).split(". ")[0],
            fix="Set micro_batch_size under training to a smaller divisor of batch_size",
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch's own writer reports a full disk as a RuntimeError, which has no class of its own.
        is_of_writing = trainer.control.should_save and not isinstance(error, torch.AcceleratorError)
        if isinstance(error, RuntimeError) and not is_of_writing:
            raise
        raise SparsityLabError(
            f"Cannot write a checkpoint of {spec.name} in {output}",
            why=str(error).split("\n")[0],
            fix="Free space and run the same command again; it goes on from the last whole checkpoint",
        ) from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No bars of transformers' own while a run lasts; its settings are put back afterwards."""
    from transformers.utils import logging as its_logging

    shown, level = its_logging.is_progress_bar_enabled(), its_logging.get_verbosity()
    its_logging.disable_progress_bar()
    its_logging.set_verbosity_error()
    try:
        yield
    finally:
        its_logging.set_verbosity(level)
        if shown:
            its_logging.enable_progress_bar()
