"""Persimmon: not gated, biased; sigma is ReLU squared unless the config says else."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("persimmon",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a Persimmon model."""
    return BlockLayout(blocks="model.layers", ffn="mlp", down="dense_4h_to_h", activation="act").sites(model)
