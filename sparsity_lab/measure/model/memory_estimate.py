"""Peak memory of a cell before it is measured: what the process holds already, weights, and the largest batch.

    peak  = max(base + weights + stored file, base + weights + batch + sums, base + figures)
    batch = max(T V s + loss of a window, 3 T F s + 2 T d s + what the criterion makes) + products in float32

with T tokens of a batch, V the vocabulary, F neurons of the widest layer, d the hidden size and s bytes of a number.
The base is read off this very process once text, tokenizer and model class are there. Weights and layers are counted
on a model without storage. A stored file is mapped while it is converted to another dtype. `Knob.calibrates` says what
a criterion makes at a layer: float32 scores and their order or bins, or the masked outputs of the CETT curve.
`results/memory` compares the estimate with measured peaks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sparsity_lab import registry
from sparsity_lab.machine.memory import resident_bytes
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject, auto_batch_size
from sparsity_lab.measure.search.noise import weight_count
from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.measure.thresholds.cett_fine import EVENTS_AT_ONCE
from sparsity_lab.measure.thresholds.cett_passes import MOST_EDGES

FLOAT = 4  # bytes of a float32
SCORE_FLOATS = (
    5.5  # of one activation: its score, and scores and places once more while they are ordered or binned
)
CALIBRATION_TOKENS = 256  # of a window that the kernel of the CETT curve looks at together
NEAR_SHARE = 0.02  # of the activations, the most that lie between two thresholds 1 % apart on either side
EVENT_FLOATS = 10  # times d, of one activation: its column gathered and multiplied, then summed in float64
COUNTS, COUNTS_BYTES = (
    8,
    8,
)  # of a window and layer in addition to its CETT; of one int64 count or float64 sum
DRAWN_COPIES = 3  # of the weights of replicates, while they are made
FIRST_RUN_BYTES = 24 << 20  # code of the kernels and of the libraries behind them, touched by the first batch
DRAWING_BYTES = 100 << 20  # pandas and matplotlib, imported for the figures once the weights are gone


@dataclass(frozen=True)
class MemoryEstimate:
    """Where the memory of a cell goes, in bytes.

    Attributes:
        base: of the process with text and tokenizer, before the weights; 0 on a GPU.
        base_peak: the most it was on the way there.
        weights: parameters and buffers as they are loaded.
        stored: weight files that are mapped while they are converted; 0 where they are used as they are.
        batch: the most that lives at once while one batch passes.
        sums: counts and sums that stay, window by window, and the weights of replicates.
    """

    base: int
    base_peak: int
    weights: int
    stored: int
    batch: int
    sums: int

    @property
    def peak(self) -> int:
        """The largest of reading, loading, measuring and drawing."""
        loading = self.base + self.weights + self.stored
        measuring = self.base + self.weights + self.batch + self.sums + (FIRST_RUN_BYTES if self.base else 0)
        drawing = self.base + (DRAWING_BYTES if self.base else 0)
        return max(self.base_peak, loading, measuring, drawing)


def estimates(spec: MeasureSpec, prepared: Sequence[Prepared]) -> list[MemoryEstimate | None]:
    """The estimate of each checkpoint of a run, one process at a time; equal models are looked at once."""
    estimated: dict[tuple[object, ...], MemoryEstimate | None] = {}
    keys = []
    for one in prepared:
        key = (one.config.to_json_string(), one.windows.ids.shape, one.windows.bos_id is None, one.dtype)
        if key not in estimated:
            estimated[key] = None if spec.compat else estimate(one, spec)
        keys.append(key)
    return [estimated[key] for key in keys]


def estimate(prepared: Prepared, spec: MeasureSpec) -> MemoryEstimate | None:
    """The memory that measuring one checkpoint takes on its device.

    Returns:
        None for mixtures of experts, where a layer's tokens are not known beforehand, and for a class of models that
        transformers cannot build without the weights.

    Raises:
        SparsityLabError: a part the criterion's score needs and the model does not have.
    """
    try:
        model, sites = _hollow(prepared, spec)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return None
    if any(site.routed for site in sites):
        return None
    windows, on_host = prepared.windows, prepared.device == "cpu"
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    batch = _batch_bytes(prepared, spec, sites, vocabulary=model.config.get_text_config().vocab_size)
    if not on_host:
        return MemoryEstimate(0, 0, weights, 0, batch, 0)
    stored_dtype = getattr(prepared.config, "dtype", None) or torch.float32
    parameters = sum(parameter.numel() for parameter in model.parameters())
    stored = 0 if stored_dtype == prepared.dtype else parameters * stored_dtype.itemsize
    counts = windows.count * len(sites) * (MOST_EDGES + COUNTS) * COUNTS_BYTES
    draws = DRAWN_COPIES * weight_count(windows.count, sample=windows.sample) * COUNTS_BYTES
    return MemoryEstimate(*resident_bytes(), weights, stored, batch, counts + draws)


@torch.no_grad()
def _hollow(prepared: Prepared, spec: MeasureSpec) -> tuple[Any, list[FfnSite]]:
    """The model without storage and its sites, which the criterion has found to be all that it needs."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(prepared.config)  # it takes the dtype on
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=prepared.dtype, trust_remote_code=False)
    sites = list(architectures.find(config, file=spec.architecture_file)[1].sites(model))
    registry.load("criteria", spec.criterion).bind(Subject(model, sites, prepared.windows, 1), seed=0)
    return model, sites


def _batch_bytes(prepared: Prepared, spec: MeasureSpec, sites: Sequence[FfnSite], *, vocabulary: int) -> int:
    """The most that lives at once while one batch passes: its logits and loss, or one layer under the criterion."""
    windows, size, narrow = prepared.windows, prepared.dtype.itemsize, prepared.dtype != torch.float32
    length = windows.window + (0 if windows.bos_id is None else 1)
    asked = spec.batch_size or auto_batch_size(prepared.device, window=windows.window)
    tokens = min(asked, windows.count) * length
    site = max(sites, key=lambda site: site.intermediate_size)
    d, F = site.down_weight().shape
    if registry.load("criteria", spec.criterion).KNOB.calibrates == "cett":
        fixed = spec.knob is not None or spec.stabilise_last is not None
        criterion = _cett_floats(length, d, F, narrow=narrow, fixed=fixed)
    else:
        criterion = int(SCORE_FLOATS * tokens * F)
    logits = tokens * vocabulary * size + (1 + narrow) * length * vocabulary * FLOAT
    layer = tokens * (3 * F + 2 * d) * size + criterion * FLOAT
    widened = tokens * max(vocabulary, F) * FLOAT if narrow and prepared.device == "cpu" else 0
    return max(logits, layer) + widened


def _cett_floats(tokens: int, d: int, F: int, *, narrow: bool, fixed: bool) -> int:
    """What the CETT of one window makes at a layer: masked activations and outputs, or, at one knob, columns of W_d."""
    block, copy_of_weights = min(tokens, CALIBRATION_TOKENS), narrow * d * F
    curve = (2 + narrow) * block * F + block * d + copy_of_weights
    if not fixed:
        return curve
    events = min(EVENTS_AT_ONCE, max(int(NEAR_SHARE * tokens * F), 1))
    return max(curve, (3 + narrow) * tokens * F + copy_of_weights + EVENT_FLOATS * d * events)
