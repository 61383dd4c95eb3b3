"""Seconds of device time, and the device's own ceilings to hold them against.

On a GPU a run is captured in a CUDA graph and replayed, so that gaps between launches do not count; what
cannot be captured (it waits for the host) is timed between events, which is recorded with the number. There
the inputs of every case are larger than the last cache. On a CPU the wall clock is read.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Run = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Median seconds of one run, the spread of two measurements of it, and how it was timed."""

    seconds: float
    spread: float
    method: str


def timed(run: Run, device: torch.device, *, milliseconds: int = 200) -> Timing:
    """Time `run` twice; the first call, which compiles, is left out."""
    run()
    if device.type != "cuda":
        pair = [_wall(run) for _ in range(2)]
        return Timing(statistics.mean(pair), abs(pair[0] - pair[1]), "wall clock")
    torch.cuda.synchronize(device)
    with torch.cuda.device(device):
        try:
            pair, method = [_replayed(run, milliseconds) for _ in range(2)], "CUDA graph"
        except RuntimeError:
            torch.cuda.synchronize(device)
            pair, method = [_between_events(run, milliseconds) for _ in range(2)], "CUDA events"
    return Timing(statistics.mean(pair), abs(pair[0] - pair[1]), method)


def copy_bandwidth(device: torch.device) -> Timing:
    """Bytes read plus written per second of a large copy on the device; `seconds` of one byte."""
    size = 2**32 if device.type == "cuda" else 2**27
    source = torch.empty(size, dtype=torch.int8, device=device).fill_(3)
    target = torch.empty_like(source)
    copy = timed(lambda: target.copy_(source), device)
    return Timing(copy.seconds / (2 * size), copy.spread / (2 * size), copy.method)


def dtype_on(device: torch.device) -> torch.dtype:
    """The numbers that are timed on the device: a processor that must emulate bfloat16 says nothing about kernels."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def matmul_rate(device: torch.device) -> Timing:
    """Operations per second of a large product of random matrices; `seconds` of one operation."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype_on(device)) for _ in range(2))
    product = timed(lambda: left @ right, device)
    return Timing(product.seconds / (2 * size**3), product.spread / (2 * size**3), product.method)


def _replayed(run: Run, milliseconds: int) -> float:
    from triton.testing import do_bench_cudagraph

    return float(do_bench_cudagraph(run, rep=milliseconds, return_mode="median")) / 1e3


def _between_events(run: Run, milliseconds: int) -> float:
    from triton.testing import do_bench

    return float(do_bench(run, warmup=50, rep=milliseconds, return_mode="median")) / 1e3


def _wall(run: Run, repeats: int = 5) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
