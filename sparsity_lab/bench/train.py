"""Is the Trainer as quick as a plain PyTorch loop of the same model? Both are timed in one run, step by step.

The two take the same windows, model, attention, optimizer, schedule and clipping, so they train the same model
(their mean losses are in the table), and share the process with its threads and its kept memory (`process.py`);
what differs is everything the Trainer does around a step. After each step of the Trainer the loop takes one, so
that a machine whose speed drifts, or that others use, treats both alike; the ratio is the median over the pairs.

Or the loop runs in its own process, with the memory of a program that asks for nothing: then the ratio is
what somebody with such a loop gains or loses.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import registry
from sparsity_lab.ladder.config.spec import LadderConfig, RunSpec, TrainingSpec
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.prepared import PreparedData
from sparsity_lab.ladder.corpus.tokens import TrainingWindows
from sparsity_lab.ladder.models import build_model
from sparsity_lab.ladder.train.process import prepare_process
from sparsity_lab.ladder.train.setup import attention_for, make_trainer
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.machine.workers import Workers, side_by_side
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import TRAIN

_WARM_PAIRS = 3
_DRAWS = 1_000


@dataclass(frozen=True)
class Throughput:
    """Seconds of the timed pairs of steps, and the mean training loss of all steps in nats a token."""

    run: RunSpec
    threads: int
    trainer_seconds: tuple[float, ...]
    loop_seconds: tuple[float, ...]
    trainer_loss: float
    loop_loss: float
    apart: bool = False

    def row(self, *, seed: int = 0) -> dict[str, object]:
        """One row of the bench's table; the interval is a bootstrap over the pairs."""
        tokens = self.run.training.tokens_per_step
        ratios = np.array(self.loop_seconds) / np.array(self.trainer_seconds)
        drawn = np.random.default_rng(seed).choice(ratios, (_DRAWS, len(ratios)))
        low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
        return {
            "run": self.run.name,
            "params_total": self.run.shape.params_total,
            "apart": self.apart,
            "threads": self.threads,
            "pairs": len(ratios),
            "trainer_tokens_per_second": tokens / statistics.median(self.trainer_seconds),
            "loop_tokens_per_second": tokens / statistics.median(self.loop_seconds),
            "ratio": float(np.median(ratios)),
            "ratio_low": float(low),
            "ratio_high": float(high),
            "trainer_loss": self.trainer_loss,
            "loop_loss": self.loop_loss,
        }


def compare_throughput(
    run: RunSpec, *, data: PreparedData, pairs: int, apart: bool = False, progress: Progress = SILENT
) -> Throughput:
    """Time a run's steps under the Trainer and under a plain loop, in turns.

    Args:
        run: what to train; its budget is cut to the pairs, its rate is constant after one step.
        data: token files.
        pairs: timed steps of each, after a few untimed ones.
        apart: the loop has a process of its own.
        progress: receives the pairs.
    """
    steps = pairs + _WARM_PAIRS
    tokens = steps * run.training.tokens_per_step
    cut = replace(run.training, tokens=tokens, warmup_steps=1, schedule="constant", checkpoints=1)
    short = replace(run, training=cut)
    threads = prepare_process()
    trainer_seconds: list[float] = []
    loop_seconds: list[float] = []
    loop_losses: list[float] = []
    since = [0.0]

    def after_trainer_step(_: int) -> None:
        trainer_seconds.append(time.perf_counter() - since[0])
        seconds, loss = step_of_loop()
        loop_seconds.append(seconds)
        loop_losses.append(loss)
        advance(1)
        since[0] = time.perf_counter()

    with (
        _steps(short, data, apart=apart) as step_of_loop,
        progress.track(f"bench {run.name}", steps) as advance,
        tempfile.TemporaryDirectory() as folder,
    ):
        # The plan names no step that is reached: what is timed is training, not the disk.
        beyond = (short.training.steps + 1,)
        trainer = make_trainer(short, plan=beyond, data=data, output=Path(folder), advance=after_trainer_step)
        trained = trainer.train()
    return Throughput(
        run,
        threads,
        tuple(trainer_seconds[_WARM_PAIRS:]),
        tuple(loop_seconds[_WARM_PAIRS:]),
        trainer_loss=trained.training_loss,
        loop_loss=statistics.fmean(loop_losses),
        apart=apart,
    )


def bench_ladder(
    config: LadderConfig,
    *,
    names: list[str],
    pairs: int,
    output: Path,
    apart: bool = False,
    progress: Progress = SILENT,
) -> list[dict[str, object]]:
    """Compare runs of a ladder; write `bench-train.json`, `.csv` and `.md` and return the rows.

    Args:
        config: the ladder; its data are prepared under `output`.
        names: which of its runs; none means all.
        pairs: timed steps of each.
        output: where the results go.
        apart: the loop has a process of its own.
        progress: receives what is prepared and timed.

    Raises:
        SparsityLabError: a name that is not a run of the ladder.
    """
    known = {run.name: run for run in config.runs}
    if odd := [name for name in names if name not in known]:
        raise registry.unknown(odd[0], kind=f"run of {config.name}", known=sorted(known))
    with sole_writer(output):
        data = prepare_data(
            config.data,
            tokenizer=config.tokenizer,
            output=output / "data",
            seed=config.seed,
            progress=progress,
        )
        rows = [
            compare_throughput(known[name], data=data, pairs=pairs, apart=apart, progress=progress).row(
                seed=config.seed
            )
            for name in names or known
        ]
        records.write_json(output / "bench-train.json", {"rows": rows, "provenance": provenance()})
        TRAIN.write(output, rows)
    return rows


@contextmanager
def _steps(run: RunSpec, data: PreparedData, *, apart: bool) -> Iterator[Callable[[], tuple[float, float]]]:
    """What makes the loop's next step, here or in a process of its own."""
    if not apart:
        loop = _loop(run, data)
        yield lambda: next(loop)
        return
    with side_by_side(1) as workers:
        _only(workers, partial(_begin, run, data))
        yield lambda: _only(workers, _step)


def _only(workers: Workers, call: Callable[[], Any]) -> Any:
    """What the one worker returns."""
    ((_, result),) = workers.perform([call])
    return result


_begun: list[Iterator[tuple[float, float]]] = []


def _begin(run: RunSpec, data: PreparedData) -> None:
    _begun[:] = [_loop(run, data)]


def _step() -> tuple[float, float]:
    return next(_begun[0])


def _loop(run: RunSpec, data: PreparedData) -> Iterator[tuple[float, float]]:
    """Steps of the loop one would write by hand; yields the seconds and the loss of each."""
    import torch
    from torch.utils.data import DataLoader

    from sparsity_lab.ladder.train.trainer import collate

    training = run.training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = build_model(run.shape, seed=run.seed).to(device)
    model.set_attn_implementation(attention_for(training.window, device=device))
    optimizer = torch.optim.AdamW(
        _groups(model, training), betas=(training.beta1, training.beta2), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / max(1, training.warmup_steps))
    )
    count = training.steps * training.batch_size
    windows: Any = TrainingWindows(data.train, window=training.window, count=count, seed=run.seed)
    batches = iter(DataLoader(windows, batch_size=training.batch_size, collate_fn=collate))
    for _ in range(training.steps):
        start = time.perf_counter()
        ids = next(batches)["input_ids"].to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        value = loss.item()  # waits for the device
        yield time.perf_counter() - start, value


def _groups(model: Any, training: TrainingSpec) -> list[dict[str, Any]]:
    """AdamW's groups: norms do not decay, and the hidden matrices may have a rate of their own."""
    ends = {id(end.weight) for end in (model.get_input_embeddings(), model.get_output_embeddings())}
    groups: dict[tuple[float, float], list[Any]] = {}
    for parameter in model.parameters():
        hidden = parameter.ndim >= 2 and id(parameter) not in ends
        rate = training.matrix_learning_rate if hidden else training.learning_rate
        decay = training.weight_decay if parameter.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
