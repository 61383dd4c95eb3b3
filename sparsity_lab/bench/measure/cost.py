"""What a measurement costs besides time: memory, and the matrix products and host syncs of its calibration."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from sparsity_lab.machine.memory import status_bytes
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import UNSEEN, BatchVisitor, Subject
from sparsity_lab.measure.search.counts import Floats, Ints
from sparsity_lab.measure.thresholds.masks import CountingVisitor

# What makes the host wait for the device.
SYNCS = frozenset(
    {
        Tensor.cpu, Tensor.item, Tensor.tolist, Tensor.nonzero, torch.nonzero,
        Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__,
    }
)  # fmt: skip


@dataclass
class Peak:
    """Peak memory of a stretch of work, above what was in use when it began.

    Attributes:
        bytes: of the process (CPU) or of torch's allocator (CUDA); None where the system does not say.
    """

    bytes: int | None = None


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Measure the peak of what runs in the context; on the CPU by Linux's own resettable high-water mark."""
    gc.collect()
    _return_free_memory()
    peak = Peak()
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated() - before
        return
    can_reset = _reset_high_water()
    before = status_bytes("VmRSS") if can_reset else 0
    yield peak
    if can_reset:
        peak.bytes = status_bytes("VmHWM") - before


def _return_free_memory() -> None:
    """Hand memory that was freed back to the system, or what runs next would seem to need none."""
    with suppress(AttributeError, OSError):  # glibc has it, other C libraries may not
        ctypes.CDLL(None).malloc_trim(0)


def _reset_high_water() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@dataclass
class Metered(Subject):
    """A subject that counts what calibrating visitors do while the model runs.

    The model's own work, the masks of sparse passes and the setting-up of a visitor are not counted.

    Attributes:
        multiply_adds: of matrix products.
        syncs: times the host waits for the device; on a CPU, would wait for a GPU.
    """

    multiply_adds: int = field(default=0)
    syncs: int = field(default=0)

    @property
    def products(self) -> float:
        """The multiply-adds in units of one layer's whole product, [tokens, F] x [F, d]."""
        weights = [site.down_weight() for site in self.sites]
        whole = self.windows.tokens * sum(weight.numel() for weight in weights) / len(weights)
        return self.multiply_adds / whole

    def losses(
        self, rows: NDArray[Any], *, visitor: BatchVisitor, label: str, outputs: bool = False
    ) -> Floats:
        """As of any subject, the visitor under the meter."""
        if visitor is not UNSEEN and not isinstance(visitor, CountingVisitor):
            visitor = _MeteredVisitor(visitor, self)
        return super().losses(rows, visitor=visitor, label=label, outputs=outputs)


class _MeteredVisitor(BatchVisitor):
    def __init__(self, inner: BatchVisitor, subject: Metered) -> None:
        self.inner, self.subject = inner, subject

    def begin(self, rows: Ints) -> None:
        self.inner.begin(rows)

    def end(self, rows: Ints) -> None:
        with self._meter():
            self.inner.end(rows)

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor | None:
        with self._meter():
            return self.inner.visit(site, a, s)

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        with self._meter():
            self.inner.visit_output(site, a, y)

    @contextmanager
    def _meter(self) -> Iterator[None]:
        syncs, flops = SyncCounter(), FlopCounterMode(display=False)
        with syncs, flops:
            yield
        self.subject.syncs += syncs.count
        self.subject.multiply_adds += flops.get_total_flops() // 2


class SyncCounter(TorchFunctionMode):
    """Counts calls that bring a value to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count one call and make it."""
        self.count += func in SYNCS
        return func(*args, **(kwargs or {}))
