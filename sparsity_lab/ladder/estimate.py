"""What a ladder costs, before it is trained: parameters, tokens, floating-point operations, time, disk.

Training takes about 6 (N + V d) + 12 L d W operations a token (forward and backward; N the non-embedding
parameters, V d the output layer, the last term attention over a window of W). Time comes from timing real
steps of one- and two-layer models of the same widths here and extending the line to L layers.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import LadderConfig, RunSpec
from sparsity_lab.ladder.corpus.epochs import CorpusSize, refuse_repeats
from sparsity_lab.ladder.models import ModelShape, build_model
from sparsity_lab.ladder.train.process import prepare_process
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.setup import attention_for
from sparsity_lab.store.tables import Row, is_number

_FLOAT32_BYTES = 4
_PROBE_TOKENS = 4096
_PROBE_STEPS = 3
_FILES_BYTES = 200_000  # tokenizer, config and trainer state of one checkpoint, generously


@dataclass(frozen=True)
class LadderEstimate:
    """The cost of a ladder, run by run."""

    rows: tuple[dict[str, object], ...]
    disk_bytes: int

    @classmethod
    def of(cls, config: LadderConfig) -> LadderEstimate:
        """Everything that needs no timing; `seconds` is None."""
        corpus_bytes = config.data.max_bytes * 2  # ids of two bytes, at worst one a byte of text
        rows = tuple(_row(run) for run in config.runs)
        return cls(rows, corpus_bytes + sum(run_disk_bytes(run) for run in config.runs))

    def timed(self, config: LadderConfig) -> LadderEstimate:
        """The same with `seconds`, from timing short pieces on this machine."""
        seconds = (seconds_per_token(run) * run.training.trained_tokens for run in config.runs)
        return self._with("seconds", [round(s, 1) for s in seconds])

    def on(self, config: LadderConfig, size: CorpusSize) -> LadderEstimate:
        """The same with `epochs`.

        Raises:
            SparsityLabError: a run walks the corpus more often than the config allows.
        """
        epochs = [refuse_repeats(run, size, max_epochs=config.data.max_epochs) for run in config.runs]
        return self._with("epochs", [round(e, 3) for e in epochs])

    def _with(self, key: str, values: Sequence[float]) -> LadderEstimate:
        rows = ({**row, key: value} for row, value in zip(self.rows, values, strict=True))
        return LadderEstimate(tuple(rows), self.disk_bytes)

    @property
    def totals(self) -> Row:
        """Sums over the runs."""
        sums: dict[str, object] = {
            key: sum(float(value) for row in self.rows if is_number(value := row[key]))
            for key in ("tokens", "flops")
        }
        seconds = [row["seconds"] for row in self.rows]
        total = None if None in seconds else sum(filter(is_number, seconds))
        return {"run": "all", **sums, "seconds": total, "disk_bytes": self.disk_bytes}


def flops_per_token(shape: ModelShape, *, window: int) -> float:
    """Floating-point operations of forward and backward, a token."""
    head = shape.vocabulary * shape.hidden_size
    attention = 12 * shape.layers * shape.hidden_size * window
    return float(6 * (shape.params_nonembedding + head) + attention)


def run_disk_bytes(run: RunSpec) -> int:
    """Checkpoints in float32, one optimizer state, and the small files."""
    checkpoint_bytes = run.shape.params_total * _FLOAT32_BYTES + _FILES_BYTES
    return (
        len(checkpoint_steps(run.training)) * checkpoint_bytes + 3 * run.shape.params_total * _FLOAT32_BYTES
    )


def seconds_per_token(run: RunSpec) -> float:
    """Seconds a token of training takes on this device, from timing one- and two-layer models."""
    one_layer = _timed_step(replace(run.shape, layers=1), run)
    two_layers = _timed_step(replace(run.shape, layers=2), run)
    return max(one_layer + (run.shape.layers - 1) * (two_layers - one_layer), one_layer)


def refuse_without_space(needed_bytes: int, folder: Path) -> None:
    """Stop before training where the disk cannot hold the checkpoints.

    Raises:
        SparsityLabError: less is free than needed.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise SparsityLabError(
            f"{folder} has {free / 1e9:.1f} GB free; the ladder needs about {needed_bytes / 1e9:.1f} GB",
            fix="Take fewer checkpoints, free space, or name another directory with --output",
        )


def _row(run: RunSpec) -> dict[str, object]:
    tokens = run.training.trained_tokens
    return {
        "run": run.name,
        "params_total": run.shape.params_total,
        "params_nonembedding": run.shape.params_nonembedding,
        "tokens": tokens,
        "tokens_per_parameter": tokens / run.shape.params_nonembedding,
        "epochs": None,
        "checkpoints": len(checkpoint_steps(run.training)),
        "flops": flops_per_token(run.shape, window=run.training.window) * tokens,
        "seconds": None,
        "disk_bytes": run_disk_bytes(run),
    }


def _timed_step(shape: ModelShape, run: RunSpec) -> float:
    """Median seconds a token of one optimizer step of a small batch."""
    import torch

    prepare_process()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    window = run.training.window
    model = build_model(shape, seed=0).to(device)
    model.set_attn_implementation(attention_for(window, device=device.type))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = max(1, min(run.training.batch_size, _PROBE_TOKENS // window))
    ids = torch.randint(shape.vocabulary, (batch, window), device=device)
    seconds = []
    for _ in range(_PROBE_STEPS + 1):
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) / ids.numel()
