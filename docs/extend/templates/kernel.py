"""On how many tokens each neuron's activation is above a threshold.

Template: say which quantity of which paper this is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsity_lab.kernels import _dispatch

NAME = "count-above"


def count_above(a: Tensor, threshold: float, *, backend: str = "auto") -> Tensor:
    """Tokens with |a| > threshold, for each neuron; NaN counts as above.

    Args:
        a: [..., F], fp32, bf16, or fp16; leading dimensions are tokens.
        threshold: in the unit of a.
        backend: `auto`, `torch`, or `triton`.

    Returns:
        int64 [F].

    Raises:
        SparsityLabError: the dtype does not fit, or the backend cannot run here.
    """
    rows = _dispatch.tokens_by_neurons(NAME, "a", a)
    chosen = _dispatch.resolve(NAME, backend, a)
    return (triton_impl if chosen == "triton" and len(rows) else reference)(rows, threshold)


def reference(a: Tensor, threshold: float) -> Tensor:
    """`count_above` in torch; a [tokens, F]."""
    return (~(a.to(torch.float32).abs() <= threshold)).sum(dim=0)


def triton_impl(a: Tensor, threshold: float) -> Tensor:
    """`count_above` by the Triton kernel; the same arguments and values as `reference`."""
    from . import kernel_triton  # in this repository: from sparsity_lab.kernels._triton import count_above

    with _dispatch.on_device(a):
        return kernel_triton.launch(a.contiguous(), threshold)
