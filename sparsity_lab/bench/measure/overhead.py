"""What measuring costs in addition to the model itself: sparse passes against plain forward passes, timed in turn.

Counting and masking are worth having only if they are cheap compared with the forward pass they are part of. Machines
are noisy, so plain and sparse passes alternate in one process and the ratio is taken pair by pair.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.devices import DTYPES, choose_device
from sparsity_lab.measure.checkpoint.loading import load_config, load_model
from sparsity_lab.measure.checkpoint.pinning import pinned
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import UNSEEN, Subject, auto_batch_size, pilot_rows
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.thresholds.cett_passes import pilot_curves
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor, sparse_pass
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.registry import unknown
from sparsity_lab.settings import WeightSettings
from sparsity_lab.store.records import prepare_output, write_json

TIMED_CETT = 0.2
# hidden size, layers, intermediate size, heads, vocabulary
RANDOM_SHAPES = {"1b": (2048, 16, 8192, 32, 32_000), "tiny": (128, 2, 384, 4, 512)}


@dataclass(frozen=True)
class Overhead:
    """Times of alternating passes over the same windows.

    Attributes:
        plain_seconds: passes without hooks.
        sparse_seconds: passes that mask and count.
        shares: sparse over plain less 1, pair by pair.
        activation_ratio: of the sparse passes.
        tokens: of one pass.
        params_total: of the model.
    """

    plain_seconds: tuple[float, ...]
    sparse_seconds: tuple[float, ...]
    shares: tuple[float, ...]
    activation_ratio: float
    tokens: int
    params_total: int

    def as_row(self) -> dict[str, object]:
        """Medians, and the range of the share."""
        return {
            "params_total": self.params_total,
            "tokens": self.tokens,
            "plain_seconds": statistics.median(self.plain_seconds),
            "sparse_seconds": statistics.median(self.sparse_seconds),
            "share": statistics.median(self.shares),
            "share_low": min(self.shares),
            "share_high": max(self.shares),
            "activation_ratio": self.activation_ratio,
        }


@dataclass(frozen=True)
class OverheadSpec:
    """What is timed.

    Attributes:
        model: directory, GGUF file, Hub id, or `random:` and a shape.
        tokens, window: of the text, made of random ids.
        pairs: of a plain and a sparse pass.
        device, dtype: as for `measure`.
        seed: of ids and random weights.
        weights: what is allowed and said of them.
    """

    model: str
    tokens: int
    window: int
    pairs: int
    device: str
    dtype: str
    seed: int = 0
    weights: WeightSettings = field(default_factory=WeightSettings)


def run_overhead(spec: OverheadSpec, output: Path, *, progress: Progress = SILENT) -> dict[str, object]:
    """Load or make a model, time it, and write `measure.json`; returns its row.

    Raises:
        SparsityLabError: no such model, shape or dtype, or an output that cannot be written.
    """
    if spec.dtype not in DTYPES:
        raise unknown(spec.dtype, kind="dtype", known=list(DTYPES))
    prepare_output(output)
    place, dtype = choose_device(spec.device), DTYPES[spec.dtype]
    if spec.model.startswith("random:"):
        target = "cuda" if place == "auto" else place
        live = random_llama(spec.model.removeprefix("random:"), device=target, dtype=dtype, seed=spec.seed)
    else:
        source = pinned(Source.of(spec.model).read_as(spec.weights))
        load_config(source)
        live = load_model(source, dtype=dtype, device=place)
    timed = overhead(
        live, tokens=spec.tokens, window=spec.window, pairs=spec.pairs, seed=spec.seed, progress=progress
    )
    row: dict[str, object] = {
        "model": spec.model, "device": device_name(place), "dtype": spec.dtype, **timed.as_row()
    }  # fmt: skip
    times = {"plain_seconds": list(timed.plain_seconds), "sparse_seconds": list(timed.sparse_seconds)}
    write_json(output / "measure.json", {**row, "all": times, "provenance": provenance()})
    return row


def device_name(place: str) -> str:
    """The GPU's own name, or `cpu`."""
    return "cpu" if place == "cpu" else torch.cuda.get_device_name(0)


def random_llama(name: str, *, device: str, dtype: torch.dtype, seed: int = 0) -> Any:
    """A LLaMA of a stated shape with random weights: right for timing, wrong for everything else.

    Raises:
        SparsityLabError: no such shape.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if name not in RANDOM_SHAPES:
        raise SparsityLabError(f"There is no random shape {name!r}", fix=f"Known: {', '.join(RANDOM_SHAPES)}")
    hidden, layers, intermediate, heads, vocabulary = RANDOM_SHAPES[name]
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=hidden, num_hidden_layers=layers, intermediate_size=intermediate,
        num_attention_heads=heads, vocab_size=vocabulary, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device(device):
        return LlamaForCausalLM(config).to(dtype).eval()


def overhead(
    model: Any, *, tokens: int, window: int = 1024, pairs: int = 5, seed: int = 0, progress: Progress = SILENT
) -> Overhead:
    """Time sparse against plain passes of a model over random tokens, after one warm-up pair.

    Args:
        model: a causal LM in evaluation mode.
        tokens: of one pass.
        window: tokens of a window.
        pairs: timed pairs.
        seed: of the tokens.
        progress: where to report.
    """
    device = model.get_input_embeddings().weight.device.type
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    generator = torch.Generator().manual_seed(seed)
    windows = cut(torch.randint(vocabulary, (tokens,), generator=generator), window=window)
    sites = find_sites(model).sites
    subject = Subject(model, sites, windows, auto_batch_size(device, window=window), progress)
    rough, _ = pilot_curves(subject, pilot_rows(subject), seed=seed)
    visitor = ThresholdVisitor(subject, rough.thresholds(TIMED_CETT))
    counts = sparse_pass(subject, subject.all_rows, visitor=visitor, label="warm-up")
    limits = rough.thresholds(TIMED_CETT)
    rows = subject.all_rows
    plain, sparse = [], []
    for _ in range(pairs + 1):
        plain.append(_timed(device, partial(subject.losses, rows, visitor=UNSEEN, label="plain")))
        visitor = ThresholdVisitor(subject, limits)
        sparse.append(_timed(device, partial(sparse_pass, subject, rows, visitor=visitor, label="sparse")))
    shares = tuple(s / p - 1 for p, s in zip(plain[1:], sparse[1:], strict=True))
    ratio = counts.activation_ratio(subject.sizes)
    total = sum(p.numel() for p in model.parameters())
    return Overhead(tuple(plain[1:]), tuple(sparse[1:]), shares, ratio, windows.tokens, total)


def _timed(device: str, work: Callable[[], object]) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
