"""y = W_d a for a few tokens, reading only the columns of W_d whose neurons are active.

Decoding reads every weight for one token; a neuron that is not active need not be read at all, so time falls
with sparsity (the hardware side of ReLU² Wins, arXiv 2402.03804, section 5). A column of W_d is contiguous
only where the weights lie neuron by neuron: `neuron_major` lays them so, once for a layer. Other layouts give
the same numbers, slowly.

A neuron is active when a_i != 0 and not |a_i| <= tau_i; NaN is active and reaches the output. Columns no
token of the batch needs are not read, so what they hold cannot reach it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _dispatch

NAME = "sparse-down"
LARGEST_BATCH = 8


def sparse_down(a: Tensor, W_d: Tensor, tau: Tensor | None = None, *, backend: str = "auto") -> Tensor:
    """W_d a over the active neurons.

    Args:
        a: activations [..., F] of 1 to 8 tokens, fp32, bf16 or fp16.
        W_d: down projection [d, F] in the dtype of a; fastest as `neuron_major` lays it.
        tau: thresholds on |a| [F], taken as fp32; without them every non-zero activation is active.
        backend: `auto`, `torch` or `triton`.

    Returns:
        [..., d] in the dtype of a, accumulated in fp32.

    Raises:
        SparsityLabError: shapes or dtypes do not fit, too many tokens, or the backend cannot run here.
    """
    rows = _dispatch.tokens_by_neurons(NAME, "a", a)
    if rows.shape[0] > LARGEST_BATCH:
        raise SparsityLabError(
            f"{NAME}: {rows.shape[0]} tokens, at most {LARGEST_BATCH} are taken",
            why="The more tokens, the more columns some token needs",
            fix="Take the dense product",
        )
    if W_d.dim() != 2 or W_d.shape[1] != rows.shape[1] or W_d.dtype != a.dtype:
        raise SparsityLabError(
            f"{NAME}: W_d is {list(W_d.shape)} in {W_d.dtype}, expected [d, {rows.shape[1]}] in {a.dtype}",
            fix="Give the down projection as torch.nn.Linear keeps it, in the dtype of a",
        )
    if tau is not None:
        tau = _dispatch.fp32_vector(NAME, "tau", tau, like=a)
        _dispatch.expect_shape(NAME, "tau", tau, (rows.shape[1],))
    chosen = _dispatch.resolve(NAME, backend, a)
    run = triton_impl if chosen == "triton" and rows.numel() and W_d.shape[0] else reference
    return run(rows, W_d, tau).view(*a.shape[:-1], W_d.shape[0])


def neuron_major(W_d: Tensor) -> Tensor:
    """W_d [d, F] with each neuron's column contiguous in memory; the same values and shape."""
    return W_d.t().contiguous().t()


def reference(a: Tensor, W_d: Tensor, tau: Tensor | None) -> Tensor:
    """`sparse_down` in torch: the active columns gathered, then multiplied in fp32."""
    active = a != 0
    if tau is not None:
        active &= ~(a.to(torch.float32).abs() <= tau)
    taken = active.any(dim=0).nonzero().squeeze(1)
    part = a.where(active, 0.0).index_select(1, taken).to(torch.float32)
    with _dispatch.full_fp32_matmul():
        return (part @ _rows(W_d, taken).to(torch.float32)).to(a.dtype)


def _rows(W_d: Tensor, taken: Tensor) -> Tensor:
    """The columns of W_d as rows [active, d]; taken out along the rows where they lie so: the other way copies W_d."""
    by_neuron = W_d.t()
    return by_neuron.index_select(0, taken) if by_neuron.is_contiguous() else W_d.index_select(1, taken).t()


def triton_impl(a: Tensor, W_d: Tensor, tau: Tensor | None) -> Tensor:
    """`sparse_down` by the Triton kernel; the same arguments as `reference`."""
    from sparsity_lab.kernels._triton import sparse_down as kernel

    with _dispatch.on_device(a):
        return kernel.launch(a.contiguous(), W_d, tau)
