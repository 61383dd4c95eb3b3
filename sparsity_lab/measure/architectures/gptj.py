"""GPT-J and CodeGen: not gated, biased, beside the attention."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("gptj", "codegen")


def sites(model: Any) -> list[FfnSite]:
    """Sites of a GPT-J or CodeGen model."""
    return BlockLayout(blocks="transformer.h", ffn="mlp", down="fc_out", activation="act").sites(model)
