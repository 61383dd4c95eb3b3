"""LLaMA with dReLU, y = W_d (relu(W_g x) * relu(W_u x)), as TurboSparse defines it (arXiv 2406.05955).

transformers has no such model, so this one is ours: importing the file makes the model type `drelu_llama`
known to `AutoConfig` and `AutoModelForCausalLM`. Checkpoints differ from LLaMA's in the model type alone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from sparsity_lab.measure.architectures._layout import BlockLayout
from sparsity_lab.measure.model.hooks import FfnSite

MODEL_TYPES = ("drelu_llama",)


class DreluLlamaConfig(LlamaConfig):
    """LLaMA's config under another model type; `hidden_act` is the ReLU of both branches."""

    model_type = "drelu_llama"


class DreluLlamaMLP(LlamaMLP):
    """The gated network with sigma on both branches."""

    def __init__(self, config: DreluLlamaConfig) -> None:
        super().__init__(config)
        self.up_act_fn = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """y of x, both [..., d]."""
        gate, up = self.act_fn(self.gate_proj(x)), self.up_act_fn(self.up_proj(x))
        out: Tensor = self.down_proj(gate * up)
        return out


class DreluLlamaForCausalLM(LlamaForCausalLM):
    """A LLaMA whose feed-forward networks are `DreluLlamaMLP`."""

    config_class = DreluLlamaConfig

    def __init__(self, config: DreluLlamaConfig) -> None:
        super().__init__(config)
        for block in self.model.layers:
            block.mlp = DreluLlamaMLP(config)
        self.post_init()


def sites(model: Any) -> list[FfnSite]:
    """Sites of a dReLU model: s = relu(W_g x), u = relu(W_u x), a = s * u."""
    return BlockLayout(
        blocks="model.layers", ffn="mlp", down="down_proj", activation="act_fn", up="up_act_fn"
    ).sites(model)


AutoConfig.register("drelu_llama", DreluLlamaConfig, exist_ok=True)
AutoModelForCausalLM.register(DreluLlamaConfig, DreluLlamaForCausalLM, exist_ok=True)
