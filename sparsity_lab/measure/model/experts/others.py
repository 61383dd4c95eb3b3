"""Experts of the classes of transformers that compute them in a way of their own, told by what they hold."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsity_lab.measure.model.experts.layouts import FEW, Arrival, ExpertLayout, Passed, joined, repeated


def _is_stack(value: Any) -> bool:
    """Whether it holds a matrix for each expert."""
    return isinstance(value, Tensor) and value.dim() == 3


class _Gated(ExpertLayout):
    """Experts with a gate and without biases, whose class calls no implementation by name."""

    is_registered = False

    def activation(self) -> nn.Module | None:
        function = self.experts.act_fn
        return function if isinstance(function, nn.Module) else None

    def down_bias(self, expert: int) -> Tensor | None:
        return None

    def passed(self, arrival: Arrival) -> Passed:
        gate, u = self._ups(arrival).chunk(2, dim=-1)
        return joined(self._sigma(gate), u, arrival.weight)

    def _sigma(self, gate: Tensor) -> Tensor:
        s: Tensor = self.experts.act_fn(gate)
        return s

    def _ups(self, arrival: Arrival) -> Tensor:
        return functional.linear(arrival.x, self._matrix(self.experts.gate_up_proj, arrival.expert))


class SortedExperts(_Gated):
    """Llama 4's: every expert takes every token times its router weight, which is 0 for those not routed to it."""

    @staticmethod
    def fits(module: Any) -> bool:
        """See `ExpertLayout.fits`."""
        return (
            _is_stack(getattr(module, "gate_up_proj", None))
            and _is_stack(getattr(module, "down_proj", None))
            and hasattr(module, "num_experts")
            and len(inspect.signature(type(module).forward).parameters) == 2
        )

    def arrivals(self, *args: Any, **kwargs: Any) -> Iterator[Arrival]:
        """See `ExpertLayout.arrivals`."""
        rows = args[0].reshape(self.count, -1, args[0].shape[-1])
        for expert, x in enumerate(rows):
            (token,) = x.any(dim=-1).nonzero(as_tuple=True)
            yield Arrival(expert, token, expert * len(x) + token, x[token], None)

    @contextmanager
    def reaching_each(self, *args: Any) -> Iterator[tuple[Any, ...] | None]:
        """See `ExpertLayout.reaching_each`; the tokens are those that were routed to the first experts with any."""
        rows = args[0][args[0].any(dim=-1)]
        yield (repeated(rows, self.count),) if len(rows) >= FEW else None

    def _matrix(self, weight: Tensor, expert: int) -> Tensor:
        return weight[expert].T


class ExpertsAndCopies(_Gated):
    """LongCat's: experts beyond those with matrices give what they take."""

    def __init__(self, experts: Any) -> None:
        self.experts, self.count, self.gated = experts, int(experts.num_routed_experts), True

    @staticmethod
    def fits(module: Any) -> bool:
        """See `ExpertLayout.fits`."""
        return _is_stack(getattr(module, "down_proj", None)) and hasattr(module, "zero_expert_num")

    @contextmanager
    def reaching_each(self, *args: Any) -> Iterator[tuple[Any, ...] | None]:
        """See `ExpertLayout.reaching_each`; the class takes two choices or more, and the second weighs nothing."""
        with super().reaching_each(*args) as sent:
            assert sent is not None
            hidden, chosen, weights = sent
            yield hidden, chosen.repeat(1, 2), torch.cat((weights, torch.zeros_like(weights)), dim=-1)

    def start(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the experts without matrices give, float32."""
        hidden, chosen, weights = args
        copied = (weights * (chosen >= self.count)).sum(dim=-1, keepdim=True)
        return (hidden * copied).float()


class SharedExperts(_Gated):
    """Inkling's: every token comes to every expert, with a weight of its own for each."""

    def __init__(self, experts: Any) -> None:
        self.experts, self.count, self.gated = experts, int(experts.down_proj.shape[0]), True

    @staticmethod
    def fits(module: Any) -> bool:
        """See `ExpertLayout.fits`."""
        return all(_is_stack(getattr(module, name, None)) for name in ("gate_proj", "up_proj", "down_proj"))

    def arrivals(self, *args: Any, **kwargs: Any) -> Iterator[Arrival]:
        """See `ExpertLayout.arrivals`."""
        hidden = args[0].reshape(-1, args[0].shape[-1])
        weights = (args[1] if len(args) > 1 else kwargs["gammas"]).reshape(-1, self.count)
        token = torch.arange(len(hidden), device=hidden.device)
        for expert in range(self.count):
            yield Arrival(expert, token, token, hidden, weights[:, expert, None])

    @contextmanager
    def reaching_each(self, *args: Any) -> Iterator[tuple[Any, ...] | None]:
        """None: all tokens come to all of them already."""
        yield None

    def passed(self, arrival: Arrival) -> Passed:
        """See `ExpertLayout.passed`."""
        gate = functional.linear(arrival.x, self.experts.gate_proj[arrival.expert])
        u = functional.linear(arrival.x, self.experts.up_proj[arrival.expert])
        return joined(self._sigma(gate), u, arrival.weight)


class ParallelExperts(_Gated):
    """JetMoE's: a module for the first matrices of all experts, one for the second, and a bias for the layer."""

    def __init__(self, experts: Any) -> None:
        self.experts, self.gated = experts, True
        self.count = int(experts.output_linear.weight.shape[0])

    @staticmethod
    def fits(module: Any) -> bool:
        """See `ExpertLayout.fits`."""
        stacks = (getattr(module, name, None) for name in ("input_linear", "output_linear"))
        return (
            all(_is_stack(getattr(stack, "weight", None)) for stack in stacks)
            and hasattr(module, "activation")
            and hasattr(module, "router")
            and isinstance(getattr(module, "bias", None), Tensor)
        )

    def activation(self) -> nn.Module | None:
        """See `ExpertLayout.activation`."""
        function = self.experts.activation
        return function if isinstance(function, nn.Module) else None

    def down(self, expert: int) -> Tensor:
        """See `ExpertLayout.down`."""
        weight: Tensor = self.experts.output_linear.weight
        return weight[expert]

    def arrivals(self, *args: Any, **kwargs: Any) -> Iterator[Arrival]:
        """See `ExpertLayout.arrivals`."""
        hidden = args[0].reshape(-1, args[0].shape[-1])
        _, tokens, gates, sizes, _ = self.experts.router.forward(hidden)
        parts = zip(tokens.split(sizes), gates.split(sizes), strict=True)
        for expert, (token, weight) in enumerate(parts):
            token, order = token.sort()
            yield Arrival(expert, token, token, hidden[token], weight[order, None])

    @contextmanager
    def reaching_each(self, *args: Any) -> Iterator[tuple[Any, ...] | None]:
        """See `ExpertLayout.reaching_each`; the router chooses so while the context lasts."""
        hidden, router = repeated(args[0], self.count), self.experts.router
        order = torch.arange(FEW * self.count, device=hidden.device)
        weights = hidden.new_ones(len(order))
        router.forward = lambda tokens: (order, order, weights, [FEW] * self.count, None)
        try:
            yield (hidden,)
        finally:
            del router.forward

    def finish(self, total: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output of its rows, with the bias of the layer."""
        output: Tensor = super().finish(total, *args) + self.experts.bias
        return output

    def _sigma(self, gate: Tensor) -> Tensor:
        s: Tensor = self.experts.activation(gate)
        return s

    def _ups(self, arrival: Arrival) -> Tensor:
        return functional.linear(arrival.x, self.experts.input_linear.weight[arrival.expert])


class StackedExperts(_Gated):
    """DBRX's: the matrices of all experts of a layer one below the other."""

    @staticmethod
    def fits(module: Any) -> bool:
        """See `ExpertLayout.fits`."""
        stacks = (getattr(getattr(module, "mlp", None), name, None) for name in ("w1", "v1", "w2"))
        return all(isinstance(each, Tensor) for each in stacks) and hasattr(module, "num_experts")

    def activation(self) -> nn.Module | None:
        """See `ExpertLayout.activation`."""
        function = self.experts.mlp.activation_fn
        return function if isinstance(function, nn.Module) else None

    def down(self, expert: int) -> Tensor:
        """See `ExpertLayout.down`."""
        return self._part("w2", expert).T

    def passed(self, arrival: Arrival) -> Passed:
        """See `ExpertLayout.passed`."""
        gate = functional.linear(arrival.x, self._part("w1", arrival.expert))
        u = functional.linear(arrival.x, self._part("v1", arrival.expert))
        return joined(self.experts.mlp.activation_fn(gate), u, arrival.weight)

    def _part(self, name: str, expert: int) -> Tensor:
        """One expert's [F, d] of a stack [experts F, d]."""
        stack: Tensor = getattr(self.experts.mlp, name)
        return stack.view(self.count, -1, stack.shape[-1])[expert]
