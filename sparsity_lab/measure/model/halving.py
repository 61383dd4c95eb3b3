"""Goes on with half the batch where memory runs out; the numbers do not depend on the batch.

Memory runs out in the middle of a forward pass, when some layers of a batch are counted already and some are not.
So the cell begins again, at half the batch: nothing of a half-counted batch can stay, and as losses are summed window
by window and counts are integers, the record is the one that a machine with more memory would have written.
It mostly happens in the first batch of a cell, where beginning again costs nothing.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.passes import Subject

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# How torch's CPU allocator says it; it raises a plain RuntimeError.
CPU_WORDS = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's or the process's memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def halving(subject: Subject, measure: Callable[[], Result]) -> Result:
    """Run `measure` on a subject, from the start with half the batch whenever memory runs out.

    Args:
        subject: its `batch_size` stays at what fitted, for the next cell that uses it.
        measure: passes over the subject; may be called several times.

    Raises:
        SparsityLabError: memory runs out even for one window at a time.
    """
    before = subject.forward_tokens
    while True:
        try:
            return measure()
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not is_out_of_memory(error):
                raise
            reason = (str(error).strip().splitlines() or ["out of memory"])[0][:300]
        # Behind the handler, where the error no longer holds the frames whose tensors fill the memory.
        batch = min(subject.batch_size, subject.windows.count)
        if batch == 1:
            raise SparsityLabError(
                f"Memory runs out with one window of {subject.windows.window} tokens at a time",
                why=reason,
                fix="Use a smaller --window, --dtype bfloat16, or a machine with more memory",
            )
        subject.batch_size, subject.forward_tokens = batch // 2, before
        logger.warning("batch size %d: memory ran out at %d, beginning again", subject.batch_size, batch)
        _free()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
