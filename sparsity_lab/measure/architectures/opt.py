"""OPT: not gated, biased, ReLU; its blocks flatten [batch, positions, d] to [batch * positions, d] on the way."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("opt",)


def sites(model: Any) -> list[FfnSite]:
    """Sites of an OPT model; the attention's norm still sees batch and positions apart."""
    return BlockLayout(
        blocks="model.decoder.layers",
        ffn="",
        down="fc2",
        activation="activation_fn",
        shaped_by="self_attn_layer_norm",
    ).sites(model)
