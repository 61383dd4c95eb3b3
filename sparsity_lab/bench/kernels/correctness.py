"""Whether the kernels are right on the device at hand; nothing is timed where they are not.

Each kernel is compared with a plain statement of its definition, mask by mask and in float64, on odd shapes
and in every dtype: counts must be equal, sums within the bound of fp32 summation. Memory that a kernel does
not write is filled with NaN and with the largest integers by torch's deterministic mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sparsity_lab.kernels import _dispatch
from sparsity_lab.kernels.gated_threshold import activated, gated_threshold
from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from sparsity_lab.kernels.sparse_down import neuron_major, sparse_down
from sparsity_lab.kernels.tail_norms import tail_norms
from sparsity_lab.kernels.topk_threshold import topk_threshold
from sparsity_lab.progress import SILENT, Progress

SHAPES = ((1, 63), (129, 172), (63, 1023), (300, 5632))  # tokens, F
HALF_ULP = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def failures(device: torch.device, *, progress: Progress = SILENT, seed: int = 0) -> tuple[int, list[str]]:
    """How many checks ran, and one line for each that failed."""
    backends = ("torch", "triton") if device.type == "cuda" else ("torch",)
    todo = [(check, dtype, shape) for check in CHECKS for dtype in _dispatch.DTYPES for shape in SHAPES]
    wrong = []
    with _poisoned(), progress.track("checking the kernels", len(todo)) as advance:
        for check, dtype, shape in todo:
            generator = torch.Generator().manual_seed(seed)
            for backend in backends:
                if not check(generator, shape, dtype, device, backend):
                    wrong.append(f"{check.__name__} in {backend}, {dtype}, tokens and neurons {shape}")
            advance(1)
    return len(todo) * len(backends), wrong


@contextmanager
def _poisoned() -> Iterator[None]:
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _random(
    generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    numbers = torch.randn(shape, generator=generator)
    return numbers.where(torch.rand(shape, generator=generator) < 0.7, 0.0).to(device, dtype)


def counts_and_mask(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, backend: str
) -> bool:
    """gated_threshold, all activations, two threshold vectors, NaN and infinity among the inputs."""
    g, u = (_random(generator, shape, dtype, device) for _ in range(2))
    g[0, 0], u[-1, -1] = float("nan"), float("inf")
    tau = torch.rand((2, shape[1]), generator=generator).to(device)
    right = True
    for name in ("identity", "relu", "relu2", "silu", "gelu", "gelu-tanh"):
        a = activated(g, u, name)
        active = (a != 0) & ~(a.double().abs() <= tau[:, None].double())
        got = gated_threshold(g, u, tau, activation=name, mask_with=1, backend=backend)
        assert got.masked is not None
        right &= torch.equal(got.per_token, active.sum(2)) and torch.equal(got.per_neuron, active.sum(1))
        right &= torch.equal(got.masked.nan_to_num(7.0), a.where(active[1], 0.0).nan_to_num(7.0))
    return right


def histogram(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, backend: str
) -> bool:
    """score_histogram on a grid and on searched edges, with counts per neuron."""
    a, w = _random(generator, shape, dtype, device), torch.rand(shape[1], generator=generator).to(device)
    a[0, 0] = float("nan")
    score, right = a.float().abs() * w, True
    for edges in (LogGrid(-8, 11, 4), torch.logspace(-2, 0.5, 9)):
        limits = edges.edges(device) if isinstance(edges, LogGrid) else edges.to(device)
        got = score_histogram(a, w, edges, neuron_threshold=0.25, backend=backend)
        assert got.per_neuron is not None
        below = torch.stack([((score <= e) & (a != 0)).sum() for e in limits])
        right &= torch.equal(got.bins[:-1].cumsum(0), below) and int(got.zeros) == int((a == 0).sum())
        right &= int(got.undefined) == int(score.isnan().sum()) and int(got.bins.sum()) == int(
            (score > 0).sum()
        )
        right &= torch.equal(got.per_neuron, ((a != 0) & ~(score <= 0.25)).sum(0))
        right &= bool(got.maximum == score.nan_to_num(0.0).max())
    return right


def norms(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, backend: str
) -> bool:
    """tail_norms against float64 within the bound of fp32 summation."""
    a, W_d = (_random(generator, size, dtype, device) for size in (shape, (96, shape[1])))
    w, edges = W_d.float().norm(dim=0), torch.logspace(-3, 1, 9).to(device)
    got, score = tail_norms(a, w, W_d, edges, backend=backend).double(), a.float().abs() * w
    right = True
    for t, edge in enumerate(edges):
        part = a.double().where(score <= edge, 0.0)
        true, size = (
            (part.abs() if s else part) @ (W_d.double().abs() if s else W_d.double()).t() for s in (0, 1)
        )
        # Matrix units may drop bits between partial sums: twice the unit of the plain bound.
        allowed = (shape[1] + W_d.shape[0] + 8) * 2.0**-23 * size.norm(dim=1) + 1e-30
        right &= bool(((got[:, t] - true.norm(dim=1)).abs() <= allowed).all())
    return right


def kth_largest(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, backend: str
) -> bool:
    """topk_threshold against a full sort."""
    scores = _random(generator, shape, dtype, device)
    ordered = scores.float().abs().sort(dim=1, descending=True).values
    ks = (1, shape[1] // 2, shape[1])
    return all(torch.equal(topk_threshold(scores, k, backend=backend), ordered[:, k - 1]) for k in ks)


def sparse_product(
    generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, backend: str
) -> bool:
    """sparse_down for 1, 3 and 8 tokens against the dense float64 product."""
    right = True
    for batch in (1, 3, 8):
        a, W_d = (
            _random(generator, size, dtype, device) for size in ((batch, shape[1]), (shape[0], shape[1]))
        )
        a, W_d = a, W_d / shape[1] ** 0.5
        got = sparse_down(a, neuron_major(W_d), backend=backend).double()
        true, size = a.double() @ W_d.double().t(), a.double().abs() @ W_d.double().abs().t()
        allowed = (shape[1] + 8) * 2.0**-23 * size + 1.01 * HALF_ULP[dtype] * true.abs() + 2.0**-24
        right &= bool(((got - true).abs() <= allowed).all())
    return right


Check = Callable[[torch.Generator, tuple[int, int], torch.dtype, torch.device, str], bool]
CHECKS: tuple[Check, ...] = (counts_and_mask, histogram, norms, kth_largest, sparse_product)
