"""A checkpoint that is ready for work but for its weights, alone or with a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sparsity_lab.measure.checkpoint.trained_tokens import Origin
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.record import Named
from sparsity_lab.provenance import provenance
from sparsity_lab.settings import ModelSettings


@dataclass(frozen=True)
class Ready:
    """A checkpoint before its weights are loaded.

    `reading` is how it was read, the device resolved: with the checkpoint, all that another process needs to prepare
    it again.
    """

    checkpoint: Checkpoint
    reading: ModelSettings
    config: Any
    device: str
    dtype: torch.dtype
    dtype_reason: str
    identity: str
    trained_tokens: int | None
    tokens_origin: Origin

    def provenance(self, command: Sequence[str], *, notes: Sequence[str]) -> dict[str, object]:
        """Where a record's numbers come from.

        Args:
            command: the words of the command line.
            notes: what tokenizing lost or switched off.
        """
        return provenance(
            command,
            device=self.device,
            dtype=str(self.dtype).removeprefix("torch."),
            dtype_reason=self.dtype_reason,
            tokenizer=list(notes),
        )


@dataclass(frozen=True)
class Prepared(Ready):
    """A checkpoint with its text."""

    reading: MeasureSpec
    windows: Windows


def named_of(prepared: Ready) -> Named:
    """What a checkpoint is called."""
    return name_of(prepared.checkpoint, trained_tokens=prepared.trained_tokens)


def name_of(checkpoint: Checkpoint, *, trained_tokens: int | None = None) -> Named:
    """What a checkpoint is called that may not have been prepared."""
    source = checkpoint.source
    return Named(source.model, source.revision, checkpoint.series, trained_tokens, source.commit)
