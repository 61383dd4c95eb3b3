"""Gemma 3: LLaMA's FFN with a tanh-approximated GELU; the text part where the model also reads pictures."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._gated import gated_sites
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("gemma3_text",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of a Gemma 3 model, text only or not."""
    text_only = hasattr(model.model, "layers")
    return gated_sites(model, blocks="model.layers" if text_only else "model.language_model.layers")
