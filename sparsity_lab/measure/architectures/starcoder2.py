"""StarCoder 2: not gated, biased."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("starcoder2",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a StarCoder 2 model."""
    return BlockLayout(blocks="model.layers", ffn="mlp", down="c_proj", activation="act").sites(model)
