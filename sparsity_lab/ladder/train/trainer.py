"""transformers' own Trainer with prescribed steps for logs and saves, and with windows in a fixed order.

Nothing of the training step is ours: accelerate, torchrun and FSDP work as their users know them. What is
added: a sampler that keeps the dataset's order, log rows and checkpoints at planned steps, progress
through our protocol, and checkpoint directories that are whole once they have their name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import TrainingSpec
from sparsity_lab.ladder.train import checkpoints
from sparsity_lab.ladder.train.loss_log import log_rows, loss_rows, write_loss_log
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.progress import Advance

_SECONDS_BETWEEN_RESUME_POINTS = 600.0
_SECONDS_BETWEEN_LOG_WRITES = 10.0


class OrderedTrainer(Trainer):
    """A Trainer that takes the dataset in its own order, which a seed has already decided.

    Args:
        matrix_learning_rate: peak rate of the hidden matrices, where it differs from that of the rest.
    """

    def __init__(self, *, matrix_learning_rate: float, **options: Any) -> None:
        self._matrix_learning_rate = matrix_learning_rate
        self._flops_per_token = 0
        super().__init__(**options)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Transformers' optimizer, its groups given two learning rates where the rule asks for two."""
        optimizer = super().create_optimizer(*([] if model is None else [model]))
        if self._matrix_learning_rate != self.args.learning_rate:
            ends = {
                id(m.weight) for m in (self.model.get_input_embeddings(), self.model.get_output_embeddings())
            }
            _split_groups(optimizer, self._matrix_learning_rate, ends=ends)
        return optimizer

    def floating_point_ops(self, inputs: dict[str, torch.Tensor | Any]) -> int:
        """Transformers' count, its walk over all parameters taken once: it costs as much as clipping does."""
        tokens = inputs["input_ids"].numel()
        if not self._flops_per_token:
            self._flops_per_token = super().floating_point_ops(inputs) // tokens
        return self._flops_per_token * tokens

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def collate(windows: Sequence[npt.NDArray[np.int64]]) -> dict[str, torch.Tensor]:
    """A batch of windows: ids and, as the model shifts them itself, the same ids as labels."""
    ids = torch.from_numpy(np.stack(windows))
    return {"input_ids": ids, "labels": ids}


class Planned(TrainerCallback):
    """Logs and saves at planned steps, reports progress and names what was saved.

    Saves off the plan happen only where a log row ends, and every saved step ends a log row; so the
    rows of the loss log do not depend on when, or whether, a run was killed.
    """

    def __init__(
        self,
        training: TrainingSpec,
        *,
        plan: Sequence[int],
        about: Callable[[int], dict[str, object]],
        advance: Advance,
        loggers: Loggers = NO_LOGGERS,
    ) -> None:
        self._loggers, self._logged = loggers, 0
        self._training, self._plan = training, frozenset(plan)
        self._about, self._advance = about, advance
        self._saved_at = self._logged_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask for a log row or a checkpoint where the plan has one."""
        step = state.global_step
        planned = step in self._plan
        control.should_log = planned or step % self._training.log_every_steps == 0
        overdue = time.monotonic() - self._saved_at > _SECONDS_BETWEEN_RESUME_POINTS
        # Every rank must save together; clocks of several processes would disagree.
        control.should_save = planned or (control.should_log and overdue and args.world_size == 1)
        self._advance(self._training.tokens_per_step)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Keep the loss log on disk fresh, and stop a run that has diverged."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise SparsityLabError(
                f"The loss of {Path(args.output_dir).name} is not finite at step {state.global_step:,}",
                why=f"Training diverged at learning rate {logs.get('learning_rate', 0.0):g}",
                fix="Lower learning_rate or lengthen warmup_steps, and train into another --output",
            )
        self._log_new_rows(args, state)
        if time.monotonic() - self._logged_at > _SECONDS_BETWEEN_LOG_WRITES:
            self._write_loss_log(args, state)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Name what the trainer has just written, once every rank has written its part."""
        _wait_for_all_ranks()
        self._saved_at = time.monotonic()
        if state.is_world_process_zero:
            step = int(state.global_step)
            written = Path(args.output_dir, f"checkpoint-{step}")
            checkpoints.finalise(written, about=self._about(step), passing=step not in self._plan)
            self._write_loss_log(args, state)
        _wait_for_all_ranks()

    def _log_new_rows(self, args: Any, state: Any) -> None:
        """Points of the rows since the last ones; where a run is taken up again, of those before it as well."""
        if state.is_world_process_zero:
            new = state.log_history[self._logged :]
            self._logged = len(state.log_history)
            rows = loss_rows(new, tokens_per_step=self._training.tokens_per_step)
            log_rows(self._loggers, Path(args.output_dir).name, rows)

    def _write_loss_log(self, args: Any, state: Any) -> None:
        if state.is_world_process_zero:
            path = Path(args.output_dir, "loss.csv")
            write_loss_log(path, state.log_history, tokens_per_step=self._training.tokens_per_step)
        self._logged_at = time.monotonic()


def _split_groups(optimizer: torch.optim.Optimizer, rate: float, *, ends: set[int]) -> None:
    """Give the hidden matrices a rate of their own; `ends` are the embeddings, which keep theirs."""
    for group in list(optimizer.param_groups):
        hidden = [p for p in group["params"] if p.ndim >= 2 and id(p) not in ends]
        if not hidden:
            continue
        moved = {id(p) for p in hidden}
        group["params"] = [p for p in group["params"] if id(p) not in moved]
        rest = {key: value for key, value in group.items() if key not in ("params", "lr", "initial_lr")}
        optimizer.add_param_group({**rest, "params": hidden, "lr": rate})


def _wait_for_all_ranks() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
