"""Perplexity on a text, reported along with the scores of tasks, over the windows that `measure` takes: its
`ppl_dense` without thresholds, its `ppl_sparse` with them."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from sparsity_lab.measure.model.passes import auto_batch_size, window_losses
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search.noise import replicates
from sparsity_lab.measure.sources.named import label_of
from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.settings import EvalSettings, SampleSettings


def text_reading(text: TextPlace, settings: EvalSettings) -> MeasureSpec:
    """How `measure` would read the text of an evaluation."""
    shared = {field.name: getattr(settings, field.name) for field in fields(SampleSettings)}
    return MeasureSpec(text=text, tokens=settings.tokens, seed=settings.seed, **shared)


def text_determinants(windows: Windows) -> dict[str, Any]:
    """What a content key says of the text."""
    return {"text": windows.sha256, "window": windows.window, "bos": windows.bos_id, "sample": windows.sample}


def perplexity_row(model: Any, text: TextPlace, windows: Windows, *, batch_size: str) -> dict[str, float]:
    """The columns of a text: perplexity per predicted token, exp(mean loss), and its standard error.

    Args:
        model: as it is to be evaluated, masks in place.
        text: for the columns' names.
        windows: of it.
        batch_size: windows at a time, or auto.
    """
    losses = _losses(model, windows, batch_size)
    predicted = np.full(windows.count, float(windows.predictions_per_window))
    draws = replicates(np.arange(windows.count), sample=windows.sample, documents=windows.units)
    mean = losses.sum() / predicted.sum()
    error = draws.error(draws.sums(losses) / draws.sums(predicted))
    name = label_of(text)
    return {f"{name} (perplexity)": math.exp(mean), f"{name} ± se": math.exp(mean) * error}


@torch.no_grad()
def _losses(model: Any, windows: Windows, batch_size: str) -> np.ndarray:
    """Summed loss of each window, nats, float64 [windows]."""
    device = model.get_input_embeddings().weight.device
    batch = auto_batch_size(device.type, window=windows.window) if batch_size == "auto" else int(batch_size)
    found = []
    for begin in range(0, windows.count, batch):
        inputs = windows.inputs(np.arange(begin, min(begin + batch, windows.count))).to(device)
        found.append(window_losses(model(input_ids=inputs, use_cache=False).logits, inputs).cpu())
    return np.asarray(torch.cat(found).numpy())
