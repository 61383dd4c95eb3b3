"""Whether a model has feed-forward networks besides its sites, in whatever form they are written.

Every product with a matrix of parameters that gives the hidden size is traced back to what it was computed from
(`_flow.py`). It ends a feed-forward network where a nonlinear function of another matrix's product comes to it and no
operation on the way lets positions see each other, as attention, convolutions and recurrences do. Those networks are
all sites, or the model is refused by the name of the module. Narrow ones, as adapters and the projections of per-layer
embeddings are, stay outside what is measured, and the certificate names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._flow import Flow, Value, functions, place_of
from sparsity_lab.measure.architectures._modules import hidden_size_of
from sparsity_lab.measure.architectures._passing import (
    Passing,
    are_same,
    axis_of_positions,
    block_of,
    few_ids,
    logits,
)
from sparsity_lab.measure.architectures._refusals import not_all_tokens
from sparsity_lab.measure.model.hooks import FfnSite

NARROW = 4  # networks of at most d / 4 neurons in a block are side paths
ADDITIONS = functions("add add_ __add__ __radd__ __iadd__ sub __sub__")
MULTIPLICATIONS = functions("mul mul_ __mul__ __rmul__ __imul__ multiply")
# Operations that give a linear function of each value they take; a norm is one but for its scale.
LINEAR = ADDITIONS | functions(
    """
    div div_ __truediv__ neg __neg__ cat concat stack hstack contiguous clone detach to float half bfloat16 double type
    type_as dropout layer_norm rms_norm group_norm batch_norm reshape view flatten unflatten transpose permute movedim
    swapaxes squeeze unsqueeze expand expand_as repeat repeat_interleave chunk split narrow unbind __getitem__
    __setitem__ select index_select gather take_along_dim index_add index_add_ index_copy_ scatter scatter_ scatter_add
    scatter_add_ copy_ sum mean where masked_fill masked_fill_ masked_scatter zero_ empty_like zeros_like new_zeros
    new_empty tile cpu cuda tensor as_tensor alias lerp __rsub__ rsub subtract fill_
    """
)
JOINS = functions("cat concat")


@dataclass
class Upstream:
    """What comes to a product.

    Attributes:
        firsts: products whose values come to it through a nonlinear function.
        widths: how many neurons there are on these ways.
        is_nonlinear: whether any way has a nonlinear function.
        is_mixed: whether positions see each other on a way.
        is_opaque: whether a way ends where nothing was seen.
    """

    firsts: list[Value] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    is_nonlinear: bool = False
    is_mixed: bool = False
    is_opaque: bool = False

    @property
    def is_network(self) -> bool:
        """Whether it is what the last matrix of a feed-forward network takes."""
        return (self.is_nonlinear or self.is_opaque) and not self.is_mixed


def side_paths(model: Any, found: Sequence[FfnSite], *, refuse: bool = True) -> dict[str, int]:
    """The feed-forward networks that are not sites, by the names of their last matrices, with their neurons.

    Numbers of blocks in a name are given as `*`.

    Args:
        model: the causal LM, in evaluation mode.
        found: its sites.
        refuse: refuse wide ones; otherwise they are in the answer too.

    Raises:
        SparsityLabError: there is a wide one, or a network of the kind of a site's that no token came to.
    """
    told, narrow = dict[str, int](), Counter[str]()
    with torch.no_grad():
        flow = Flow(model)
        with flow:
            passing = Passing.through(model)
        if refuse:
            _refuse_unreached(model, passing, found)
        for value, upstream in _networks(passing, flow, found):
            name = _name(model, value)
            width = max(upstream.widths, default=value.taken)
            block = ".".join(block_of(name))
            narrow[block] += width
            if refuse and narrow[block] * NARROW > hidden_size_of(model):
                raise _refusal(model, name, width)
            told[_starred(name)] = width
    return told


def _networks(passing: Passing, flow: Flow, found: Sequence[FfnSite]) -> Iterator[tuple[Value, Upstream]]:
    """Products that end a network outside all sites, each with what comes to it."""
    model, allowed = passing.model, _allowed(passing, found)
    for value in flow.products:
        if value.width != hidden_size_of(model) or not any(map(block_of, value.weights)):
            continue
        names = [name for name in value.weights if name in allowed]
        if names and allowed[names[0]]:
            allowed[names[0]] -= 1
            continue
        mixer = _mixer(passing, value)
        upstream = _upstream(value, None if mixer is None else flow.entered.get(mixer), hidden_size_of(model))
        if upstream.is_network and not _is_mixed(passing, value, upstream, mixer):
            yield value, upstream


def _allowed(passing: Passing, found: Sequence[FfnSite]) -> dict[str, int]:
    """How many products there are with the W_d of each site, by the names of its parameters: one for each call."""
    down = {id(site.down): site for site in found}
    by_place = Counter[Any]()
    for call in passing.calls:
        if id(call.module) in down:
            site = down[id(call.module)]
            # The products of experts are compared as a whole.
            by_place[place_of(site.down_weight())] += 10**9 if site.routed else 1
    names = passing.model.named_parameters(remove_duplicate=False)
    return {name: by_place[place_of(each)] for name, each in names if place_of(each) in by_place}


def _mixer(passing: Passing, value: Value) -> str | None:
    """The innermost module within a block that holds a product's matrix and lets positions see each other."""
    name = next(name for name in sorted(value.weights) if block_of(name))
    path = name.split(".")
    for end in range(len(path) - 1, len(block_of(name)), -1):
        holder = ".".join(path[:end])
        if holder in passing.arguments and passing.mixes_positions(holder):
            return holder
    return None


def _upstream(value: Value, entry: Value | None, hidden_size: int) -> Upstream:
    """What comes to a product, back to other products, to the residual stream and to `entry`."""
    found, seen = Upstream(), set[tuple[int, bool]]()
    open_ends = [(source, False, value.taken) for source in value.sources]
    while open_ends:
        at, curved, width = open_ends.pop()
        if (id(at), curved) in seen:
            continue
        seen.add((id(at), curved))
        if at.mixes:
            found.is_mixed = True
            continue
        if at.operation in JOINS:
            apart = [
                _upstream(Value(None, [each], taken=each.width), entry, hidden_size) for each in at.sources
            ]
            pure = [each for each in apart if each.is_network and each.firsts]
            if pure and any(each.is_mixed for each in apart):
                return pure[0]
        whole = [source for source in at.sources if source.width > 1 or at.width <= 1]
        is_residual = at.operation in ADDITIONS and at.width == hidden_size and len(whole) > 1
        if at.is_product and not curved and at.width != hidden_size:
            open_ends += [(source, False, at.taken) for source in at.sources]
            continue
        if at is entry or at.is_product or is_residual or not whole:
            found.is_nonlinear |= curved
            found.is_opaque |= at.operation is None and at is not entry
            if at.is_product and curved:
                found.firsts.append(at)
                found.widths.append(width)
            continue
        if at.operation in MULTIPLICATIONS:
            curved = curved or len(whole) > 1
        elif at.operation not in LINEAR:
            curved = True
        open_ends += [(source, curved, width) for source in whole]
    return found


def _is_mixed(passing: Passing, value: Value, upstream: Upstream, mixer: str | None) -> bool:
    """Whether what comes to a product at one position depends on what it is made of at another.

    That is on the products before it; where there are none, as with a kernel that is not seen, on its mixer's input.
    """
    firsts = {frozenset(each.weights) for each in upstream.firsts}
    if not firsts and mixer is None:
        return False
    before, after = (_taken(passing.model, value, firsts, mixer, is_moved) for is_moved in (False, True))
    return before is not None and after is not None and _others_move(before, after)


def _taken(
    model: Any, value: Value, firsts: set[frozenset[str]], mixer: str | None, is_moved: bool
) -> Tensor | None:
    """What a product takes first in a pass, with the first position of what it is made of moved or not."""
    taken: list[Tensor] = []

    def change(product: Value, data: Tensor, output: Tensor) -> Tensor | None:
        if product.weights == value.weights:
            taken.append(data.clone())
        return _moved(output) if is_moved and frozenset(product.weights) in firsts else None

    def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        inputs = dict(enumerate(args)) | kwargs
        key = next(key for key, each in inputs.items() if isinstance(each, Tensor))
        inputs[key] = _moved(inputs[key])
        return tuple(inputs[place] for place in range(len(args))), {word: inputs[word] for word in kwargs}

    with ExitStack() as stack:
        if is_moved and not firsts and mixer is not None:
            hook = model.get_submodule(mixer).register_forward_pre_hook(enter, with_kwargs=True)
            stack.callback(hook.remove)
        stack.enter_context(Flow(model, change))
        logits(model, few_ids(model))
    return taken[0] if taken else None


def _moved(values: Tensor) -> Tensor:
    """Other values at the first position."""
    at = axis_of_positions(values)
    moved = values.clone()
    if at is not None and values.is_floating_point():
        moved.select(at, 0).neg_().add_(1.0)
    return moved


def _others_move(before: Tensor, after: Tensor) -> bool:
    at = axis_of_positions(before)
    if at is None or before.shape != after.shape:
        return False
    others = before.shape[at] - 1
    return not are_same(after.narrow(at, 1, others), before.narrow(at, 1, others))


def _refuse_unreached(model: Any, passing: Passing, found: Sequence[FfnSite]) -> None:
    """Refuse a network of a site's class that did not run in a block that did: an expert that was not chosen."""
    kinds = {type(model.get_submodule(site.name)) for site in found if not site.routed} - {
        torch.nn.Sequential
    }
    ran = set(passing.arguments)
    for name, module in model.named_modules():
        block = ".".join(block_of(name))
        if type(module) in kinds and block in ran and name not in ran and name != block:
            raise not_all_tokens(model, name)


def _name(model: Any, value: Value) -> str:
    """The name of the module whose matrix it is, or of the matrix where no module is for it alone."""
    names = sorted(value.weights, key=lambda name: (name.endswith("bias"), name))
    name = next(filter(block_of, names))
    holder = name.rpartition(".")[0]
    return (
        holder if len(list(model.get_submodule(holder).children())) == 0 and name.endswith("weight") else name
    )


def _refusal(model: Any, name: str, width: int) -> SparsityLabError:
    parent, _, child = name.rpartition(".")
    return SparsityLabError(
        f"{parent} of {type(model).__name__} may be a feed-forward network of an unknown form",
        why=f"Its {child} maps {width} neurons back to the hidden size, position by position, and is part of no "
        "network that is known: its input is neither the output of an activation function nor that times the output "
        "of a linear map, or it is not a linear map's module",
        fix="Describe the model in a Python file of your own and name it with --architecture-file",
    )


def _starred(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))
