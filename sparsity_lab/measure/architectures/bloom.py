"""BLOOM: not gated, biased; sigma is a tanh-approximated GELU that the config does not name."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("bloom",)
ACTIVATION = "gelu_pytorch_tanh"


def sites(model: Any) -> list[FfnSite]:
    """Sites of a BLOOM model."""
    return BlockLayout(blocks="transformer.h", ffn="mlp", down="dense_4h_to_h", activation="gelu_impl").sites(
        model
    )
