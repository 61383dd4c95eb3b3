"""GPT-NeoX and Pythia: not gated, biased, beside the attention."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("gpt_neox",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a GPT-NeoX model."""
    return BlockLayout(blocks="gpt_neox.layers", ffn="mlp", down="dense_4h_to_h", activation="act").sites(
        model
    )
