"""Falcon: not gated; biased where the config says so."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("falcon",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a Falcon model."""
    return BlockLayout(blocks="transformer.h", ffn="mlp", down="dense_4h_to_h", activation="act").sites(model)
