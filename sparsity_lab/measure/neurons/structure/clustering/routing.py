"""Segment cache best hit rate: how well a small cache of experts would serve, evicting with a look at what comes.

Local routing consistency, Liang et al. (arXiv 2505.16056), section 2.3: a cache holds rho k experts, k of them
chosen for a token. Each token loads those it needs and lacks, in the place of experts it does not need: of these
the ones that are used on the fewest of the **next m tokens** (the segment). SCH = hits / needs.

What the definition leaves open: the cache is empty where a window begins, so first uses are misses; of experts used
equally rarely the one of higher index goes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError


def segment_cache_hits(routed: Tensor, *, size: int, segment: int) -> Tensor:
    """How often a needed expert lies in the cache, int64 [rows].

    Args:
        routed: bool [rows, tokens, experts], which experts each token needs; rows are independent.
        size: experts the cache holds, no fewer than any token needs.
        segment: m, tokens looked ahead.

    Raises:
        SparsityLabError: a cache smaller than what one token needs, or a segment of no tokens.
    """
    rows, tokens, experts = routed.shape
    if segment < 1 or size < int(routed.sum(dim=2).amax()):
        raise SparsityLabError(
            f"A cache of {size} experts, looking {segment} tokens ahead, cannot hold what one token needs",
            fix="Give the size of the most experts a token needs or more, and a segment of 1 or more",
        )
    size = min(size, experts)
    until = torch.cat([routed.new_zeros(rows, 1, experts, dtype=torch.int32), routed.cumsum(1).int()], dim=1)
    order = torch.arange(experts - 1, -1, -1, dtype=torch.int32, device=routed.device)
    cached = torch.zeros(rows, experts, dtype=torch.bool, device=routed.device)
    hits = torch.zeros(rows, dtype=torch.int64, device=routed.device)
    most = (segment + 1) * experts
    for t in range(tokens):
        needed = routed[:, t]
        hits += (cached & needed).sum(dim=1)
        future = until[:, min(t + 1 + segment, tokens)] - until[:, t + 1]
        worth = torch.where(cached, future * experts + order, -1 - order)
        worth = torch.where(needed, most + order, worth)
        kept = worth.topk(size, dim=1)
        cached = torch.zeros_like(cached).scatter_(1, kept.indices, kept.values >= 0)
    return hits
