"""GPT-Neo: GPT-2's FFN in plain linear layers."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("gpt_neo",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a GPT-Neo model."""
    return BlockLayout(blocks="transformer.h", ffn="mlp", down="c_proj", activation="act").sites(model)
