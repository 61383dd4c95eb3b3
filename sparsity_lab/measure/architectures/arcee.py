"""Arcee's AFM: LLaMA without a gate, y = W_d sigma(W_u x); sigma is ReLU squared unless the config says else."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("arcee",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of an Arcee model."""
    return BlockLayout(blocks="model.layers", ffn="mlp", down="down_proj", activation="act_fn").sites(model)
