"""What architecture files are made of: the modules of one block by their paths, repeated over the blocks."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.model.hooks import FfnSite


def ffn_sites(
    model: Any,
    *,
    blocks: str,
    ffn: str,
    down: str,
    activation: str,
    up: str | None = None,
    up_is_half: bool = False,
    transposed: bool = False,
    shaped_by: str | None = None,
) -> list[FfnSite]:
    """One site a block, for models whose blocks are alike.

    Args:
        model: the causal LM.
        blocks: path of the list of blocks in the model.
        ffn: path of the feed-forward network in a block; empty where its parts lie in the block itself.
        down: path of the down projection in the feed-forward network.
        activation: path of the activation function's module there.
        up: path of the module that gives u there; None without a gate.
        up_is_half: as in `FfnSite`.
        transposed: as in `FfnSite`.
        shaped_by: path in a block; as in `FfnSite`.

    Raises:
        AttributeError: the model has no module of that path.
    """
    found = []
    for index, block in enumerate(model.get_submodule(blocks)):
        network = block.get_submodule(ffn)
        found.append(
            FfnSite(
                layer=index,
                name=f"{blocks}.{index}.{ffn}".rstrip("."),
                down=network.get_submodule(down),
                activation=network.get_submodule(activation),
                up=None if up is None else network.get_submodule(up),
                gated=up is not None,
                transposed=transposed,
                up_is_half=up_is_half,
                shaped_by=None if shaped_by is None else block.get_submodule(shaped_by),
            )
        )
    return found
