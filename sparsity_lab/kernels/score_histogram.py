"""How large the neurons' scores are: a histogram of fp32(|a_i|) * fp32(w_i) in log-spaced bins.

Cumulative counts at the edges are the numbers of neurons each threshold on the score drops (|D| of CETT,
ReLU² Wins, arXiv 2402.03804, without the exact zeros), so one pass over a layer's activations tells what any
threshold would do. Bin t holds edge_{t-1} < score <= edge_t, matching the rule `score <= eps` of dropping.

A `LogGrid` has edges a machine finds without searching: it cuts each octave into equal parts, so the bin is
the upper bits of the score's own fp32 representation. Any other ascending edges are searched.

Exact zeros of a are counted apart, whatever w is; so are NaN scores; infinity is in the last bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _dispatch

NAME = "score-histogram"
_BLOCK_ELEMENTS = 1 << 21  # of fp32 the torch reference holds at a time


@dataclass(frozen=True)
class LogGrid:
    """Edges 2^lowest (1 + j/splits) 2^i for i < octaves, j < splits, and 2^(lowest + octaves) last.

    Attributes:
        lowest: exponent of the first edge, at least -126.
        octaves: factors of two covered; lowest + octaves at most 127.
        splits: parts of an octave, a power of two.
    """

    lowest: int = -24
    octaves: int = 32
    splits: int = 4

    def __post_init__(self) -> None:
        if self.splits < 1 or self.splits & (self.splits - 1) or self.splits > 256:
            raise SparsityLabError(f"{NAME}: splits is {self.splits}", fix="Give a power of two up to 256")
        if self.lowest < -126 or self.octaves < 1 or self.lowest + self.octaves > 127:
            raise SparsityLabError(
                f"{NAME}: octaves {self.lowest} to {self.lowest + self.octaves} are not within -126 to 127",
                fix="Give octaves of 1 or more, and lowest so that both ends lie within",
            )

    def edges(self, device: torch.device | str = "cpu") -> Tensor:
        """The edges [octaves * splits + 1], exact in fp32."""
        step = torch.arange(self.octaves * self.splits + 1)
        mantissa = 1.0 + (step % self.splits).float() / self.splits
        return torch.ldexp(mantissa, step // self.splits + self.lowest).to(device)

    @property
    def shift(self) -> int:
        """How many low bits of an fp32 number do not matter for its bin."""
        return 23 - int(math.log2(self.splits))


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts are int64.

    Attributes:
        bins: [T + 1]; bin t holds edge_{t-1} < score <= edge_t, the last all scores above the last edge.
        zeros: activations that are exactly zero, a scalar tensor.
        undefined: NaN scores, a scalar tensor.
        maximum: largest score that is not NaN, a scalar fp32 tensor; 0 where there is none.
        per_neuron: [F], tokens on which each neuron's score is above `neuron_threshold`; None without one.
    """

    bins: Tensor
    zeros: Tensor
    undefined: Tensor
    maximum: Tensor
    per_neuron: Tensor | None


def score_histogram(
    a: Tensor,
    w: Tensor,
    edges: Tensor | LogGrid,
    *,
    neuron_threshold: float | None = None,
    backend: str = "auto",
) -> ScoreHistogram:
    """Histogram of the scores of all tokens and neurons, with each neuron's count above one threshold.

    Args:
        a: activations [..., F], fp32, bf16 or fp16.
        w: column norms of W_d [F], taken as fp32.
        edges: a `LogGrid`, or ascending edges [T], taken as fp32.
        neuron_threshold: the score above which a neuron counts as active; NaN scores do.
        backend: `auto`, `torch` or `triton`.

    Raises:
        SparsityLabError: shapes or dtypes do not fit, or the backend cannot run here.
    """
    rows = _dispatch.tokens_by_neurons(NAME, "a", a)
    w = _dispatch.fp32_vector(NAME, "w", w, like=a)
    _dispatch.expect_shape(NAME, "w", w, (rows.shape[1],))
    limits = edges.edges(a.device) if isinstance(edges, LogGrid) else edges
    limits = _dispatch.fp32_vector(NAME, "edges", limits, like=a)
    chosen = _dispatch.resolve(NAME, backend, a)
    grid = edges if isinstance(edges, LogGrid) else None
    run = triton_impl if chosen == "triton" and rows.numel() else reference
    return run(rows, w, limits, grid=grid, neuron_threshold=neuron_threshold)


def reference(
    a: Tensor, w: Tensor, edges: Tensor, *, grid: LogGrid | None, neuron_threshold: float | None
) -> ScoreHistogram:
    """`score_histogram` in torch, always by search; a [tokens, F], w and edges fp32."""
    (tokens, F), T = a.shape, edges.numel()
    counts = torch.zeros(T + 3, dtype=torch.int64, device=a.device)
    maximum = torch.zeros((), dtype=torch.float32, device=a.device)
    per_neuron = torch.zeros(F, dtype=torch.int64, device=a.device)
    for start in range(0, tokens, step := max(1, _BLOCK_ELEMENTS // max(1, F))):
        block = a[start : start + step].to(torch.float32)
        score, zero = block.abs() * w, block == 0
        bins = torch.bucketize(score, edges, out_int32=True)
        undefined = score.isnan()
        bins = bins.masked_fill_(undefined, T + 2).masked_fill_(zero, T + 1)
        counts += torch.bincount(bins.view(-1), minlength=T + 3)
        maximum = torch.maximum(maximum, score.masked_fill(undefined | zero, 0.0).max())
        if neuron_threshold is not None:
            limit = torch.tensor(neuron_threshold, dtype=torch.float32, device=a.device)
            per_neuron += ((score <= limit) | zero).logical_not_().sum(dim=0)
    return _result(counts, maximum, per_neuron if neuron_threshold is not None else None)


def triton_impl(
    a: Tensor, w: Tensor, edges: Tensor, *, grid: LogGrid | None, neuron_threshold: float | None
) -> ScoreHistogram:
    """`score_histogram` by the Triton kernel; the same arguments and bits as `reference`."""
    from sparsity_lab.kernels._triton import score_histogram as kernel

    place = None if grid is None else (grid.lowest, grid.shift)
    with _dispatch.on_device(a):
        counts, maximum, per_neuron = kernel.launch(a, w, edges, place, neuron_threshold)
    return _result(counts, maximum, per_neuron)


def _result(counts: Tensor, maximum: Tensor, per_neuron: Tensor | None) -> ScoreHistogram:
    return ScoreHistogram(counts[:-2], counts[-2], counts[-1], maximum, per_neuron)
