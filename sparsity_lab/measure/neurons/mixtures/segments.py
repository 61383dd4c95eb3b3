"""How steadily a router chooses: segments of m consecutive tokens, and the experts they need.

Local routing consistency, Liang et al., *Not All Models Suit Expert Offloading* (arXiv 2505.16056), section 2; the
formal definitions are its appendix C.1, the segments 4, 16, 64 and 256 those of its code (github.com/ljcleo/moe-lrc,
config.json).

SRP, segment routing best performance (section 2.2, equations 5 and 6). Every stretch of m tokens of a text, each start
counted, is a segment; a segment router says of each expert whether all its tokens or none go there. f is how many did.
F1 = 2 sum of f / (m, once for each expert and segment said to be active, + sum of f of all), where the upper sum is
over those said to be active; SRP is the largest F1 there is. It is reached by one least f for all experts of the group
(appendix C.3). The size ratio is the experts that this router makes active over those that are: m times the first over
the sum of f. Of an expert alone, equation 4.

SCH, segment cache best hit rate (section 2.3): a cache holds rho k experts, k of them chosen for a token. Each token
loads those it needs and lacks, in the place of experts it does not need: of these the ones that are used on the fewest
of the **next m tokens**. SCH = hits / needs. What the definition leaves open: the cache is empty where a window begins,
so first uses are misses; of experts used equally rarely the one of higher index goes. The authors' code lets the one go
that was used longest ago, and has the token at hand among the m (41_sch_calc.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search.counts import Floats, Ints

SEGMENTS = (4, 16, 64, 256)
CACHE_RATIO = 2.0  # rho, which "can balance cache effectiveness and efficiency" (section 5.1)


class Performance(NamedTuple):
    """How well the best segment router does, float64 [...]; NaN where there are no segments.

    Attributes:
        srp: its F1.
        size_ratio: experts it makes active over experts that are.
    """

    srp: Floats
    size_ratio: Floats


def cache_size(experts: int, chosen: int, *, ratio: float = CACHE_RATIO) -> int:
    """Experts that a cache of `ratio` times the chosen ones holds: one at least, and never more than there are."""
    return min(experts, max(1, round(ratio * chosen)))


def segment_frequencies(routed: Tensor, *, segment: int) -> Tensor:
    """f: how many tokens of each segment go to each expert, int64 [rows, starts, experts]; no starts where none fits.

    Args:
        routed: bool [rows, tokens, experts].
        segment: m.
    """
    rows, tokens, experts = routed.shape
    if segment > tokens:
        return torch.zeros(rows, 0, experts, dtype=torch.int64, device=routed.device)
    until = torch.cat([routed.new_zeros(rows, 1, experts, dtype=torch.int64), routed.cumsum(dim=1)], dim=1)
    return until[:, segment:] - until[:, :-segment]


def best_performance(segments: Ints | Floats) -> Performance:
    """SRP and size ratio, from how many segments have each f, [..., m + 1], all experts of the group together.

    NaN where there is no segment; 0 where no expert is ever used (appendix C.3).
    """
    segment = segments.shape[-1] - 1
    f = np.arange(segment + 1)

    def from_above(values: Ints | Floats) -> Floats:
        return np.flip(np.cumsum(np.flip(values, -1), axis=-1, dtype=np.float64), -1)

    matches, predicted = from_above(segments * f), segment * from_above(segments)
    used = matches[..., :1]
    f1 = 2 * matches / np.maximum(predicted + used, 1e-300)
    best = f1.argmax(axis=-1)[..., None]
    srp = np.take_along_axis(f1, best, axis=-1)[..., 0]
    ratio = np.take_along_axis(predicted, best, axis=-1)[..., 0] / np.maximum(used[..., 0], 1e-300)
    counted = segments.sum(axis=-1) > 0
    needed = used[..., 0] > 0
    return Performance(
        np.where(counted, np.where(needed, srp, 0.0), np.nan), np.where(counted & needed, ratio, np.nan)
    )


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
