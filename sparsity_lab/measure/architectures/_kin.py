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


class WithFatrelu:
    """Before a model of transformers among the bases: builds it where the config names FATReLU.

    That is x above a threshold, the config's `hidden_act_param`, else 0 (arXiv 2402.13516).
    """

    def __init__(self, config: Any) -> None:
        named = config.hidden_act
        if named == FATRELU and config.hidden_act_param is None:
            raise SparsityLabError(
                "The config names the activation function fatrelu without its threshold",
                fix="Write hidden_act_param into config.json",
            )
        config.hidden_act = "relu" if named == FATRELU else named  # transformers knows no FATReLU
        super().__init__(config)  # type: ignore[call-arg]
        config.hidden_act = named
        if named == FATRELU:
            for block in self.model.layers:  # type: ignore[attr-defined]
                block.mlp.act_fn = nn.Threshold(float(config.hidden_act_param), 0.0)


def register(config_class: Any, model_class: Any) -> None:
    """Make a model type known to transformers."""
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModelForCausalLM.register(config_class, model_class, exist_ok=True)
