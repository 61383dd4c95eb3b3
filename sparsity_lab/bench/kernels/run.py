"""The benchmark of the kernels: check, measure the ceilings, time every case, hold it against its bar."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import torch

from sparsity_lab import provenance
from sparsity_lab.bench.kernels import correctness, timing
from sparsity_lab.bench.kernels.cases import KernelCase, cases
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import KERNELS

_log = logging.getLogger(__name__)


class KernelsWrong(Exception):  # noqa: N818 -- a finding about this device, not a mistake of the user's
    """The kernels do not give the right numbers on this device, so nothing was timed."""


def bench_kernels(
    output: Path, *, device: str = "auto", compiled: bool = True, seed: int = 0, progress: Progress = SILENT
) -> dict[str, object]:
    """Check and time the kernels; writes `DEVICE.json`, `.csv` and `.md` into `output`.

    Args:
        output: folder, made where it is missing.
        device: `auto` takes the CUDA device; `cpu` times the torch references.
        compiled: also time the eager code under `torch.compile`.
        seed: of the random inputs.
        progress: shows what is being checked and timed.

    Returns:
        what the JSON holds, with the stem of the files under `stem`.

    Raises:
        SparsityLabError: no CUDA device and `cpu` was not asked for, or the folder cannot be written.
        KernelsWrong: a check failed; nothing was timed.
    """
    where = _device(device)
    records.prepare_output(output)
    checks, wrong = correctness.failures(where, progress=progress, seed=seed)
    if wrong:
        raise KernelsWrong(f"{len(wrong)} of {checks} checks failed, nothing was timed: " + "; ".join(wrong))
    _log.info("All %d checks of the kernels passed on %s.", checks, device_name(where))
    copy, matmul = timing.copy_bandwidth(where), timing.matmul_rate(where)
    rows = []
    with progress.track("timing the kernels", 8) as advance:
        for case in cases(where, seed):
            rows.append(_row(case, where, copy.seconds, matmul.seconds, compiled))
            advance(1)
    document: dict[str, object] = {
        "device": device_name(where),
        "implementation": "triton" if where.type == "cuda" else "torch",
        "checks_passed": checks,
        "copy_bytes_per_second": 1 / copy.seconds,
        "matmul_operations_per_second": 1 / matmul.seconds,
        "cases": rows,
        "bars": bars(rows),
        "seed": seed,
        "provenance": provenance.provenance(device=device_name(where)),
    }
    return {**document, "stem": str(_write(output, document))}


def device_name(device: torch.device) -> str:
    """The device as its maker names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def bars(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Each bar with the number reached, what is asked, and whether it holds; only bars that were timed."""
    held = []
    for row in rows:
        for what, key, least in _BARS.get(str(row["bar"]), ()):
            reached = row[key]
            if isinstance(reached, float):
                case = f"{row['kernel']}, {row['shape']}"
                held.append({"case": case, "what": what, "reached": reached, "least": least,
                             "holds": reached >= least})  # fmt: skip
    return held


_BARS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "gated": (
        ("share of copy bandwidth", "copy_share", 0.85),
        ("times faster than eager", "times_eager", 3.0),
        ("times faster than torch.compile", "times_compiled", 1.0),
    ),
    "histogram": (("share of copy bandwidth", "copy_share", 0.80),),
    "tails": (
        ("at most 12 dense products, as times faster than one", "times_dense", 1 / 12),
        ("stretch: at most 6 dense products", "times_dense", 1 / 6),
    ),
    "sparse-90%": (("times faster than dense", "times_dense", 4.0),),
    "sparse-60%": (("times faster than dense", "times_dense", 1.5),),
}


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise SparsityLabError(f"There is no device {name!r} to time on", fix="Take auto, cuda or cpu")
    if not torch.cuda.is_available():
        raise SparsityLabError(
            "No CUDA device is at hand to time the kernels on",
            fix="Time the torch references on the processor instead, with --device cpu",
        )
    return torch.device("cuda", torch.cuda.current_device())


def _row(
    case: KernelCase, device: torch.device, copy_seconds: float, matmul_seconds: float, compiled: bool
) -> dict[str, object]:
    ours, eager = timing.timed(case.ours, device), timing.timed(case.eager, device)
    faster = timing.timed(torch.compile(case.eager), device) if compiled else None
    dense = timing.timed(case.baseline, device) if case.baseline else None
    return {
        "kernel": case.kernel,
        "shape": case.shape,
        "dtype": str(timing.dtype_on(device)).removeprefix("torch."),
        "milliseconds": ours.seconds * 1e3,
        "spread_milliseconds": ours.spread * 1e3,
        "gigabytes": case.bytes / 1e9,
        "operations": case.operations,
        "operations_per_byte": case.operations / case.bytes,
        "copy_share": case.bytes * copy_seconds / ours.seconds,
        "matmul_share": case.operations * matmul_seconds / ours.seconds,
        "eager_milliseconds": eager.seconds * 1e3,
        "compiled_milliseconds": faster.seconds * 1e3 if faster else None,
        "dense_milliseconds": dense.seconds * 1e3 if dense else None,
        "times_eager": eager.seconds / ours.seconds,
        "times_compiled": faster.seconds / ours.seconds if faster else None,
        "times_dense": dense.seconds / ours.seconds if dense else None,
        "method": ours.method,
        "bar": case.bar,
    }


def _write(output: Path, document: dict[str, object]) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in str(document["device"]).lower())
    stem = output / "-".join(part for part in name.split("-") if part)
    records.write_json(stem.with_suffix(".json"), document)
    rows = document["cases"]
    assert isinstance(rows, list)
    KERNELS.write(output, rows, name=stem.name)
    return stem
