"""Thresholds as they are applied: the same mask, bit for bit, when calibrating and when applying.

A neuron is dropped when its score fp32(|a_i|) * fp32(w_i) <= eps, all in float32. Rounding is monotone,
so this is the same as |a_i| <= tau_i with tau_i the largest float32 whose product with w_i is <= eps; and
in a narrower dtype the same as |a_i| <= tau_i rounded down to it. `tau` finds these tau_i exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor


def tau(eps: float, weights: Tensor) -> Tensor:
    """Per-neuron thresholds on |a_i|.

    Args:
        eps: threshold on the score, float32 value, >= 0.
        weights: w_i >= 0, float32 [F].

    Returns:
        float32 [F]: the largest x with fp32(x * w_i) <= eps; infinity where w_i = 0.
    """
    infinity = torch.full_like(weights, float("inf"))
    if eps == 0.0:  # products that underflow are not zeros
        return torch.where(weights == 0, infinity, torch.zeros_like(weights))
    limit = torch.tensor(eps, dtype=torch.float32, device=weights.device)
    # Halving over bit patterns, which order positive floats: exact for subnormal products too.
    low, high = torch.zeros_like(weights, dtype=torch.int32), infinity.view(torch.int32)
    for _ in range(31):
        middle = low + (high - low) // 2
        dropped = middle.view(torch.float32) * weights <= limit
        low, high = torch.where(dropped, middle, low), torch.where(dropped, high, middle)
    return torch.where(weights == 0, infinity, low.view(torch.float32))


def narrowed(thresholds: Tensor, dtype: torch.dtype) -> Tensor:
    """Thresholds rounded down to a dtype, so that |a| <= t means the same there as in float32."""
    if dtype == torch.float32:
        return thresholds
    rounded = thresholds.to(dtype)
    below = torch.nextafter(rounded, torch.full_like(rounded, -1.0))
    return torch.where(rounded.float() > thresholds, below, rounded)
