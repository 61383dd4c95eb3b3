"""GPT-2: not gated, biased; its Conv1D stores weights as [in, out]."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("gpt2",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a GPT-2 model."""
    return BlockLayout(
        blocks="transformer.h", ffn="mlp", down="c_proj", activation="act", transposed=True
    ).sites(model)
