"""What is timed: each kernel at the shapes of real layers, compared with the same work in eager PyTorch.

`bytes` is the least the work can move: every input read once, every output written once. `operations` are
those of the definition: 2 a multiply-add; activation, product, comparison and count 1 each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from sparsity_lab.bench.kernels.timing import dtype_on
from sparsity_lab.kernels.gated_threshold import gated_threshold
from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from sparsity_lab.kernels.sparse_down import neuron_major, sparse_down
from sparsity_lab.kernels.tail_norms import tail_norms
from sparsity_lab.kernels.topk_threshold import topk_threshold


@dataclass(frozen=True)
class KernelCase:
    """One kernel at one shape.

    Attributes:
        kernel: its id.
        shape: in words.
        ours: the kernel as its users call it.
        eager: the same result in plain PyTorch.
        baseline: what a bar compares with (the dense product), or None.
        bytes: least bytes moved.
        operations: operations of the definition.
        bar: id of the bar this case is held against, or an empty string.
    """

    kernel: str
    shape: str
    ours: Callable[[], object]
    eager: Callable[[], object]
    baseline: Callable[[], object] | None
    bytes: int
    operations: int
    bar: str = ""


def cases(device: torch.device, seed: int) -> Iterator[KernelCase]:
    """The cases one after another, so that only one case's tensors exist at a time."""
    gpu = device.type == "cuda"
    dtype = dtype_on(device)
    torch.manual_seed(seed)
    tokens, F, d = (16_384, 8_192, 3_072) if gpu else (2_048, 1_536, 576)
    for activation in ("relu", "silu"):
        yield _gated(tokens, F, dtype, device, activation)
    yield _histogram(tokens, F, dtype, device)
    yield _tails(tokens // 2, F, d, dtype, device)
    yield _topk(tokens // 2, F, dtype, device)
    wide, out = (14_336, 4_096) if gpu else (1_536, 576)
    for batch, sparsity in ((1, 0.9), (1, 0.6), (8, 0.9)):
        yield _decode(batch, wide, out, dtype, device, sparsity)


def _gated(tokens: int, F: int, dtype: torch.dtype, device: torch.device, activation: str) -> KernelCase:
    g, u = (torch.randn(tokens, F, device=device).to(dtype) for _ in range(2))
    tau = torch.rand(F, device=device)

    def eager() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a = (nnf.relu(g) if activation == "relu" else nnf.silu(g)) * u
        active = (a.abs().float() > tau) & (a != 0)
        counts = active.sum(dim=1)
        return a.where(active, 0.0), counts, active.sum(dim=0), counts.sum()

    return KernelCase(
        "gated-threshold", f"{activation}, {tokens:,} x {F:,}",
        lambda: gated_threshold(g, u, tau, activation=activation), eager, None,
        bytes=3 * g.numel() * g.element_size() + 4 * (tokens + F) + 8 * F, operations=4 * g.numel(),
        bar="gated" if (tokens, F) == (16_384, 8_192) else "",
    )  # fmt: skip


def _histogram(tokens: int, F: int, dtype: torch.dtype, device: torch.device) -> KernelCase:
    a, w = torch.randn(tokens, F, device=device).to(dtype), torch.rand(F, device=device)
    grid = LogGrid(lowest=-20, octaves=24, splits=4)
    edges = grid.edges(device)

    def eager() -> tuple[Tensor, Tensor, Tensor]:
        score = a.abs().float() * w
        bins = torch.bucketize(score, edges, out_int32=True).view(-1)
        return torch.bincount(bins, minlength=len(edges) + 1), (a == 0).sum(), score.max()

    return KernelCase(
        "score-histogram", f"{len(edges)} edges, {tokens:,} x {F:,}",
        lambda: score_histogram(a, w, grid), eager, None,
        bytes=a.numel() * a.element_size() + 4 * F, operations=3 * a.numel(),
        bar="histogram" if (tokens, F) == (16_384, 8_192) else "",
    )  # fmt: skip


def _tails(tokens: int, F: int, d: int, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Thresholds as the engine takes them: log-spaced over the range of positive scores."""
    a = (torch.randn(tokens, F, device=device) * torch.randn(tokens, F, device=device)).to(dtype)
    W_d = (torch.randn(d, F, device=device) / F**0.5).to(dtype)
    w = W_d.float().norm(dim=0)
    score = a[:256].abs().float() * w
    low, high = (float(x.log10()) for x in (score[score > 0].min(), score.max()))
    edges = torch.logspace(low, high, 17, device=device)[1:]

    def eager() -> Tensor:
        scores, weights = a.abs().float() * w, W_d.float().t()
        return torch.stack([(a.float().where(scores <= e, 0.0) @ weights).norm(dim=1) for e in edges], dim=1)

    return KernelCase(
        "tail-norms", f"16 thresholds, {tokens:,} tokens, F {F:,}, d {d:,}",
        lambda: tail_norms(a, w, W_d, edges), eager, lambda: a @ W_d.t(),
        bytes=(a.numel() + W_d.numel()) * a.element_size() + 4 * tokens * 16, operations=2 * tokens * F * d,
        bar="tails" if (tokens, F, d) == (8_192, 8_192, 3_072) else "",
    )  # fmt: skip


def _topk(tokens: int, F: int, dtype: torch.dtype, device: torch.device) -> KernelCase:
    scores, k = torch.randn(tokens, F, device=device).abs().to(dtype), F // 10
    return KernelCase(
        "topk-threshold", f"k {k:,} of {F:,}, {tokens:,} tokens",
        lambda: topk_threshold(scores, k),
        lambda: torch.topk(scores, k, dim=1, sorted=False).values.amin(dim=1), None,
        bytes=scores.numel() * scores.element_size() + 4 * tokens, operations=scores.numel(),
    )  # fmt: skip


def _decode(
    batch: int, F: int, d: int, dtype: torch.dtype, device: torch.device, sparsity: float
) -> KernelCase:
    """A batch shares its active neurons, as consecutive tokens of one draft mostly do."""
    idle = torch.rand(F, device=device) < sparsity
    a = torch.randn(batch, F, device=device).masked_fill(idle, 0.0).to(dtype)
    dense = (torch.randn(d, F, device=device) / F**0.5).to(dtype)
    W_d, active = neuron_major(dense), int((~idle).sum())
    return KernelCase(
        "sparse-down", f"batch {batch}, {sparsity:.0%} sparse, F {F:,}, d {d:,}",
        lambda: sparse_down(a, W_d), lambda: a @ dense.t(), lambda: a @ dense.t(),
        bytes=(active * d + a.numel() + batch * d) * a.element_size(), operations=2 * batch * active * d,
        bar=f"sparse-{sparsity:.0%}" if (batch, F, d) == (1, 14_336, 4_096) else "",
    )  # fmt: skip
