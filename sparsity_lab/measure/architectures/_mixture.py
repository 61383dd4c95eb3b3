"""The layout of mixtures of experts: some blocks have experts, with or without a shared one, some are dense."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.model.experts import expert_sites
from sparsity_lab.measure.model.hooks import FfnSite


def mixture_sites(model: Any) -> list[FfnSite]:
    """A site for each expert, the shared one before the others, and for each dense block.

    The sigmoid gate of a shared expert scales all its neurons alike and stays outside: ratios of norms do not
    see it.
    """
    found: list[FfnSite] = []
    for index, block in enumerate(model.model.layers):
        name, network, norm = f"model.layers.{index}.mlp", block.mlp, block.post_attention_layernorm
        if not hasattr(network, "experts"):
            found.append(_dense(network, layer=len(found), name=name))
            continue
        if hasattr(network, "shared_expert"):
            shared = _dense(network.shared_expert, len(found), name=f"{name}.shared_expert", shaped_by=norm)
            found.append(shared)
        found += expert_sites(network.experts, first=len(found), name=f"{name}.experts", shaped_by=norm)
    return found


def _dense(network: Any, layer: int, *, name: str, shaped_by: Any = None) -> FfnSite:
    return FfnSite(
        layer=layer,
        name=name,
        down=network.down_proj,
        activation=network.act_fn,
        up=network.up_proj,
        gated=True,
        shaped_by=shaped_by,
    )
