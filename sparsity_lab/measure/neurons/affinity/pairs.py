"""Two ways of doing one work, timed in alternating pairs within one process.

Machines are noisy and drift, so each pair is timed back to back, the order within pairs alternates, and the ratio is
taken pair by pair. The interval of the median is that of order statistics: exact for pairs that are independent,
whatever their distribution.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from scipy.stats import binom

Run = Callable[[], object]
Prepared = Callable[[], AbstractContextManager[Run]]
LEVEL = 0.95


@dataclass(frozen=True)
class Paired:
    """Seconds of each run; a pair is of one index."""

    dense_seconds: tuple[float, ...]
    sparse_seconds: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Dense over sparse, pair by pair."""
        return tuple(d / s for d, s in zip(self.dense_seconds, self.sparse_seconds, strict=True))

    def as_row(self, *, units: int, ideal: float) -> dict[str, float]:
        """Median seconds of one unit of work, the median ratio with its 95 % interval, and both over the ideal."""
        low, high = median_interval(self.ratios)
        ratio = statistics.median(self.ratios)
        return {
            "dense_seconds": statistics.median(self.dense_seconds) / units,
            "sparse_seconds": statistics.median(self.sparse_seconds) / units,
            "ratio": ratio,
            "ratio_low": low,
            "ratio_high": high,
            "ideal": ideal,
            "efficiency": ratio / ideal,
            "efficiency_low": low / ideal,
            "efficiency_high": high / ideal,
        }


def paired(dense: Prepared, sparse: Prepared, *, pairs: int, device: str) -> Paired:
    """Time both, one warm-up pair left out; entering the contexts is not timed."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs + 1):
        for which in ((0, 1), (1, 0))[index % 2]:
            with (dense, sparse)[which]() as run:
                times[which].append(_seconds(run, device))
    return Paired(tuple(times[0][1:]), tuple(times[1][1:]))


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The narrowest symmetric interval of order statistics that holds the median with probability 0.95 or more.

    Args:
        values: six or more; from fewer the range is given, which holds it less surely.
    """
    ordered = sorted(values)
    left_out = 0
    while 1 - 2 * binom.cdf(left_out + 1, len(ordered), 0.5) >= LEVEL:
        left_out += 1
    return ordered[left_out], ordered[-1 - left_out]


def _seconds(run: Run, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
