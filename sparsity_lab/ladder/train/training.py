"""Trains one model of a ladder, from the first step or from wherever it was killed.

    <run>/run.json        what is trained, on which tokens; another configuration is refused
    <run>/step-000123/    one complete Hugging Face directory a checkpoint
    <run>/loss.csv        mean training loss

A run is a function of its specification and of the tokens: initial weights and order come from the seed,
there is no dropout, and a resumed run takes the same steps as one that was never killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import RunSpec, TrainingSpec
from sparsity_lab.ladder.corpus.data import PreparedData
from sparsity_lab.ladder.corpus.tokenizer import load_tokenizer, refuse_ids_beyond
from sparsity_lab.ladder.corpus.tokens import TrainingWindows
from sparsity_lab.ladder.models import build_model
from sparsity_lab.ladder.train import checkpoints, ranks
from sparsity_lab.ladder.train.loss_log import log_rows, read_loss_log
from sparsity_lab.ladder.train.process import prepare_process
from sparsity_lab.ladder.train.schedule import checkpoint_steps, scheduler_arguments
from sparsity_lab.loggers import NO_LOGGERS, Job, Loggers, open_loggers
from sparsity_lab.progress import SILENT, Advance, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.reading.unreadable import read_object
from sparsity_lab.store import records

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

logger = logging.getLogger(__name__)

IDENTITY = "run.json"
LOSS_LOG = "loss.csv"
_LONGEST_EAGER_WINDOW = 256


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its specification and its checkpoints, oldest first."""

    spec: RunSpec
    folder: Path
    checkpoints: tuple[Path, ...]

    @property
    def loss_log(self) -> Path:
        """CSV of the training loss."""
        return self.folder / LOSS_LOG


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
        progress: told the trained tokens.
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


def make_trainer(
    spec: RunSpec,
    *,
    plan: tuple[int, ...],
    data: PreparedData,
    output: Path,
    advance: Advance = lambda done: None,
    loggers: Loggers = NO_LOGGERS,
) -> Trainer:
    """transformers' Trainer for a run: fresh model, windows in order, saves as planned."""
    from transformers import PrinterCallback

    from sparsity_lab.ladder.train.trainer import OrderedTrainer, Planned, collate

    training = spec.training
    tokenizer = load_tokenizer(data.tokenizer)
    refuse_ids_beyond(tokenizer, spec.shape.vocabulary, name=data.tokenizer)
    model = build_model(spec.shape, seed=spec.seed, eos_token_id=tokenizer.eos_token_id)
    arguments = training_arguments(spec, output=output)
    model.set_attn_implementation(attention_for(training.window, device=arguments.device.type))
    count = training.steps * training.batch_size
    trainer = OrderedTrainer(
        matrix_learning_rate=training.matrix_learning_rate,
        model=model,
        args=arguments,
        data_collator=collate,
        train_dataset=TrainingWindows(data.train, window=training.window, count=count, seed=spec.seed),
        processing_class=tokenizer,
        callbacks=[
            Planned(
                training,
                plan=plan,
                about=lambda step: _about(spec, data, step),
                advance=advance,
                loggers=loggers,
            )
        ],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def training_arguments(spec: RunSpec, *, output: Path) -> TrainingArguments:
    """The run in the words of transformers; reports to nobody and prints nothing."""
    import torch
    from transformers import TrainingArguments

    training = spec.training
    micro, accumulation = _micro_batches(training)
    return TrainingArguments(
        output_dir=str(output),
        max_steps=training.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        optim="adamw_torch_fused",
        weight_decay=training.weight_decay,
        adam_beta1=training.beta1,
        adam_beta2=training.beta2,
        max_grad_norm=training.clip_norm,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        # Without this a torchrun launch on CPUs makes no process group: every rank would train alone.
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        seed=spec.seed,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **scheduler_arguments(training),
    )


def attention_for(window: int, *, device: str) -> str:
    """`eager` on a CPU at short windows, `sdpa` otherwise.

    At window 128 and head size 16 the plain products were 14 % faster on two cores than the fused kernel,
    whose set-up costs more than the small score matrix it saves.
    """
    return "eager" if device == "cpu" and window <= _LONGEST_EAGER_WINDOW else "sdpa"


def _micro_batches(training: TrainingSpec) -> tuple[int, int]:
    """(windows of one forward pass on one device, forward passes of one step).

    Raises:
        SparsityLabError: devices or micro-batches do not divide the batch.
    """
    import torch

    devices = ranks.world_size() or max(1, torch.cuda.device_count())
    micro = training.micro_batch_size or max(1, training.batch_size // devices)
    if training.batch_size % (micro * devices):
        raise SparsityLabError(
            f"A batch of {training.batch_size} windows does not split into passes of {micro} on "
            f"{devices} device(s)",
            fix=f"Take a batch_size that is a multiple of {micro * devices}",
        )
    return micro, training.batch_size // (micro * devices)


def _about(spec: RunSpec, data: PreparedData, step: int) -> dict[str, object]:
    """What `sparsity_lab.json` of a checkpoint says."""
    return {
        "trained_tokens": step * spec.training.tokens_per_step,
        "step": step,
        "run": spec.name,
        "params_total": spec.shape.params_total,
        "params_nonembedding": spec.shape.params_nonembedding,
        "spec": spec.as_dict(),
        "tokens_sha256": data.train_sha256,
    }


def checkpoints_of(spec: RunSpec, *, output: Path) -> dict[int, Path]:
    """Step -> directory of the whole checkpoints of a run; none where it was never begun.

    Raises:
        SparsityLabError: the directory holds another run.
    """
    found = _identity(output)
    if found is None:
        return {}
    if found.get("spec") != json.loads(json.dumps(spec.as_dict())):
        raise _another_run(output)
    return checkpoints.finished(output)


def _claim(output: Path, spec: RunSpec, data: PreparedData) -> None:
    """Write the run's identity, or make sure that the directory holds this very run."""
    identity = {"spec": spec.as_dict(), "tokens_sha256": data.train_sha256}
    found = _identity(records.prepare_output(output))
    if found is None:
        if ranks.is_main():
            records.write_json(output / IDENTITY, {**identity, "provenance": provenance()})
        return
    if {key: found.get(key) for key in identity} != json.loads(json.dumps(identity)):
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
