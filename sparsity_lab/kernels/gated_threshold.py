"""Activation, product, threshold, counts and masked write of a feed-forward layer in one read of g and u.

For a token, s = sigma(g), a = s * u (gated) or a = s; neuron i is **active** when a_i != 0 and not
|a_i| <= tau_i. With tau_i the largest fp32 x for which fp32(x * w_i) <= eps, |a_i| <= tau_i is the rule
fp32(|a_i| * w_i) <= eps of CETT (ReLU² Wins, arXiv 2402.03804) bit for bit. Exact zeros are never active.

NaN is active: it is not <= any threshold, and a mask that set it to zero would hide that a run has broken.
Infinity is active unless tau_i is infinite; a NaN in tau drops nothing but zeros. s is rounded to the dtype
of g before the product and a after it, as the model's own modules round.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _activations, _dispatch

NAME = "gated-threshold"
_BLOCK_ELEMENTS = 1 << 22  # of fp32 the torch reference holds at a time


@dataclass(frozen=True)
class Thresholded:
    """What one launch gives; counts are of active neurons, int64.

    Attributes:
        masked: a with inactive neurons set to 0, in the shape and dtype of g; None where not asked for.
        per_token: [V, tokens], leading dimensions of g flattened.
        per_neuron: [V, F].
        total: [V].
    """

    masked: Tensor | None
    per_token: Tensor
    per_neuron: Tensor
    total: Tensor


def gated_threshold(
    g: Tensor,
    u: Tensor | None,
    tau: Tensor,
    *,
    activation: str = "identity",
    mask_with: int | None = 0,
    backend: str = "auto",
) -> Thresholded:
    """Counts of active neurons under each threshold vector, and a masked by one of them.

    Args:
        g: pre-activations [..., F] (or a itself, with activation `identity` and no u); fp32, bf16 or fp16.
        u: the up projection's output in the shape and dtype of g, or None where the layer is not gated.
        tau: thresholds on |a| for each neuron, [F], or [V, F] for several vectors in one read; taken as fp32.
        activation: `identity`, `relu`, `relu2`, `silu`, `gelu` or `gelu-tanh`.
        mask_with: which threshold vector masks the written a; None writes nothing.
        backend: `auto`, `torch` or `triton`.

    Raises:
        SparsityLabError: shapes, dtypes or names do not fit, or the backend cannot run here.
    """
    rows = _dispatch.tokens_by_neurons(NAME, "g", g)
    tau = (tau[None] if tau.dim() == 1 else tau).to(device=g.device, dtype=torch.float32).contiguous()
    _check(rows, g, u, tau, mask_with)
    chosen = _dispatch.resolve(NAME, backend, g)
    run = triton_impl if chosen == "triton" and rows.numel() and len(tau) else reference
    up = None if u is None else _dispatch.tokens_by_neurons(NAME, "u", u)
    found = run(rows, up, tau, activation=_activations.canonical(activation), mask_with=mask_with)
    if found.masked is None:
        return found
    return Thresholded(found.masked.view(g.shape), found.per_token, found.per_neuron, found.total)


def reference(
    g: Tensor, u: Tensor | None, tau: Tensor, *, activation: str, mask_with: int | None
) -> Thresholded:
    """`gated_threshold` in torch; g and u [tokens, F], tau [V, F] fp32."""
    (tokens, F), V = g.shape, len(tau)
    masked = None if mask_with is None else torch.empty((tokens, F), dtype=g.dtype, device=g.device)
    per_token = torch.zeros((V, tokens), dtype=torch.int64, device=g.device)
    per_neuron = torch.zeros((V, F), dtype=torch.int64, device=g.device)
    for start in range(0, tokens, step := max(1, _BLOCK_ELEMENTS // max(1, F))):
        rows = slice(start, start + step)
        a = activated(g[rows], None if u is None else u[rows], activation)
        size = a.to(torch.float32).abs()
        for v in range(V):
            active = (size <= tau[v]).logical_not_().logical_and_(a != 0)
            per_token[v, rows] = active.sum(dim=1)
            per_neuron[v] += active.sum(dim=0)
            if masked is not None and v == mask_with:
                masked[rows] = a.where(active, 0.0)
    return Thresholded(masked, per_token, per_neuron, per_token.sum(dim=1))


def triton_impl(
    g: Tensor, u: Tensor | None, tau: Tensor, *, activation: str, mask_with: int | None
) -> Thresholded:
    """`gated_threshold` by the Triton kernel; the same arguments and bits as `reference`."""
    from sparsity_lab.kernels._triton import gated_threshold as kernel

    with _dispatch.on_device(g):
        masked, per_token, per_neuron = kernel.launch(g, u, tau, activation, mask_with)
    per_token = per_token.to(torch.int64)
    return Thresholded(masked, per_token, per_neuron, per_token.sum(dim=1))


def activated(g: Tensor, u: Tensor | None, activation: str) -> Tensor:
    """a of g and u in the dtype of g, with the roundings of the model's own modules."""
    s = _activations.activate(g, activation)
    return s if u is None else s * u


def _check(rows: Tensor, g: Tensor, u: Tensor | None, tau: Tensor, mask_with: int | None) -> None:
    if u is not None:
        _dispatch.expect_shape(NAME, "u", u, tuple(g.shape))
        if u.dtype != g.dtype:
            raise SparsityLabError(f"{NAME}: g is {g.dtype} and u is {u.dtype}", fix="Give both in one dtype")
    if tau.dim() != 2 or tau.shape[1] != rows.shape[1]:
        raise SparsityLabError(
            f"{NAME}: tau has shape {list(tau.shape)}, expected [{rows.shape[1]}] or [V, {rows.shape[1]}]",
            fix="Give each threshold vector a row, and each neuron a column",
        )
    if mask_with is not None and not 0 <= mask_with < len(tau):
        raise SparsityLabError(
            f"{NAME}: mask_with is {mask_with}, but tau has {len(tau)} threshold vectors",
            fix="Give the row of tau to mask with, counted from 0, or None",
        )
