"""Feed-forward networks found by what passes through a model, where no file says where they are.

A few tokens pass through the model and every module tells what it took and gave (`_passing.py`). A linear map back to
the hidden size is a down projection where its input is the output s of an activation function, or s times the output u
of another linear map, or a norm of either. Names of modules are not asked. What else maps back to the hidden size must
be no feed-forward network: one that mixes positions, as attention does, is not; any other is refused by its name, so
that no network is left out in silence. What is found is proved after, as what a file says is (`model/proof`).

Nothing passes through a model that has no weights yet (on the device meta): there, `_modules.by_shape` takes each
module that has an activation function and a linear map back to the hidden size for a network. Its sizes serve estimates
only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._accounts import side_paths
from sparsity_lab.measure.architectures._modules import (
    by_shape,
    hidden_size_of,
    is_activation,
    is_linear,
    is_transposed,
    may_be_down,
)
from sparsity_lab.measure.architectures._passing import (
    BATCH,
    TOKENS,
    Call,
    Passing,
    are_same,
)
from sparsity_lab.measure.architectures._refusals import (
    not_all_tokens,
    refuse_a_look_ahead,
    refuse_inner,
    refuse_overflow,
    refuse_randomness,
)
from sparsity_lab.measure.architectures._sigma import functions, settled
from sparsity_lab.measure.model.experts.sites import expert_sites, is_experts
from sparsity_lab.measure.model.hooks import FfnSite, Sigma
from sparsity_lab.measure.model.proof import refuse_dtype


def sites(model: Any) -> list[FfnSite]:
    """A site for every feed-forward network of a causal LM, and for every expert of its mixtures.

    Args:
        model: a transformers causal LM in evaluation mode.

    Raises:
        SparsityLabError: it looks ahead, it has no feed-forward network, or it has a module that may be one and is of
            no form that is known.
    """
    if model.device.type == "meta":
        return list(by_shape(model))
    refuse_dtype(model)
    with torch.no_grad():
        passing = Passing.through(model)
        refuse_overflow(passing)
        refuse_randomness(passing)
        found = settled(model, list(_found(passing)))
        if found:
            refuse_a_look_ahead(model)
    if not found:
        side_paths(model, found)
        raise SparsityLabError(
            f"No feed-forward network is found in {type(model).__name__}",
            why="None of its linear maps takes the output of an activation function, alone or times another map's: so "
            "it is in models of state-space blocks alone (Mamba), and a quantised model may have no linear maps",
            fix="Measure a checkpoint before quantisation, or describe the model in a Python file of your own and name "
            "it with --architecture-file",
        )
    return found


def _found(passing: Passing) -> Iterator[FfnSite]:
    """The sites in the order in which tokens reach them."""
    layer, hidden_size = 0, hidden_size_of(passing.model)
    for place, call in enumerate(passing.calls):
        networks: Sequence[FfnSite] = ()
        if is_experts(call.module):
            shaped_by = passing.shaped_before(place)
            assert shaped_by is not None
            networks = expert_sites(call.module, first=layer, name=call.name, shaped_by=shaped_by)
        elif may_be_down(call, hidden_size):
            networks = tuple(_dense(passing, place, layer))
        for site in networks:
            refuse_inner(passing, site)
        yield from networks
        layer += len(networks)


def _dense(passing: Passing, place: int, layer: int) -> Iterator[FfnSite]:
    """The site of a down projection, or nothing where its input is not made as a feed-forward network makes it."""
    call = passing.calls[place]
    parts = _made_of(passing.model, passing.block_before(place), call.taken)
    if parts is not None:
        is_flat = call.given.dim() == 2
        if is_flat and len(call.given) != BATCH * TOKENS:
            raise not_all_tokens(passing.model, call.name.rpartition(".")[0])
        yield FfnSite(
            layer=layer,
            name=call.name.rpartition(".")[0],
            down=call.module,
            transposed=is_transposed(call.module),
            shaped_by=passing.shaped_before(place) if is_flat else None,
            **parts,
        )


def _made_of(model: Any, earlier: Sequence[Call], a: Tensor) -> dict[str, Any] | None:
    """The parts of `FfnSite` that make a; s alone is tried before s u, for relu(x)^2 is relu(x) x as well."""
    for product, norm in _products(earlier, a):
        branches = list(_branches(model, earlier, product))
        for s, activation, sigma in branches:
            if (sigma is None or sigma.up is None) and are_same(s, product):
                return {"activation": activation, "sigma": sigma, "norm": norm, "up": None, "gated": False}
        for s, activation, sigma in branches:
            for up, is_half in _ups(earlier, s, product, sigma):
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
            for function in functions(model):
                sigma = replace(function, half=halves == 2)
                yield sigma(call.given), call.module, sigma


def _ups(
    earlier: Sequence[Call], s: Tensor, product: Tensor, sigma: Sigma | None
) -> Iterator[tuple[nn.Module, bool]]:
    """The modules that give u, where s u is the product, and whether u is the second half of what they give."""
    for call in reversed(earlier):
        u, is_half = call.given, False
        if is_linear(call.module) and u.shape[-1] == 2 * product.shape[-1]:
            u, is_half = u.chunk(2, dim=-1)[1], True
        if sigma is not None and sigma.up is not None:
            u = sigma.up(u)
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
    if not is_activation(module) and next(module.parameters(), None) is not None:
        return False
    taken = call.taken.float()  # in lower precision a norm may leave the others as they are
    changed = taken.clone()
    changed[..., 0] += 1.0
    try:
        return are_same(module.forward(changed)[..., 1:], module.forward(taken)[..., 1:])
    except (TypeError, RuntimeError):
        return False
