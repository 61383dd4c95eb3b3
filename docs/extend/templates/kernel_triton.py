"""The Triton kernel of `count_above`: each program counts a block of neurons over all tokens."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64


@triton.jit
def _count(a, counts, threshold, tokens, neurons, BLOCK: tl.constexpr):
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < neurons
    total = tl.zeros((BLOCK,), dtype=tl.int64)
    for token in range(tokens):
        values = tl.load(a + token * neurons + columns, mask=inside, other=0.0).to(tl.float32)
        below = tl.abs(values) <= threshold  # false for NaN, which counts as above
        total += tl.where(below, 0, 1)
    tl.store(counts + columns, total, mask=inside)


def launch(a: Tensor, threshold: float) -> Tensor:
    """Counts int64 [F] of a contiguous [tokens, F]."""
    tokens, neurons = a.shape
    counts = torch.empty(neurons, dtype=torch.int64, device=a.device)
    _count[(triton.cdiv(neurons, BLOCK),)](a, counts, threshold, tokens, neurons, BLOCK=BLOCK)
    return counts
