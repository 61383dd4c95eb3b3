"""Feed-forward networks found by what passes through a model, where no file says where they are.

A few tokens pass through the model and every module tells what it took and gave (`_passing.py`). A linear map back to
the hidden size is a down projection where its input is the output s of an activation function, or s times the output u
of another linear map, or a norm of either. Names of modules are not asked. What else maps back to the hidden size must
be no feed-forward network: one that mixes positions, as attention does, is not; any other is refused by its name, so
that no network is left out in silence. What is found is proved after, as what a file says is (`model/proof.py`).

Nothing passes through a model that has no weights yet (on the device meta): there, `_by_shape` takes each module that
has an activation function and a linear map back to the hidden size for a network. Its sizes serve estimates only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._config import ACTIVATION_KEYS
from sparsity_lab.measure.architectures._passing import (
    Call,
    Passing,
    are_same,
    block_of,
    looks_ahead,
)
from sparsity_lab.measure.model.experts import expert_sites, is_experts
from sparsity_lab.measure.model.hooks import FfnSite, Sigma

USUAL = ("silu", "gelu", "gelu_pytorch_tanh", "relu", "relu2", "quick_gelu", "sigmoid")


def sites(model: Any) -> list[FfnSite]:
    """A site for every feed-forward network of a causal LM, and for every expert of its mixtures.

    Args:
        model: a transformers causal LM in evaluation mode.

    Raises:
        SparsityLabError: it looks ahead, it has no feed-forward network, or it has a module that may be one and is of
            no form that is known.
    """
    if model.device.type == "meta":
        return list(_by_shape(model))
    with torch.no_grad():
        passing = Passing.through(model)
        found = list(_found(passing))
        _refuse_others(passing, found)
        _refuse_bare_blocks(model, found)
        if found:
            _refuse_a_look_ahead(model)
    if not found:
        raise SparsityLabError(
            f"No feed-forward network is found in {type(model).__name__}",
            why="None of its linear maps takes the output of an activation function, alone or times another map's; a "
            "quantised model may have no linear maps",
            fix="Measure a checkpoint before quantisation, or describe the model in a Python file of your own and name "
            "it with --architecture-file",
        )
    return found


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map with its matrix in `weight`."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (nn.Linear, Conv1D))


def _is_transposed(module: nn.Module) -> bool:
    return not isinstance(module, nn.Linear)


def _hidden_size(model: Any) -> int:
    """D, the width between blocks."""
    config = model.config.get_text_config()
    return int(getattr(config, "hidden_size", None) or model.get_input_embeddings().weight.shape[1])


def _refuse_a_look_ahead(model: Any) -> None:
    """Refuse a model whose earlier predictions move when a later token does.

    Raises:
        SparsityLabError: they do.
    """
    if looks_ahead(model):
        raise SparsityLabError(
            f"{type(model).__name__} looks ahead: a later token changes what it predicts before it",
            why="Such a model has no next-token loss and cannot be measured",
            fix="Name a causal language model; of an encoder's weights, one that was trained as a decoder",
        )


def _found(passing: Passing) -> Iterator[FfnSite]:
    """The sites in the order in which tokens reach them."""
    layer, hidden_size = 0, _hidden_size(passing.model)
    for place, call in enumerate(passing.calls):
        networks: Sequence[FfnSite] = ()
        if is_experts(call.module):
            shaped_by = passing.shaped_before(place)
            assert shaped_by is not None
            networks = expert_sites(call.module, first=layer, name=call.name, shaped_by=shaped_by)
        elif _is_down(call, hidden_size):
            networks = tuple(_dense(passing, place, layer))
        for site in networks:
            _refuse_inner(passing.model, site)
        yield from networks
        layer += len(networks)


def _is_down(call: Call, hidden_size: int) -> bool:
    """Whether a module may be a down projection: a linear map to the hidden size within a block."""
    return is_linear(call.module) and call.given.shape[-1] == hidden_size and bool(block_of(call.name))


def _dense(passing: Passing, place: int, layer: int) -> Iterator[FfnSite]:
    """The site of a down projection, or nothing where its input is not made as a feed-forward network makes it."""
    call = passing.calls[place]
    parts = _made_of(passing.model, passing.block_before(place), call.taken)
    if parts is not None:
        is_flat = call.given.dim() == 2
        yield FfnSite(
            layer=layer,
            name=call.name.rpartition(".")[0],
            down=call.module,
            transposed=_is_transposed(call.module),
            shaped_by=passing.shaped_before(place) if is_flat else None,
            **parts,
        )


def _made_of(model: Any, earlier: Sequence[Call], a: Tensor) -> dict[str, Any] | None:
    """The parts of `FfnSite` that make a; s alone is tried before s u, for relu(x)^2 is relu(x) x as well."""
    for product, norm in _products(earlier, a):
        branches = list(_branches(model, earlier, product))
        for s, activation, sigma in branches:
            if are_same(s, product):
                return {"activation": activation, "sigma": sigma, "norm": norm, "up": None, "gated": False}
        for s, activation, sigma in branches:
            for up, is_half in _ups(earlier, s, product):
                parts = {"activation": activation, "sigma": sigma, "norm": norm}
                return {**parts, "up": up, "up_is_half": is_half, "gated": True}
    return None


def _products(earlier: Sequence[Call], a: Tensor) -> Iterator[tuple[Tensor, nn.Module | None]]:
    """What may be s u: the down projection's input, or what a module took that gave that input (a norm)."""
    yield a, None
    for call in reversed(earlier):
        gave_it = call.given.shape == a.shape == call.taken.shape and torch.equal(call.given, a)
        if gave_it and not is_linear(call.module) and not _is_elementwise(call):
            yield call.taken, call.module


def _branches(
    model: Any, earlier: Sequence[Call], product: Tensor
) -> Iterator[tuple[Tensor, nn.Module, Sigma | None]]:
    """What may be s, last first: outputs of activation functions, then known functions of linear maps' outputs."""
    for call in reversed(earlier):
        if call.given.shape == product.shape and _is_elementwise(call):
            yield call.given, call.module, None
    for call in reversed(earlier):
        halves = call.given.shape[-1] / product.shape[-1]
        if is_linear(call.module) and call.given.shape[:-1] == product.shape[:-1] and halves in (1, 2):
            for name, function in _functions(model):
                sigma = Sigma(name, function, half=halves == 2)
                yield sigma(call.given), call.module, sigma


def _functions(model: Any) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Activation functions that a model may use without a module: the one that its config names, then usual ones."""
    from transformers.activations import ACT2FN

    config = model.config.get_text_config()
    named = [getattr(config, key, None) for key in ACTIVATION_KEYS]
    for name in dict.fromkeys([*named, *USUAL]):
        if isinstance(name, str) and name in ACT2FN:
            yield name, ACT2FN[name]


def _ups(earlier: Sequence[Call], s: Tensor, product: Tensor) -> Iterator[tuple[nn.Module, bool]]:
    """The modules that give u, where s u is the product, and whether u is the second half of what they give."""
    for call in reversed(earlier):
        u, is_half = call.given, False
        if is_linear(call.module) and u.shape[-1] == 2 * product.shape[-1]:
            u, is_half = u.chunk(2, dim=-1)[1], True
        may_be = u.shape == product.shape and (is_linear(call.module) or _is_elementwise(call))
        if may_be and are_same(s * u, product):
            yield call.module, is_half


def _is_elementwise(call: Call) -> bool:
    """Whether a module is a function of each element alone, without a weight for each, as an activation function is."""
    module = call.module
    if next(module.children(), None) is not None or isinstance(module, (nn.Identity, nn.Dropout)):
        return False
    if call.taken.shape != call.given.shape or not call.taken.is_floating_point():
        return False
    if not _is_activation(module) and next(module.parameters(), None) is not None:
        return False
    taken = call.taken.float()  # in lower precision a norm may leave the others as they are
    changed = taken.clone()
    changed[..., 0] += 1.0
    try:
        return are_same(module.forward(changed)[..., 1:], module.forward(taken)[..., 1:])
    except (TypeError, RuntimeError):
        return False


def _is_activation(module: nn.Module) -> bool:
    """Whether a module is one of the activation functions of torch or transformers, which may have parameters."""
    return type(module).__module__ in ("torch.nn.modules.activation", "transformers.activations")


def _refuse_inner(model: Any, site: FfnSite) -> None:
    """Refuse a network that is part of a norm, of which it makes weights.

    Raises:
        SparsityLabError: it lies beside or within what has a weight for each element of the hidden state.
    """
    path = site.name.split(".")
    for end in range(len(block_of(site.name)) + 1, len(path)):
        holder = model.get_submodule(".".join(path[:end]))
        weights = [each for part in (holder, *holder.children()) for each in part.parameters(recurse=False)]
        if any(weight.shape == (_hidden_size(model),) for weight in weights) and not _has_experts(holder):
            raise SparsityLabError(
                f"{site.name} of {type(model).__name__} is a network within another module",
                why=f"{'.'.join(path[:end])} scales the hidden state by weights of its own and by that network, which "
                "is no feed-forward network of a block",
                fix="Describe the model in a Python file of your own and name it with --architecture-file",
            )


def _has_experts(module: nn.Module) -> bool:
    return any(map(is_experts, module.modules()))


def _refuse_others(passing: Passing, found: Sequence[FfnSite]) -> None:
    """Refuse a model that has more feed-forward networks than were found.

    Raises:
        SparsityLabError: a module maps back to the hidden size position by position, and is no site.
    """
    model, known = passing.model, {id(site.down) for site in found}
    sited = {".".join(block_of(site.name)) for site in found}
    for place, call in enumerate(passing.calls):
        parent, _, child = call.name.rpartition(".")
        if not _is_down(call, _hidden_size(model)) or id(call.module) in known:
            continue
        maps = sum(map(is_linear, model.get_submodule(parent).modules()))
        if maps < 2 or _is_of_low_rank(passing.calls[:place], call.taken) or parent not in passing.arguments:
            continue
        is_inlined = parent == ".".join(block_of(call.name)) and parent not in sited
        if is_inlined or not passing.mixes_positions(parent):
            raise SparsityLabError(
                f"{parent} of {type(model).__name__} may be a feed-forward network of an unknown form",
                why=f"Its {child} maps back to the hidden size, position by position, but its input is neither the "
                "output of an activation function nor that times the output of a linear map",
                fix="Describe the model in a Python file of your own and name it with --architecture-file",
            )


def _refuse_bare_blocks(model: Any, found: Sequence[FfnSite]) -> None:
    """Refuse a model where a network is found in one block and not in another that has modules of the same names.

    Raises:
        SparsityLabError: there is such a block.
    """
    sited = {".".join(block_of(site.name)) for site in found}
    modules = {name: tuple(part for part, _ in model.get_submodule(name).named_modules()) for name in sited}
    for blocks in {name.rpartition(".")[0] for name in sited}:
        for number, block in model.get_submodule(blocks).named_children():
            name = f"{blocks}.{number}"
            if name not in sited and tuple(part for part, _ in block.named_modules()) in modules.values():
                raise SparsityLabError(
                    f"{name} of {type(model).__name__} has modules as other blocks have, but no feed-forward network "
                    "is found in it",
                    why="Its weights may be of another form, as where a model is quantised in part",
                    fix="Describe the model in a Python file of your own and name it with --architecture-file",
                )


def _is_of_low_rank(earlier: Sequence[Call], taken: Tensor) -> bool:
    """Whether a linear map takes what another one gives: the two are one, of low rank."""
    return any(is_linear(call.module) and torch.equal(call.given, taken) for call in earlier)


def _by_shape(model: Any) -> Iterator[FfnSite]:
    """Networks by the shapes of their maps, of a model whose weights are not there."""
    layer, hidden_size = 0, _hidden_size(model)
    for name, module in model.named_modules():
        if is_experts(module):
            networks = expert_sites(module, first=layer, name=name, shaped_by=module)
            yield from networks
            layer += len(networks)
            continue
        activation = next(filter(_is_activation, module.children()), None)
        maps = [child for child in module.children() if is_linear(child)]
        downs = [each for each in maps if _sizes(each)[1] == hidden_size != _sizes(each)[0]]
        if activation is None or len(maps) < 2 or not downs or not block_of(name):
            continue
        size = _sizes(downs[-1])[0]
        ups = [each for each in maps if _sizes(each) == (hidden_size, size)]
        fused = [each for each in maps if _sizes(each) == (hidden_size, 2 * size)]
        gated = len(ups) > 1 or bool(fused)
        yield FfnSite(
            layer=layer,
            name=name,
            down=downs[-1],
            activation=activation,
            up=(ups[-1] if ups else fused[-1]) if gated else None,
            gated=gated,
            transposed=_is_transposed(downs[-1]),
            up_is_half=gated and not ups,
        )
        layer += 1


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Of a linear map, the elements that it takes and gives."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows, columns = weight.shape
    return (int(rows), int(columns)) if _is_transposed(module) else (int(columns), int(rows))
