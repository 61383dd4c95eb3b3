"""What modules of a model are, by their class and the shapes of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from sparsity_lab.measure.architectures._passing import Call, block_of
from sparsity_lab.measure.model.experts.sites import expert_sites, is_experts
from sparsity_lab.measure.model.hooks import FfnSite


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map with its matrix in `weight`."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (nn.Linear, Conv1D))


def is_transposed(module: nn.Module) -> bool:
    """Whether a linear map keeps its matrix as [in, out]."""
    return not isinstance(module, nn.Linear)


def hidden_size_of(model: Any) -> int:
    """D, the width between blocks."""
    config = model.config.get_text_config()
    return int(getattr(config, "hidden_size", None) or model.get_input_embeddings().weight.shape[1])


def may_be_down(call: Call, hidden_size: int) -> bool:
    """Whether a module may be a down projection: a linear map to the hidden size within a block."""
    return is_linear(call.module) and call.given.shape[-1] == hidden_size and bool(block_of(call.name))


def is_activation(module: nn.Module) -> bool:
    """Whether a module is one of the activation functions of torch or transformers, which may have parameters."""
    return type(module).__module__ in ("torch.nn.modules.activation", "transformers.activations")


def sizes_of(module: nn.Module) -> tuple[int, int]:
    """Of a linear map, the elements that it takes and gives."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows, columns = weight.shape
    return (int(rows), int(columns)) if is_transposed(module) else (int(columns), int(rows))


def by_shape(model: Any) -> Iterator[FfnSite]:
    """Networks by the shapes of their maps, of a model whose weights are not there."""
    layer, hidden_size = 0, hidden_size_of(model)
    for name, module in model.named_modules():
        if is_experts(module):
            networks = expert_sites(module, first=layer, name=name, shaped_by=module)
            yield from networks
            layer += len(networks)
            continue
        activation = next(filter(is_activation, module.children()), None)
        maps = [child for child in module.children() if is_linear(child)]
        downs = [each for each in maps if sizes_of(each)[1] == hidden_size != sizes_of(each)[0]]
        if activation is None or len(maps) < 2 or not downs or not block_of(name):
            continue
        size = sizes_of(downs[-1])[0]
        ups = [each for each in maps if sizes_of(each) == (hidden_size, size)]
        fused = [each for each in maps if sizes_of(each) == (hidden_size, 2 * size)]
        gated = len(ups) > 1 or bool(fused)
        yield FfnSite(
            layer=layer,
            name=name,
            down=downs[-1],
            activation=activation,
            up=(ups[-1] if ups else fused[-1]) if gated else None,
            gated=gated,
            transposed=is_transposed(downs[-1]),
            up_is_half=gated and not ups,
        )
        layer += 1
