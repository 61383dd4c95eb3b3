"""When checkpoints are taken, and how the learning rate goes.

Laws are fitted against log D, so checkpoints are at equal ratios of tokens, rounded to whole steps:

    D_k = D_1 (D_n / D_1)^(k / (n - 1)),  k = 0 .. n - 1
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import TrainingSpec


def checkpoint_steps(training: TrainingSpec) -> tuple[int, ...]:
    """Steps after which a checkpoint is taken, ascending; the last is the last step.

    Raises:
        SparsityLabError: the first checkpoint is beyond the end, or the steps are too few to tell them apart.
    """
    first = max(1, round(training.first_checkpoint_tokens / training.tokens_per_step))
    if training.checkpoints == 1:
        return (training.steps,)
    if first >= training.steps:
        raise SparsityLabError(
            f"The first checkpoint at {training.first_checkpoint_tokens:,} tokens is not before the end",
            why=f"The run has {training.trained_tokens:,} tokens",
            fix="Lower first_checkpoint_tokens or train on more tokens",
        )
    spaced = np.geomspace(first, training.steps, training.checkpoints)
    steps = tuple(sorted({round(step) for step in spaced}))
    if len(steps) < training.checkpoints:
        raise SparsityLabError(
            f"{training.checkpoints} checkpoints between steps {first} and {training.steps} fall together",
            why=f"Only {len(steps)} differ after rounding to whole steps",
            fix="Take fewer checkpoints, a smaller batch or more tokens",
        )
    return steps


def scheduler_arguments(training: TrainingSpec) -> dict[str, Any]:
    """The schedule in the words of transformers' `TrainingArguments`."""
    common: dict[str, Any] = {"learning_rate": training.learning_rate, "warmup_steps": training.warmup_steps}
    if training.schedule == "constant":
        return {**common, "lr_scheduler_type": "constant_with_warmup"}
    decay = {
        "num_decay_steps": round(training.decay_share * training.steps),
        "min_lr_ratio": training.final_learning_rate_ratio,
    }
    return {**common, "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": decay}
