"""A checkpoint that is ready to be measured but for its weights."""

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


@dataclass(frozen=True)
class Prepared:
    """A checkpoint with its text, before its weights are loaded.

    `reading` is how both were read, the device resolved: with the checkpoint, all that another process needs to
    prepare it again.
    """

    checkpoint: Checkpoint
    reading: MeasureSpec
    config: Any
    windows: Windows
    device: str
    dtype: torch.dtype
    dtype_reason: str
    identity: str
    trained_tokens: int | None
    tokens_origin: Origin

    def provenance(self, command: Sequence[str]) -> dict[str, object]:
        """Where a record's numbers come from, `command` being the words of the command line."""
        return provenance(
            command,
            device=self.device,
            dtype=str(self.dtype).removeprefix("torch."),
            dtype_reason=self.dtype_reason,
            tokenizer=list(self.windows.notes),
        )


def named_of(prepared: Prepared) -> Named:
    """What a checkpoint is called."""
    return name_of(prepared.checkpoint, trained_tokens=prepared.trained_tokens)


def name_of(checkpoint: Checkpoint, *, trained_tokens: int | None = None) -> Named:
    """What a checkpoint is called that may not have been prepared."""
    source = checkpoint.source
    return Named(source.model, source.revision, checkpoint.series, trained_tokens, source.commit)
