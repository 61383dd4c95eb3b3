"""Models whose feed-forward networks cannot be found as a whole: each refused by the name of its module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._modules import hidden_size_of, is_linear
from sparsity_lab.measure.architectures._passing import (
    Passing,
    are_same,
    block_of,
    few_ids,
    least_move,
    logits,
    looks_ahead,
    tolerance_of,
)
from sparsity_lab.measure.model.experts.sites import is_experts
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.proof import overflow


def refuse_a_look_ahead(model: Any) -> None:
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


def refuse_randomness(passing: Passing) -> None:
    """Refuse a model that gives other numbers for the same tokens.

    Raises:
        SparsityLabError: it does; the first module that gave something else for what it took before is named.
    """
    again = logits(passing.model, few_ids(passing.model))
    before = passing.predicted
    if before is None or not least_move(before, again) > 10 * tolerance_of(
        before
    ):  # one token may change experts
        return
    pairs = zip(passing.calls, Passing.through(passing.model).calls, strict=False)
    moved = (
        one
        for one, other in pairs
        if are_same(one.taken, other.taken) and not are_same(one.given, other.given)
    )
    named = next(moved, None)
    where = "" if named is None else f": {named.name} is the first module of which that is so"
    raise SparsityLabError(
        f"{type(passing.model).__name__} gives other numbers for the same tokens{where}",
        why="There is randomness in its evaluation, as where dropout is active",
        fix="Switch it off, or measure a model that is computed alike each time",
    )


def refuse_overflow(passing: Passing) -> None:
    """Refuse a model in which a linear map gives what is not finite.

    Raises:
        SparsityLabError: one does.
    """
    for call in passing.calls:
        if is_linear(call.module) and block_of(call.name) and not call.given.isfinite().all():
            raise overflow(
                type(passing.model).__name__, call.given.dtype, f"What {call.name} gives is not finite"
            )


def refuse_inner(passing: Passing, site: FfnSite) -> None:
    """Refuse a network that is part of a norm, of which it makes weights.

    Raises:
        SparsityLabError: it lies parallel to or within a module that has a weight for each element of the hidden state,
            and that gives something other than the network does, alone or added to what came in.
    """
    path, model = site.name.split("."), passing.model
    for end in range(len(block_of(site.name)) + 1, len(path)):
        holder = model.get_submodule(".".join(path[:end]))
        weights = [each for part in (holder, *holder.children()) for each in part.parameters(recurse=False)]
        has_weights = any(weight.shape == (hidden_size_of(model),) for weight in weights)
        if (
            has_weights
            and not _has_experts(holder)
            and not _passes_on(passing, ".".join(path[:end]), site.name)
        ):
            raise SparsityLabError(
                f"{site.name} of {type(model).__name__} is a network within another module",
                why=f"{'.'.join(path[:end])} scales the hidden state by weights of its own and by that network, which "
                "is not the feed-forward network of a block",
                fix="Describe the model in a Python file of your own and name it with --architecture-file",
            )


def _passes_on(passing: Passing, holder: str, network: str) -> bool:
    """Whether a module gives what a network within it gives, alone or added to what the module takes."""
    calls = {call.name: call for call in passing.calls}
    outer, inner = calls.get(holder), calls.get(network)
    if outer is None or inner is None or outer.taken.shape != inner.given.shape:
        return False
    return any(are_same(outer.given, given) for given in (inner.given, outer.taken + inner.given))


def _has_experts(module: nn.Module) -> bool:
    return any(map(is_experts, module.modules()))


def not_all_tokens(model: Any, name: str) -> SparsityLabError:
    """The error for a network that not all tokens come to."""
    return SparsityLabError(
        f"{name} of {type(model).__name__} is a feed-forward network that not all tokens come to",
        why="It may be an expert in a module of its own, a form that cannot be watched",
        fix="Measure a model whose experts are all in one module, which transformers lets be watched",
    )


def refuse_bare_blocks(model: Any, found: Sequence[FfnSite]) -> None:
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
