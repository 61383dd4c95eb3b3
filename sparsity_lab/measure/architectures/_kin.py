"""What is needed to read checkpoints of families that transformers has under another name, without their code."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from sparsity_lab.errors import SparsityLabError

FATRELU = "fatrelu"


class DreluMLP(LlamaMLP):
    """The gated network with sigma on both branches, y = W_d (relu(W_g x) * relu(W_u x)); arXiv 2406.05955."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.up_act_fn = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """y of x, both [..., d]."""
        gate, up = self.act_fn(self.gate_proj(x)), self.up_act_fn(self.up_proj(x))
        out: Tensor = self.down_proj(gate * up)
        return out


def known_activation(config: Any) -> str:
    """The function that transformers can build where the config names FATReLU, else what the config names."""
    return "relu" if config.hidden_act == FATRELU else str(config.hidden_act)


def with_fatrelu(model: Any) -> None:
    """Give a model whose config names FATReLU its function: x above the threshold, else 0; arXiv 2402.13516.

    Raises:
        SparsityLabError: the config names it without its threshold, `hidden_act_param`.
    """
    if model.config.hidden_act != FATRELU:
        return
    threshold = getattr(model.config, "hidden_act_param", None)
    if threshold is None:
        raise SparsityLabError(
            "The config names the activation function fatrelu without its threshold",
            fix="Write hidden_act_param into config.json",
        )
    for block in model.model.layers:
        block.mlp.act_fn = nn.Threshold(float(threshold), 0.0)


def register(config_class: Any, model_class: Any) -> None:
    """Make a model type known to transformers."""
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModelForCausalLM.register(config_class, model_class, exist_ok=True)
