"""A checkpoint that is ready to be measured but for its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sparsity_lab.measure.checkpoint.trained_tokens import Origin
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.record import Named


@dataclass(frozen=True)
class Prepared:
    """A checkpoint with its text, before its weights are loaded."""

    checkpoint: Checkpoint
    config: Any
    windows: Windows
    device: str
    dtype: torch.dtype
    dtype_reason: str
    identity: str
    trained_tokens: int | None
    tokens_origin: Origin


def named_of(prepared: Prepared) -> Named:
    """What a checkpoint is called."""
    return name_of(prepared.checkpoint, trained_tokens=prepared.trained_tokens)


def name_of(checkpoint: Checkpoint, *, trained_tokens: int | None = None) -> Named:
    """What a checkpoint is called that may not have been prepared."""
    source = checkpoint.source
    return Named(source.model, source.revision, checkpoint.series, trained_tokens, source.commit)
