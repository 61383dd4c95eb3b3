"""Peak memory of a cell before it is measured: what the process holds already, weights, and the largest batch.

    peak = max(base + loading, base + weights + sums + largest batch, base + figures)

*Base* is read off this very process once text, tokenizer and model class are there. *Weights* are counted on a model
without storage (torch's fake tensors), in the dtype they are loaded in; loading from another dtype holds the
stored file beside them for a moment. The *largest batch* is not a formula: one batch goes through that model
under the criterion's own mask, and every tensor that comes to life is added up until it dies, logits and loss
included. Calibrating passes need values, so what they hold at a site is counted by hand, in `_Calibrating`.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsity_lab import registry
from sparsity_lab.machine.memory import resident_bytes
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.criteria._by_threshold import GRID, Given
from sparsity_lab.measure.model.hooks import FfnSite, tapped
from sparsity_lab.measure.model.passes import BatchVisitor, Subject, auto_batch_size, window_losses
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search.noise import RESAMPLES
from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.measure.thresholds.cett_fine import EVENTS_AT_ONCE
from sparsity_lab.measure.thresholds.cett_passes import MOST_EDGES, output_norms
from sparsity_lab.measure.thresholds.stored import Calibration

CALIBRATION_TOKENS = 256  # of a window that a calibrating kernel looks at together
NEAR_SHARE = 0.02  # of the activations, the most that lie between two thresholds 1 % apart on either side
EVENT_FLOATS = 10  # times d, of one activation: its column gathered and multiplied, then summed in float64
BY_QUANTILE = ("cats", "teal-down", "per-channel")
FIRST_RUN_BYTES = 24 << 20  # code of the kernels and of the libraries behind them, touched by the first batch
DRAWING_BYTES = 100 << 20  # pandas and matplotlib, imported for the figures once the weights are gone
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}
COUNTS, COUNTS_BYTES = 8, 8  # of a window and layer beside its CETT; of one int64 count or float64 sum
DRAWN_COPIES = 3  # of the bootstrap's weights, while they are drawn


@dataclass(frozen=True)
class MemoryEstimate:
    """Where the memory of a cell goes, in bytes.

    Attributes:
        base: of the process with text and tokenizer, before the weights; 0 on a GPU.
        base_peak: the most it was on the way there.
        weights: parameters and buffers as they are loaded.
        stored: weight files that are mapped while they are converted; 0 where they are used as they are.
        batch: the most that lives at once while one batch passes.
        sums: counts and sums that stay, window by window.
    """

    base: int
    base_peak: int
    weights: int
    stored: int
    batch: int
    sums: int

    @property
    def peak(self) -> int:
        """The largest of reading, loading and measuring."""
        loading = self.base + self.weights + self.stored
        measuring = self.base + self.weights + self.batch + self.sums + (FIRST_RUN_BYTES if self.base else 0)
        drawing = self.base + (DRAWING_BYTES if self.base else 0)
        return max(self.base_peak, loading, measuring, drawing)


def estimate(
    config: Any,
    windows: Windows,
    *,
    dtype: torch.dtype,
    device: str,
    criterion: str,
    batch_size: int,
    fixed: bool,
    architecture_file: Path | None = None,
) -> MemoryEstimate | None:
    """The memory that measuring one checkpoint takes.

    Args:
        config: of the model.
        windows: the text it is to read.
        dtype: of weights and forward pass.
        device: where it is measured; the memory is that device's own.
        criterion: id.
        batch_size: windows of a forward pass.
        fixed: whether the knob is given; its thresholds are then resolved activation by activation.
        architecture_file: a file of the user's own, or None.

    Returns:
        None where the path depends on values, as which expert a token is sent to.

    Raises:
        SparsityLabError: a part the criterion's score needs and the model does not have.
    """
    on_host = device == "cpu"
    try:
        with FakeTensorMode():
            model = _hollow(config, dtype)
            sites = list(architectures.find(config, file=architecture_file)[1].sites(model))
            if any(site.routed for site in sites):
                return None
            subject = Subject(model, sites, windows, min(batch_size, windows.count))
            calibrating = _Calibrating(subject, criterion, fixed=fixed)
            passes = ((calibrating, True), (_masking(subject, criterion), False))
            largest = max(_traced(subject, one, outputs=outputs, on_host=on_host) for one, outputs in passes)
            largest += calibrating.kept
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # a forward that asks for a value, or no such class
        return None
    weights = sum(_bytes(tensor) for tensor in (*model.parameters(), *model.buffers()))
    now, most = resident_bytes() if on_host else (0, 0)
    stored = _stored_bytes(config, model) if on_host and _stored_dtype(config) != dtype else 0
    draws = RESAMPLES * windows.count * COUNTS_BYTES
    sums = draws + windows.count * len(sites) * (MOST_EDGES + COUNTS) * COUNTS_BYTES
    if not on_host:
        return MemoryEstimate(now, most, weights, stored, largest, 0)
    return MemoryEstimate(now, most, weights, stored, max(largest, DRAWN_COPIES * draws), sums)


def estimates(spec: MeasureSpec, prepared: Sequence[Prepared]) -> list[MemoryEstimate | None]:
    """The estimate of each checkpoint of a run, one process at a time; equal models are looked at once."""
    known: dict[tuple[object, ...], MemoryEstimate | None] = {}
    found = []
    for one in prepared:
        batch = spec.batch_size or auto_batch_size(one.device, window=one.windows.window)
        key = (one.config.to_json_string(), one.windows.ids.shape, one.windows.bos_id is None, one.dtype)
        if key not in known:
            known[key] = None if spec.compat else estimate(
                one.config, one.windows, dtype=one.dtype, device=one.device, criterion=spec.criterion,
                batch_size=batch, fixed=spec.knob is not None or spec.stabilise_last is not None,
                architecture_file=spec.architecture_file,
            )  # fmt: skip
        found.append(known[key])
    return found


def _hollow(config: Any, dtype: torch.dtype) -> nn.Module:
    """The model without storage, its module code imported."""
    from transformers import AutoModelForCausalLM

    own = copy.deepcopy(config)  # it takes the dtype on
    model: nn.Module = AutoModelForCausalLM.from_config(own, dtype=dtype, trust_remote_code=False)
    return model.eval()


def _masking(subject: Subject, criterion: str) -> BatchVisitor:
    """The criterion's own mask, at a knob or thresholds of no account."""
    module = registry.load("criteria", criterion)
    if not hasattr(module, "threshold_score"):
        per_token: BatchVisitor = module.bind(subject, seed=0).visitor(module.KNOB.start)
        return per_token
    ones, weights = (1.0,) * len(subject.sites), None
    if module.threshold_score().weight == "mean-up":
        weights = tuple(torch.empty(site.intermediate_size) for site in subject.sites)
    return Given(subject, calibration=Calibration(criterion, ones, score_weights=weights)).visitor(0.0)


class _Calibrating(BatchVisitor):
    """Counts what a calibrating pass holds at a site.

    These are pieces below the size that goes back to the system at once: they stay with the allocator, and the
    logits of the next batch come on top of them.

    Attributes:
        kept: bytes at the site that holds most.
    """

    def __init__(self, subject: Subject, criterion: str, *, fixed: bool) -> None:
        self.subject, self.criterion, self.fixed = subject, criterion, fixed
        self.kept = 0

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Look at one site as the dense pass does."""
        output_norms(site, a, y)
        torch.ne(a, 0)
        held = 0
        if self.criterion == "cett":
            held = self._cett(site, tokens=a.shape[1])
        elif self.criterion in BY_QUANTILE:
            held = 4 * a.numel() + 4 * GRID.edges().numel()  # scores and their bins, and grids
        self.kept = max(self.kept, held * torch.float32.itemsize)

    def _cett(self, site: FfnSite, *, tokens: int) -> int:
        """Floats at one site: masked activations and tails of a block; activation by activation, columns of W_d."""
        d, F = site.down_weight().shape
        narrow = int(site.down_weight().dtype != torch.float32)
        block = min(tokens, CALIBRATION_TOKENS)
        curve = (2 + narrow) * block * F + block * d + narrow * d * F
        if not self.fixed:
            return curve
        events = min(EVENTS_AT_ONCE, max(int(NEAR_SHARE * tokens * F), 1))
        return max(curve, (3 + narrow) * tokens * F + narrow * d * F + EVENT_FLOATS * d * events)


class _Living(TorchDispatchMode):
    """Adds up the storage of tensors from when they are made to when they are dropped.

    Attributes:
        most: bytes, the most at once.
        widened: bytes of the largest product of narrow numbers in float32. A CPU accumulates it so, in a buffer
            that it keeps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = self.widened = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make one call and note what is new in what it gives."""
        given = {
            tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if _is_tensor(tensor)
        }
        made = func(*args, **(kwargs or {}))
        for tensor in filter(_is_tensor, tree_leaves(made)):
            if func in PRODUCTS and tensor.dtype != torch.float32:
                self.widened = max(self.widened, tensor.numel() * torch.float32.itemsize)
            self._note(tensor.untyped_storage(), given)
        return made

    def _note(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in given or key in self.known:  # a view, or written in place
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@torch.no_grad()
def _traced(subject: Subject, visitor: BatchVisitor, *, outputs: bool, on_host: bool) -> int:
    """The most bytes that live at once while one batch passes, its loss included."""
    windows = subject.windows
    length = windows.window + (0 if windows.bos_id is None else 1)
    ids = torch.zeros((subject.batch_size, length), dtype=torch.int64)
    living = _Living()
    with tapped(subject.sites, visitor, outputs=outputs), living:
        window_losses(subject.model(input_ids=ids, use_cache=False).logits, ids)
    gc.collect()
    return living.most + (living.widened if on_host else 0)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _stored_dtype(config: Any) -> torch.dtype:
    stored = getattr(config, "dtype", None)
    found = getattr(torch, stored, None) if isinstance(stored, str) else stored
    return found if isinstance(found, torch.dtype) else torch.float32


def _stored_bytes(config: Any, model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters()) * _stored_dtype(config).itemsize
