"""One layer's threshold as the released code of Sparsing Law finds it: a bisected grid, one product a step.

Points 3 to 6 of `sparsinglaw.py` say what is particular to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CANDIDATES = 65_536
CAP_QUANTILE = 0.99


@dataclass(frozen=True)
class LayerThreshold:
    """What the search in one layer found.

    Attributes:
        eps: the threshold on the score.
        step: distance between two candidates, the search's own resolution.
        capped: whether the search ended at the end of the grid, the cap and not c deciding.
        products: whole products [tokens, F] x [F, d] it took.
        syncs: times the host waited for a mean ratio.
    """

    eps: float
    step: float
    capped: bool
    products: int
    syncs: int


@torch.no_grad()
def layer_threshold(a: Tensor, weight: Tensor, *, c: float) -> LayerThreshold:
    """Bisect one layer's candidates for a mean CETT of c.

    Args:
        a: activations of all valid tokens [tokens, F], any dtype.
        weight: W_d [d, F].
        c: the CETT.
    """
    a, columns = a.float(), weight.float().t()
    scores = a.abs() * columns.norm(dim=1)
    grid = candidates(scores)
    whole = (a @ columns).norm(dim=-1)
    low, high, syncs = 0, len(grid) - 1, 0
    while low < high:
        middle = (low + high) // 2
        tail = torch.where(scores > float(grid[middle]), 0.0, a)
        mean = ((tail @ columns).norm(dim=-1) / whole).mean()
        syncs += 1
        if bool(mean > c):  # NaN is not above c
            high = middle
        else:
            low = middle + 1
    capped = low == len(grid) - 1 or low == 0
    step = float(grid[1] - grid[0])
    return LayerThreshold(float(grid[low - 1]), step, capped, products=1 + syncs, syncs=syncs)


def candidates(scores: Tensor) -> Tensor:
    """65,536 evenly spaced scores up to the 0.99 quantile of a strided sample, float32 on the host, increasing."""
    sample = scores.flatten()[:: max(scores.numel() // CANDIDATES, 1)]
    return torch.linspace(float(scores.min()), float(sample.quantile(CAP_QUANTILE)), CANDIDATES)
