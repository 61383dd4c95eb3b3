"""Experts as most of transformers' classes keep them: all of a layer in one module, computed as a chosen name says.

An expert class may make a of [g, u] in a way of its own (`_apply_gate`: clamped, u + 1 for u): a is what it gives, and
s and u are told apart by what it gives where one of the two is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW = 2  # tokens that every expert is tried on


class Passed(NamedTuple):
    """a, s and u of the tokens of an expert, [n, F] each; u is None where there is no gate."""

    a: Tensor
    s: Tensor
    u: Tensor | None


class Arrival(NamedTuple):
    """The tokens that come to one expert.

    Attributes:
        expert: its index.
        token: int64 [n], places in the flattened [batch, positions], increasing.
        row: int64 [n], rows of the layer's output that they add to.
        x: [n, d], what the expert takes.
        weight: the router's [n, 1]; None where it is in x.
    """

    expert: int
    token: Tensor
    row: Tensor
    x: Tensor
    weight: Tensor | None


class ExpertLayout:
    """What is read of a module of experts: here, of one whose computation transformers lets be chosen by name.

    Attributes:
        experts: the module.
        is_registered: whether transformers lets its computation be chosen by name.
        count: how many experts there are.
        gated: whether a = s * u.
    """

    is_registered = True

    def __init__(self, experts: Any) -> None:
        self.experts = experts
        self.count = int(experts.num_experts)
        self.gated = bool(getattr(experts, "has_gate", True))

    @staticmethod
    def fits(module: Any) -> bool:
        """Whether a module is laid out so."""
        down = getattr(module, "down_proj", None)
        return (
            isinstance(down, Tensor)
            and down.dim() == 3
            and hasattr(module, "config")
            and hasattr(module, "num_experts")
            and (hasattr(module, "_apply_gate") or hasattr(module, "act_fn"))
        )

    def activation(self) -> nn.Module | None:
        """The module of the activation function, where there is one that takes g alone."""
        function = getattr(self.experts, "act_fn", None)
        alone = not self.gated or self._is_usual()
        return function if alone and isinstance(function, nn.Module) else None

    def down(self, expert: int) -> Tensor:
        """W_d of an expert as [d, F], a view."""
        return self._matrix(self.experts.down_proj, expert)

    def down_bias(self, expert: int) -> Tensor | None:
        """b_d [d] of an expert, or None."""
        bias: Tensor | None = self.experts.down_proj_bias[expert] if self._has_bias() else None
        return bias

    def arrivals(self, *args: Any, **kwargs: Any) -> Iterator[Arrival]:
        """The tokens of each expert, of what the module is called with; every expert is among them."""
        yield from _chosen(self.count, *args)

    def start(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output's rows before any expert has added to them, float32."""
        hidden = args[0]
        return torch.zeros(hidden.reshape(-1, hidden.shape[-1]).shape, device=hidden.device)

    def finish(self, total: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output of its rows."""
        hidden: Tensor = args[0]
        return total.to(hidden.dtype).view(hidden.shape)

    @contextmanager
    def reaching_each(self, *args: Any) -> Iterator[tuple[Any, ...] | None]:
        """What to call the module with, in this context, so that the same FEW tokens come to every expert in turn.

        Expert e is alone with rows FEW e to FEW (e + 1). None where it is called with something else than tokens, the
        experts chosen and their weights.
        """
        if len(args) != 3:
            yield None
            return
        hidden, chosen, weights = args
        expert = torch.arange(self.count, device=chosen.device).repeat_interleave(FEW).unsqueeze(-1)
        yield repeated(hidden, self.count), expert, weights.abs().amax().repeat(len(expert), 1)

    def passed(self, arrival: Arrival) -> Passed:
        """What passes in an expert, the router's weight in u, or in s where there is no gate."""
        experts, weight = self.experts, arrival.weight
        assert weight is not None
        output = self._ups(arrival)
        if not self.gated:
            s = experts.act_fn(output)
            a = (s * weight).to(s.dtype)
            return Passed(a, a, None)
        if self._is_usual():
            gate, u = output.chunk(2, dim=-1)
            return joined(experts.act_fn(gate), u, weight)
        s, u = self._apart(output)
        a = experts._apply_gate(output)  # as the model makes it: s times u has their rounding too
        return Passed((a * weight).to(a.dtype), s, (u * weight).to(u.dtype))

    def _ups(self, arrival: Arrival) -> Tensor:
        """[g, u] of the tokens, or g where there is no gate."""
        experts, expert = self.experts, arrival.expert
        matrix = self._matrix(experts.gate_up_proj if self.gated else experts.up_proj, expert)
        bias = None
        if self._has_bias():
            bias = (experts.gate_up_proj_bias if self.gated else experts.up_proj_bias)[expert]
        return functional.linear(arrival.x, matrix, bias)

    def _apart(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """s and u where the class of the experts makes a = s(g) u(up) in a way of its own.

        What it makes of up = 0 tells whether u is 0 there: then u is 1 at up = 1, otherwise, as in (up + 1), at up = 0.
        """
        gate, up = self._halves(output)
        reference = torch.ones_like(up)
        at = 0.0 if self._gate_of(reference, torch.zeros_like(up)).any() else 1.0
        s = self._gate_of(gate, torch.full_like(up, at))
        u = self._gate_of(reference, up) / self._gate_of(reference, torch.full_like(up, at))
        return s, u

    def _halves(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """g and up of [n, 2 F], side by side or in turns."""
        if getattr(self.experts, "is_concatenated", True):
            gate, up = output.chunk(2, dim=-1)
            return gate, up
        return output[..., ::2], output[..., 1::2]

    def _gate_of(self, gate: Tensor, up: Tensor) -> Tensor:
        """a of g and up."""
        both = (
            torch.cat((gate, up), dim=-1)
            if getattr(self.experts, "is_concatenated", True)
            else torch.stack((gate, up), dim=-1).flatten(-2)
        )
        a: Tensor = self.experts._apply_gate(both)
        return a

    def _is_usual(self) -> bool:
        """Whether a = act_fn(g) u of the two halves."""
        from transformers.integrations import moe

        return (
            getattr(type(self.experts), "_apply_gate", None) is getattr(moe, "_default_apply_gate", None)
            and getattr(self.experts, "is_concatenated", True)
            and hasattr(self.experts, "act_fn")
        )

    def _has_bias(self) -> bool:
        return bool(getattr(self.experts, "has_bias", False))

    def _matrix(self, weight: Tensor, expert: int) -> Tensor:
        """One expert's matrix as [out, in]."""
        return weight[expert].T if getattr(self.experts, "is_transposed", False) else weight[expert]


def joined(s: Tensor, u: Tensor, weight: Tensor | None) -> Passed:
    """a, s and u of a gated expert, the router's weight in u."""
    u = u if weight is None else (u * weight).to(u.dtype)
    return Passed(s * u, s, u)


def repeated(hidden: Tensor, count: int) -> Tensor:
    """The first FEW tokens of [.., d], so many times: [count FEW, d], or [1, count FEW, d] of [batch, positions, d]."""
    rows = hidden.reshape(-1, hidden.shape[-1])[:FEW].repeat(count, 1)
    return rows if hidden.dim() == 2 else rows.unsqueeze(0)


def _chosen(count: int, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Iterator[Arrival]:
    """Of tokens [n, d], the experts chosen and their weights [n, k]."""
    rows = hidden.reshape(-1, hidden.shape[-1])
    for expert in range(count):
        token, rank = (chosen == expert).nonzero(as_tuple=True)
        yield Arrival(expert, token, token, rows[token], weights[token, rank].unsqueeze(-1))
