"""The Trainer of a run: a fresh model, its arguments in the words of transformers, and windows in their order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.ladder.config.spec import RunSpec, TrainingSpec
from sparsity_lab.ladder.corpus.prepared import PreparedData
from sparsity_lab.ladder.corpus.tokenizer import load_tokenizer, refuse_ids_beyond
from sparsity_lab.ladder.corpus.tokens import TrainingWindows
from sparsity_lab.ladder.models import build_model
from sparsity_lab.ladder.train import ranks
from sparsity_lab.ladder.train.schedule import scheduler_arguments
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.progress import Advance

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

_LONGEST_EAGER_WINDOW = 256


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
            f"{counted(devices, 'device')}",
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
