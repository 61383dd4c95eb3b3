"""Norms of the truncated outputs at many thresholds at once: the numerator of the CETT curve.

For a token with activations a and W_d in R^{d x F}, neuron i scores fp32(|a_i|) * fp32(w_i), and the tail at
edge e is the sum of a_i W_d[:, i] over the neurons whose score is <= e (ReLU² Wins, arXiv 2402.03804,
section 3). The Triton kernel cuts the scores into disjoint bins (e_{t-1}, e_t], so that a tail is the running
sum of its bins' partial outputs. In torch every edge is a mask and a product: masks made in floating point cost
a tenth of what sorting neurons into bins does, and no block of tokens leaves a bin's columns out.

A non-finite score (NaN, inf) is in no tail: such a neuron is never dropped at a finite threshold. So one bad
activation cannot spoil the curve of the others, and a NaN in a tail always means an error of ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _dispatch

NAME = "tail-norms"
# Tokens at a time: scores, masked activations and tails stay in the processor's cache, the product is still busy.
_BLOCK_TOKENS = 256


def tail_norms(a: Tensor, w: Tensor, W_d: Tensor, edges: Tensor, *, backend: str = "auto") -> Tensor:
    """Row norms of W_d (a masked to scores <= e), for every edge e; the tails are never written.

    Args:
        a: activations [..., F], fp32, bf16 or fp16; leading dimensions are tokens.
        w: column norms of W_d [F], taken as fp32.
        W_d: down projection [d, F], fp32, bf16 or fp16, on the device of a.
        edges: ascending thresholds on the score [T], taken as fp32; inf means the largest finite one.
        backend: `auto`, `torch` or `triton`.

    Returns:
        [tokens, T] fp32 norms, products accumulated in fp32.

    Raises:
        SparsityLabError: shapes or dtypes do not fit, or the backend cannot run here.
    """
    a = _dispatch.tokens_by_neurons(NAME, "a", a)
    w = _dispatch.fp32_vector(NAME, "w", w, like=a)
    # An infinite edge would let infinite scores in; the largest finite one lets in all others.
    edges = _dispatch.fp32_vector(NAME, "edges", edges, like=a).clamp(max=torch.finfo(torch.float32).max)
    _dispatch.expect_shape(NAME, "w", w, (a.shape[1],))
    if W_d.dim() != 2 or W_d.shape[1] != a.shape[1]:
        raise SparsityLabError(
            f"{NAME}: W_d has shape {list(W_d.shape)}, expected [d, {a.shape[1]}]",
            fix="Give the down projection as torch.nn.Linear keeps it",
        )
    chosen = _dispatch.resolve(NAME, backend, a)
    if not a.numel() or not edges.numel() or not W_d.shape[0]:
        return a.new_zeros((a.shape[0], edges.numel()), dtype=torch.float32)
    return (triton_impl if chosen == "triton" else reference)(a, w, W_d, edges)


def reference(a: Tensor, w: Tensor, W_d: Tensor, edges: Tensor) -> Tensor:
    """`tail_norms` in torch: one masked product an edge, a block of tokens at a time."""
    columns = W_d.to(torch.float32).t()
    if not bool(w.isfinite().all()):
        columns = columns.masked_fill(~w.isfinite().unsqueeze(1), 0.0)
    norms = torch.empty((a.shape[0], edges.numel()), dtype=torch.float32, device=a.device)
    with _dispatch.full_fp32_matmul():
        for start in range(0, a.shape[0], _BLOCK_TOKENS):
            rows = slice(start, start + _BLOCK_TOKENS)
            _block(a[rows].to(torch.float32), w, columns, edges, norms[rows])
    return norms


def triton_impl(a: Tensor, w: Tensor, W_d: Tensor, edges: Tensor) -> Tensor:
    """`tail_norms` by the Triton kernel; the same arguments and result as `reference`."""
    from sparsity_lab.kernels._triton import tail_norms as kernel

    dtype = torch.promote_types(a.dtype, W_d.dtype)  # neither is ever rounded
    with _dispatch.on_device(a):
        return kernel.launch(a.to(dtype), w, W_d.to(dtype), edges)


def _block(a: Tensor, w: Tensor, columns: Tensor, edges: Tensor, norms: Tensor) -> None:
    """Fill `norms` [tokens, T] for one block of tokens; `columns` is W_d transposed [F, d]."""
    scores = a.abs().mul_(w)
    if not bool(scores.sum().isfinite()):  # 0 times inf would be NaN
        a = a.masked_fill(~scores.isfinite(), 0.0)
    part = torch.empty_like(a)
    tail = torch.empty((a.shape[0], columns.shape[1]), dtype=torch.float32, device=a.device)
    for t, edge in enumerate(edges.unbind()):
        torch.le(scores, edge, out=part).mul_(a)  # a mask of ones and zeros, made where it is used
        torch.mm(part, columns, out=tail)
        torch.linalg.vector_norm(tail, dim=1, out=norms[:, t])
