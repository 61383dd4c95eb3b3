"""The shapes of the ladder's models, their configs, and how many parameters they have.

A LLaMA-type decoder: RMSNorm, rotary attention, an FFN of F neurons, no biases. With width d, L layers,
h heads and g key-value heads of size d/h, vocabulary V:

    attention   2 d^2 + 2 d^2 g/h          per layer
    FFN         3 d F gated, 2 d F not     per layer
    norms       2 d per layer, d at the end
    embeddings  V d tied, 2 V d untied

The total is their sum; the non-embedding count leaves the embeddings out. A test asserts that both equal
the counts of the real model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.sections import LADDER

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Our name of an activation -> the name transformers knows sigma by. dReLU is a ReLU on both branches.
ACTIVATIONS = {"relu": "relu", "silu": "silu", "gelu": "gelu", "relu2": "relu2", "drelu": "relu"}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Everything that determines a model but its weights.

    Attributes:
        hidden_size: d.
        layers: number of decoder layers.
        intermediate_size: F, FFN neurons of a layer.
        heads: attention heads; divides d.
        key_value_heads: key-value heads; divides heads.
        vocabulary: token ids of the embedding.
        positions: longest window.
        activation: one of `ACTIVATIONS`.
        gated: whether the FFN is a = sigma(W_g x) * (W_u x) rather than a = sigma(W_u x); dReLU is always
            gated, with sigma on W_u x too.
        tied_embeddings: whether the output layer is the input embedding.
    """

    hidden_size: int
    layers: int
    intermediate_size: int
    heads: int
    key_value_heads: int
    vocabulary: int
    positions: int
    activation: str = "silu"
    gated: bool = True
    tied_embeddings: bool = True

    def __post_init__(self) -> None:
        _refuse_impossible(self)

    @property
    def params_embedding(self) -> int:
        """Parameters of the input and output embeddings, tied ones once."""
        return self.vocabulary * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def params_nonembedding(self) -> int:
        """Parameters less the embeddings, in closed form."""
        d, F = self.hidden_size, self.intermediate_size
        attention = 2 * d * d + 2 * d * d * self.key_value_heads // self.heads
        ffn = (3 if self.gated else 2) * d * F
        return self.layers * (attention + ffn + 2 * d) + d

    @property
    def params_total(self) -> int:
        """All parameters, tied ones once."""
        return self.params_nonembedding + self.params_embedding

    @property
    def width_depth_ratio(self) -> float:
        """d / L."""
        return self.hidden_size / self.layers


def _refuse_impossible(shape: ModelShape) -> None:
    if shape.activation not in ACTIVATIONS:
        raise registry.unknown(shape.activation, kind="activation", known=sorted(ACTIVATIONS))
    ranges.check_fields(shape, command=LADDER)
    if shape.activation == "drelu" and not shape.gated:
        raise SparsityLabError(
            "dReLU without a gate does not exist", fix="Set gated: true, or activation: relu"
        )
    _refuse_heads(shape.hidden_size, shape.heads)
    if shape.heads % shape.key_value_heads:
        raise SparsityLabError(
            f"heads {shape.heads} is not a multiple of key_value_heads {shape.key_value_heads}",
            fix=f"Take key_value_heads {nearest_divisor(shape.heads, shape.key_value_heads)}",
        )


def _refuse_heads(hidden_size: int, heads: int) -> None:
    """Every head has the same even number of dimensions; what is proposed has it too."""
    if hidden_size % (2 * heads) == 0:
        return
    whole = hidden_size % heads == 0
    fitting = nearest_divisor(hidden_size // 2, heads) if hidden_size % 2 == 0 else None
    width = 2 * heads * max(1, round(hidden_size / (2 * heads)))
    raise SparsityLabError(
        f"A head of {hidden_size // heads} dimensions (hidden_size {hidden_size}, heads {heads}) cannot be rotated"
        if whole
        else f"hidden_size {hidden_size} is not a multiple of heads {heads}",
        why="Rotary embeddings turn dimensions in pairs, so the head's size must be even" if whole else "",
        fix=f"Take a hidden_size of {width}"
        if fitting is None
        else f"Take heads {fitting} (of {hidden_size // fitting} dimensions), or a hidden_size of {width}",
    )


def nearest_divisor(value: int, wanted: int) -> int:
    """The divisor of a value nearest to a wanted number, by ratio; the larger of two equally near."""
    divisors = (d for d in range(1, value + 1) if value % d == 0)
    return min(divisors, key=lambda d: (max(d / wanted, wanted / d), -d))


def hf_config(shape: ModelShape, *, eos_token_id: int | None = None) -> PretrainedConfig:
    """The transformers config of a shape: `llama` where gated, `arcee` where not, our own for dReLU."""
    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "max_position_embeddings": shape.positions,
        "hidden_act": ACTIVATIONS[shape.activation],
        "tie_word_embeddings": shape.tied_embeddings,
        "bos_token_id": None,
        "eos_token_id": eos_token_id,
    }
    return _config_class(shape)(**common)


def build_model(shape: ModelShape, *, seed: int, eos_token_id: int | None = None) -> PreTrainedModel:
    """A freshly initialized float32 model; the same seed gives the same weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(
            hf_config(shape, eos_token_id=eos_token_id), dtype=torch.float32
        )


def _config_class(shape: ModelShape) -> Any:
    from transformers import LlamaConfig

    if shape.activation == "drelu":
        from sparsity_lab.measure.architectures.drelu_llama import DreluLlamaConfig

        return DreluLlamaConfig
    if shape.gated:
        return LlamaConfig
    try:
        from transformers import ArceeConfig
    except ImportError as error:
        raise SparsityLabError(
            "This version of transformers has no LLaMA-type model without a gate",
            fix="Install transformers 4.53 or later, or set `gated: true`",
        ) from error
    return ArceeConfig
