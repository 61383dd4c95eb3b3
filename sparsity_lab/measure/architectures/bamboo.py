"""Bamboo and TurboSparse-Mistral (arXiv 2406.05955): Mistral with dReLU, y = W_d (relu(W_g x) * relu(W_u x)).

A TurboSparse checkpoint with weights of predictors is refused: they are not part of this model.
"""

from __future__ import annotations

from typing import Any

from transformers import MistralConfig, MistralForCausalLM

from sparsity_lab.measure.architectures._kin import DreluMLP, register
from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("bamboo",)


class BambooConfig(MistralConfig):
    """Mistral's config, the function of both branches being ReLU."""

    model_type = "bamboo"

    mlp_bias: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.hidden_act = "relu"


class BambooForCausalLM(MistralForCausalLM):
    """A Mistral whose feed-forward networks are `DreluMLP`."""

    config_class = BambooConfig

    def __init__(self, config: BambooConfig) -> None:
        super().__init__(config)
        for block in self.model.layers:
            block.mlp = DreluMLP(config)
        self.post_init()


def sites(model: Any) -> list[FfnSite]:
    """Sites of a dReLU model: s = relu(W_g x), u = relu(W_u x), a = s * u; which of the two is s cannot be seen."""
    return BlockLayout(
        blocks="model.layers", ffn="mlp", down="down_proj", activation="act_fn", up="up_act_fn"
    ).sites(model)


register(BambooConfig, BambooForCausalLM)
