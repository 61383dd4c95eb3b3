"""Experts of a mixture as feed-forward sites: each expert is one, seen over the tokens routed to it.

Expert e with router weight r gives r W_d (s * u). The weight goes to u here, u' = r u, so that a = s * u' and
y = W_d a hold as at any site, a neuron's output has the weight in it, and the layer's output is the sum of y
over experts. transformers keeps all experts of a layer in one module and lets its computation be chosen by
name; while a site is watched that name is ours, and the model's own choice is put back afterwards.

Tokens routed to one expert are packed: [batch, 1 + most, F], the first position of a window at place 0 where
it came here, the others behind it in order, zero rows in the places left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import FfnSite, Positions, SiteWatch, Visitor

IMPLEMENTATION = "sparsity_lab_tapped"
See = Callable[[FfnSite, Tensor], None]


@dataclass(frozen=True)
class ExpertSite(FfnSite):
    """One expert of a layer.

    Attributes:
        expert: its index in `down`, the module of all the layer's experts, which is `up` as well.
    """

    expert: int = 0

    @property
    def routed(self) -> bool:
        """Only the tokens whose router chose this expert come here."""
        return True

    def down_weight(self) -> Tensor:
        """W_d of this expert as [d, F]."""
        weight: Any = self.down.down_proj
        return weight[self.expert]

    def down_bias(self) -> Tensor | None:
        """None: experts with biases are refused."""
        return None

    def watch(self, visitor: Visitor, *, outputs: bool) -> Iterator[SiteWatch]:
        """Call the visitor at every pass, whether or not a token is routed here."""
        yield from _watch(self, visitor=visitor, outputs=outputs)

    def watch_up(self, see: See) -> Iterator[SiteWatch]:
        """Call `see` with u', packed, the router weight in it."""
        yield from _watch(self, up=see)

    def watch_tokens(self, see: See) -> Iterator[SiteWatch]:
        """Call `see` with which places of the packing hold a token."""
        yield from _watch(self, tokens=see)


def expert_sites(experts: Any, *, first: int, name: str, shaped_by: nn.Module) -> list[FfnSite]:
    """A site for each expert of one layer.

    Args:
        experts: transformers' module of all experts of the layer.
        first: layer number of the first of them among the model's sites.
        name: qualified name of `experts`.
        shaped_by: as in `FfnSite`.

    Raises:
        SparsityLabError: experts of another form than [gate; up] and down without biases.
    """
    _refuse_other_forms(experts, name=name)
    return [
        ExpertSite(
            layer=first + expert,
            name=f"{name}.{expert}",
            down=experts,
            activation=experts.act_fn,
            up=experts,
            gated=True,
            shaped_by=shaped_by,
            expert=expert,
        )
        for expert in range(experts.num_experts)
    ]


@dataclass(eq=False)
class _Watcher:
    """What one caller wants to see of one expert."""

    site: ExpertSite
    visitor: Visitor | None = None
    outputs: bool = False
    up: See | None = None
    tokens: See | None = None

    def remove(self) -> None:
        """Stop; the last one of a layer gives the model its own implementation back."""
        layer = _LAYERS[self.site.down]
        layer.watchers[self.site.expert].remove(self)
        if not any(layer.watchers.values()):
            for handle in layer.shape_hooks:
                handle.remove()
            del _LAYERS[self.site.down]
            _give_back(self.site.down)


@dataclass
class _ExpertLayer:
    positions: Positions
    watchers: dict[int, list[_Watcher]] = field(default_factory=dict)
    shape_hooks: list[SiteWatch] = field(default_factory=list)


_LAYERS: WeakKeyDictionary[nn.Module, _ExpertLayer] = WeakKeyDictionary()


def _watch(site: ExpertSite, **wanted: Any) -> Iterator[SiteWatch]:
    layer = _LAYERS.get(site.down)
    if layer is None:
        layer = _LAYERS[site.down] = _ExpertLayer(Positions(site))
        layer.shape_hooks.extend(layer.positions.hooks())
        _take_over(site.down)
    watcher = _Watcher(site, **wanted)
    layer.watchers.setdefault(site.expert, []).append(watcher)
    yield watcher


# The layers of a model share one config, so each module remembers what the model's own choice was.
_OWN: dict[int, tuple[str | None, int]] = {}


def _take_over(experts: Any) -> None:
    _register()
    config = experts.config
    own, users = _OWN.get(id(config), (config._experts_implementation, 0))
    _OWN[id(config)] = (own, users + 1)
    config._experts_implementation = IMPLEMENTATION


def _give_back(experts: Any) -> None:
    config = experts.config
    own, users = _OWN.pop(id(config))
    if users > 1:
        _OWN[id(config)] = (own, users - 1)
    else:
        config._experts_implementation = own


def own_output(experts: Any, *inputs: Tensor) -> Tensor:
    """What the model's own implementation of the experts gives, with no one watching; calls no hook."""
    config = experts.config
    config._experts_implementation = _OWN[id(config)][0]
    try:
        output: Tensor = experts.forward(*inputs)
        return output
    finally:
        config._experts_implementation = IMPLEMENTATION


def _register() -> None:
    try:
        from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
    except ImportError as error:
        raise SparsityLabError(
            "This version of transformers does not let experts be watched", fix="Install transformers 5"
        ) from error
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _tapped_forward)


def _tapped_forward(experts: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """The layer's output [tokens, d] of its input, the experts chosen and the router weights [tokens, k]."""
    layer = _LAYERS.get(experts)
    if layer is None:  # a module of the same config that nobody watches
        return own_output(experts, hidden, chosen, weights)
    shape = layer.positions.shape
    assert shape is not None, "shaped_by runs before the experts"
    total = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
    for expert in range(experts.num_experts):
        token, rank = (chosen == expert).nonzero(as_tuple=True)
        packing = _Packing.of(token, shape)
        x, weight = hidden[token], weights[token, rank].unsqueeze(-1)
        gate, u = functional.linear(x, experts.gate_up_proj[expert]).chunk(2, dim=-1)
        s, u = experts.act_fn(gate), (u * weight).to(u.dtype)
        y = _expert(experts, expert, s=s, u=u, packing=packing, watchers=layer.watchers.get(expert, []))
        total.index_add_(0, token, y.float())
    return total.to(hidden.dtype)


def _expert(
    experts: Any, expert: int, *, s: Tensor, u: Tensor, packing: _Packing, watchers: list[_Watcher]
) -> Tensor:
    a = s * u
    for watcher in watchers:
        if watcher.tokens is not None:
            watcher.tokens(watcher.site, packing.present)
    for watcher in watchers:
        if watcher.up is not None:
            watcher.up(watcher.site, packing.pack(u))
    for watcher in watchers:
        if watcher.visitor is not None:
            changed = watcher.visitor.visit(watcher.site, packing.pack(a), packing.pack(s))
            a = a if changed is None else packing.unpack(changed)
    y = functional.linear(a, experts.down_proj[expert])
    for watcher in watchers:
        if watcher.visitor is not None and watcher.outputs:
            watcher.visitor.visit_output(watcher.site, packing.pack(a), packing.pack(y))
    return y


@dataclass(frozen=True)
class _Packing:
    """Where the tokens of one expert stand among [batch, places].

    Attributes:
        window, place: int64 [tokens].
        present: bool [batch, places], True where there is a token.
    """

    window: Tensor
    place: Tensor
    present: Tensor

    @classmethod
    def of(cls, token: Tensor, shape: tuple[int, int]) -> _Packing:
        """For tokens at these places of the flattened [batch, positions], in increasing order."""
        batch, positions = shape
        window, place = token // positions, token % positions
        later = place > 0
        count = torch.bincount(window[later], minlength=batch)
        before = count.cumsum(0) - count
        place = torch.where(later, later.cumsum(0) - before[window], 0)
        most = max(1, int(count.amax()))  # a place to spare, so that no view of it without a BOS is empty
        present = torch.zeros(batch, 1 + most, dtype=torch.bool, device=token.device)
        present[window, place] = True
        return cls(window, place, present)

    def pack(self, rows: Tensor) -> Tensor:
        """[batch, places, n] of [tokens, n]."""
        packed = rows.new_zeros(*self.present.shape, rows.shape[-1])
        packed[self.window, self.place] = rows
        return packed

    def unpack(self, packed: Tensor) -> Tensor:
        """[tokens, n] of [batch, places, n]."""
        return packed[self.window, self.place]


def _refuse_other_forms(experts: Any, *, name: str) -> None:
    odd = {
        "without a gate": not getattr(experts, "has_gate", True),
        "with biases": getattr(experts, "has_bias", False),
        "stored transposed": getattr(experts, "is_transposed", False),
        "with gate and up interleaved": not getattr(experts, "is_concatenated", True),
        "with a norm of their own": getattr(experts, "has_post_expert_norm", False),
        "spread over processes": getattr(experts, "_is_expert_parallel", False),
        "in modules of their own": not isinstance(getattr(experts, "down_proj", None), Tensor),
    }
    for word, is_odd in odd.items():
        if is_odd:
            raise SparsityLabError(
                f"The experts of {name} are {word}, a form that cannot be watched",
                fix="Measure a model whose experts are gated, without biases and all in one module",
            )
