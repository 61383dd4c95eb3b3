"""What architecture files are made of: the modules of one block by their paths, repeated over the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparsity_lab.measure.model.hooks import FfnSite


@dataclass(frozen=True)
class BlockLayout:
    """Where the feed-forward network of a model lies, whose blocks are alike.

    Attributes:
        blocks: path of the list of blocks in the model.
        ffn: path of the feed-forward network in a block; empty where its parts lie in the block itself.
        down: path of the down projection in the feed-forward network.
        activation: path of the activation function's module there.
        up: path of the module that gives u there; None without a gate.
        up_is_half: as in `FfnSite`.
        transposed: as in `FfnSite`.
        shaped_by: path in a block; as in `FfnSite`.
    """

    blocks: str
    ffn: str
    down: str
    activation: str
    up: str | None = None
    up_is_half: bool = False
    transposed: bool = False
    shaped_by: str | None = None

    def sites(self, model: Any) -> list[FfnSite]:
        """One site a block of a causal LM.

        Raises:
            AttributeError: the model has no module of that path.
        """
        return [self._site(index, block) for index, block in enumerate(model.get_submodule(self.blocks))]

    def _site(self, layer: int, block: Any) -> FfnSite:
        network = block.get_submodule(self.ffn)
        return FfnSite(
            layer=layer,
            name=f"{self.blocks}.{layer}.{self.ffn}".rstrip("."),
            down=network.get_submodule(self.down),
            activation=network.get_submodule(self.activation),
            up=None if self.up is None else network.get_submodule(self.up),
            gated=self.up is not None,
            transposed=self.transposed,
            up_is_half=self.up_is_half,
            shaped_by=None if self.shaped_by is None else block.get_submodule(self.shaped_by),
        )
