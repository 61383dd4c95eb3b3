"""MPT: not gated, no biases; sigma is the exact GELU, which the config does not name."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("mpt",)
ACTIVATION = "gelu"


def sites(model: Any) -> list[FfnSite]:
    """Sites of an MPT model."""
    return BlockLayout(blocks="transformer.blocks", ffn="ffn", down="down_proj", activation="act").sites(
        model
    )
