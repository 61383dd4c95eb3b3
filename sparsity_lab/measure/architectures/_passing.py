"""What passes through the modules of a model when it reads a few tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError

BATCH, TOKENS = 2, 6
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LOW_PRECISION_TOLERANCE = 4e-3


class Call(NamedTuple):
    """A module that ran.

    Attributes:
        name: qualified name of the module.
        module: itself.
        taken: the first tensor among its arguments.
        given: its output, or the first of several.
        alone: whether it gave one tensor and nothing else.
    """

    name: str
    module: nn.Module
    taken: Tensor
    given: Tensor
    alone: bool


@dataclass
class Passing:
    """The calls of all modules of a causal LM while it reads [BATCH, TOKENS] token ids, in order.

    Attributes:
        model: the causal LM, in evaluation mode.
        calls: of its modules.
        arguments: by a module's name, the arguments of its last call and what it gave.
        predicted: what the model gave, [BATCH, TOKENS, vocabulary].
    """

    model: Any
    calls: list[Call] = field(default_factory=list)
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any], Tensor]] = field(default_factory=dict)

    predicted: Tensor | None = None

    @classmethod
    def through(cls, model: Any) -> Passing:
        """Read the tokens.

        Raises:
            SparsityLabError: the model cannot.
        """
        passing = cls(model)
        with ExitStack() as stack:
            for name, module in model.named_modules():
                if name:
                    keep = module.register_forward_hook(passing._keep(name), with_kwargs=True)
                    stack.callback(keep.remove)
            try:
                passing.predicted = logits(model, few_ids(model))
            except (RuntimeError, SparsityLabError):  # of memory, or of the library itself
                raise
            except Exception as error:  # whatever a model's own code raises
                raise SparsityLabError(
                    f"{type(model).__name__} cannot read {BATCH} times {TOKENS} tokens",
                    why=f"{type(error).__name__}: {error}"[:400],
                    fix="Measure a model that predicts the next token of token ids alone",
                ) from error
        return passing

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            taken = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
            given = output[0] if isinstance(output, (tuple, list)) and output else output
            if taken is not None and isinstance(given, Tensor):
                # Copies, for some are changed in place later.
                self.calls.append(Call(name, module, taken.clone(), given.clone(), given is output))
                self.arguments[name] = args, kwargs, given.clone()

        return hook

    def block_before(self, place: int) -> list[Call]:
        """The calls of a block up to the call at `place`; what has no weights may be shared between blocks."""
        block = block_of(self.calls[place].name)
        start = place
        while start:
            before = self.calls[start - 1]
            if block_of(before.name) != block and next(before.module.parameters(), None) is not None:
                break
            start -= 1
        return self.calls[start:place]

    def shaped_before(self, place: int) -> nn.Module | None:
        """The last module before the call at `place` that gave [batch, positions, .]."""
        for call in reversed(self.calls[:place]):
            if call.alone and call.given.dim() == 3 and call.given.shape[:2] == (BATCH, TOKENS):
                return call.module
        return None

    def mixes_positions(self, name: str) -> bool:
        """Whether a module's output at one position depends on its input at another."""
        args, kwargs, given = self.arguments[name]
        inputs = dict(enumerate(args)) | kwargs
        key = next(key for key, each in inputs.items() if isinstance(each, Tensor))
        at, to = axis_of_positions(inputs[key]), axis_of_positions(given)
        if at is None or to is None or not inputs[key].is_floating_point():
            return False
        inputs[key] = inputs[key].clone()
        inputs[key].select(at, 0).neg_().add_(1.0)
        output = self.model.get_submodule(name)(
            *(inputs[place] for place in range(len(args))), **{word: inputs[word] for word in kwargs}
        )
        output = output[0] if isinstance(output, (tuple, list)) else output
        others = given.shape[to] - 1
        return not are_same(output.narrow(to, 1, others), given.narrow(to, 1, others))


def few_ids(model: Any) -> Tensor:
    """Token ids [BATCH, TOKENS], all different where the vocabulary allows."""
    embedding = model.get_input_embeddings().weight
    count = torch.arange(1, BATCH * TOKENS + 1, device=embedding.device)
    return count.remainder(embedding.shape[0]).reshape(BATCH, TOKENS)


def logits(model: Any, ids: Tensor) -> Tensor:
    """What a causal LM predicts, [batch, positions, vocabulary]."""
    predicted: Tensor = model(input_ids=ids, use_cache=False, return_dict=True).logits
    return predicted


def looks_ahead(model: Any) -> bool:
    """Whether all predictions before the last token move when that token does.

    One that moves alone is no look ahead: rounding may send a token to another expert.
    """
    ids = few_ids(model)
    changed = ids.clone()
    changed[:, -1] = ids[:, 0]
    before, after = logits(model, ids)[:, :-1], logits(model, changed)[:, :-1]
    return least_move(before, after) > max(1e3 * tolerance_of(before), 0.05)


def least_move(before: Tensor, after: Tensor) -> float:
    """The least of the relative differences between two predictions, over positions."""
    moved = (after.double() - before.double()).norm(dim=-1) / before.double().norm(dim=-1).clamp_min(1e-30)
    return float(moved.min())


def are_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal but for rounding."""
    if one.shape != other.shape:
        return False
    difference = (one.double() - other.double()).norm()
    return bool(difference <= tolerance_of(one) * other.double().norm().clamp_min(1e-30))


def block_of(name: str) -> tuple[str, ...]:
    """The path of a module's name as far as its first number; empty where it has none."""
    path = name.split(".")
    numbers = [place for place, part in enumerate(path) if part.isdigit()]
    return tuple(path[: numbers[0] + 1]) if numbers else ()


def axis_of_positions(values: Tensor) -> int | None:
    """The axis of positions, alone or with that of the batch in it; None where there is none."""
    shape = tuple(values.shape)
    apart = (at for at in range(1, len(shape)) if shape[at - 1 : at + 1] == (BATCH, TOKENS))
    return next(apart, 0 if shape[:1] == (BATCH * TOKENS,) else None)


def tolerance_of(values: Tensor) -> float:
    """The largest relative difference that is rounding in the dtype of the values."""
    return TOLERANCE.get(values.dtype, LOW_PRECISION_TOLERANCE)
