"""Phi-1, 1.5 and 2: not gated, biased, beside the attention."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("phi",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a Phi model."""
    return BlockLayout(blocks="model.layers", ffn="mlp", down="fc2", activation="activation_fn").sites(model)
