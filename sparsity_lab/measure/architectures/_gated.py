"""The layouts most gated models share, `gate_proj` and `up_proj` apart or fused in `gate_up_proj`."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite


def gated_sites(model: Any, *, blocks: str = "model.layers") -> list[FfnSite]:
    """Sites of a LLaMA-type causal model: `mlp` with `act_fn`, `up_proj` and `down_proj` in each block."""
    return BlockLayout(blocks=blocks, ffn="mlp", down="down_proj", activation="act_fn", up="up_proj").sites(
        model
    )


def fused_gated_sites(model: Any) -> list[FfnSite]:
    """Sites of a Phi-3-type causal model: `mlp.gate_up_proj` gives g and u side by side."""
    return BlockLayout(
        blocks="model.layers",
        ffn="mlp",
        down="down_proj",
        activation="activation_fn",
        up="gate_up_proj",
        up_is_half=True,
    ).sites(model)
