"""MiniCPM, of which the models of the Sparsing Law are: Granite under other names.

With `scale_emb`, `scale_depth` and `dim_model_base` of the config (arXiv 2404.06395): embeddings times
scale_emb, what a layer adds times scale_depth / sqrt(layers), logits of h / (hidden_size / dim_model_base), attention
over sqrt(head_dim). Granite calls these embedding_multiplier, residual_multiplier, logits_scaling and
attention_multiplier. MiniCPM-S has FATReLU.
"""

from __future__ import annotations

import math
from typing import Any

from transformers import GraniteConfig, GraniteForCausalLM

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._kin import WithFatrelu, register
from sparsity_lab.measure.architectures._structure import sites

MODEL_TYPES = ("minicpm",)

__all__ = ["MODEL_TYPES", "sites"]


class MiniCPMConfig(GraniteConfig):
    """Granite's config with MiniCPM's names; embeddings are tied unless the file says otherwise."""

    model_type = "minicpm"

    scale_emb: float | int = 1.0
    scale_depth: float | int = 1.0
    dim_model_base: int = 1
    hidden_act_param: float | None = None
    num_experts: int = 0
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.num_experts:
            raise SparsityLabError(
                f"The config is of a MiniCPM with {self.num_experts} experts, which are of a form that is not known",
                fix="Measure a dense MiniCPM",
            )
        self.embedding_multiplier = self.scale_emb
        self.residual_multiplier = self.scale_depth / math.sqrt(self.num_hidden_layers)
        self.logits_scaling = self.hidden_size / self.dim_model_base
        self.attention_multiplier = (self.hidden_size // self.num_attention_heads) ** -0.5


class MiniCPMForCausalLM(WithFatrelu, GraniteForCausalLM):
    """Granite's model, made of MiniCPM's config."""

    config_class = MiniCPMConfig


register(MiniCPMConfig, MiniCPMForCausalLM)
