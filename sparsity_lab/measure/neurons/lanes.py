"""Masks as words: eight neurons in one int64, a byte each, so that sums and unions take an eighth of the steps.

A mask holds 0 or 1 in each byte. Words are or-ed and and-ed bytewise, and up to 255 of them can be added before
a byte overflows into its neighbor; the eight bytes of such a sum are eight counts. All sums are exact integers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LANES = 8
MOST_SUMMED = 255


def words(keep: Tensor) -> Tensor:
    """Words int64 [..., ceil(F / 8)] of a mask, bool [..., F]; missing neurons are never active."""
    padded = functional.pad(keep, (0, -keep.shape[-1] % LANES)).contiguous()
    return padded.view(torch.uint8).view(torch.int64)


def per_row(packed: Tensor) -> Tensor:
    """Active neurons of each mask, int64 [...], of words [..., words]."""
    summed = [_lanes(part.sum(dim=-1, keepdim=True)).sum(dim=-1) for part in packed.split(MOST_SUMMED, -1)]
    return torch.stack(summed).sum(dim=0)


def per_neuron(packed: Tensor, *, neurons: int) -> Tensor:
    """How often each neuron is active, int64 [windows, neurons], of words [windows, tokens, words]."""
    summed = [_lanes(part.sum(dim=1)) for part in packed.split(MOST_SUMMED, 1)]
    return torch.stack(summed).sum(dim=0)[..., :neurons]


def unions(packed: Tensor) -> list[Tensor]:
    """Words of the unions over 1, 2, 4, ... consecutive tokens, as far as the window goes.

    Args:
        packed: words [windows, tokens, words].

    Returns:
        For level n, [windows, tokens // 2^n, words]: disjoint chunks of 2^n tokens from the window's start; a last
        piece shorter than a chunk is left out.
    """
    levels = [packed]
    while (half := levels[-1].shape[1] // 2) > 0:
        last = levels[-1]
        levels.append(last[:, 0 : 2 * half : 2] | last[:, 1 : 2 * half : 2])
    return levels


def _lanes(summed: Tensor) -> Tensor:
    """The byte counts of words [..., words], int64 [..., 8 words]."""
    return summed.contiguous().view(torch.uint8).to(torch.int64)
