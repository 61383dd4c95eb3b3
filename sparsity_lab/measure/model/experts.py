"""Experts of a mixture as feed-forward sites: each expert is one, seen over the tokens routed to it.

Expert e with router weight r gives r W_d (s * u). The weight goes to u here, u' = r u, so that a = s * u' and
y = W_d a hold as at any site, a neuron's output has the weight in it, and the layer's output is the sum of y
over experts. transformers keeps all experts of a layer in one module and lets its computation be chosen by
name; while a site is watched that name is ours, and the model's own choice is put back afterwards.

Experts without a gate have a = r s, and it is r s that is seen as s. Where a down projection has a bias, y is W_d a
without it, and the layer adds r b_d. An expert class may make a of [g, u] in a way of its own (`_apply_gate`: clamped,
u + 1 for u): a is what it gives, and s and u are told apart by what it gives where one of the two is held.

Tokens routed to one expert are packed: [batch, 1 + most, F], the first position of a window at place 0 where
it came here, the others behind it in order, zero rows in the places left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
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
        return _matrix(self.down, weight, self.expert)

    def down_bias(self) -> Tensor | None:
        """None: y is seen without it."""
        return None

    def watch(self, visitor: Visitor, *, outputs: bool) -> Iterator[SiteWatch]:
        """Call the visitor at every pass, whether or not a token is routed here."""
        yield from _watch(self, visitor=visitor, outputs=outputs)

    def watch_up(self, see: See) -> Iterator[SiteWatch]:
        """Call `see` with u', packed, the router weight in it."""
        if self.gated:
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
        SparsityLabError: experts of a form that cannot be watched.
    """
    _refuse_other_forms(experts, name=name)
    gated = getattr(experts, "has_gate", True)
    return [
        ExpertSite(
            layer=first + expert,
            name=f"{name}.{expert}",
            down=experts,
            activation=_activation(experts),
            up=experts if gated else None,
            gated=gated,
            shaped_by=shaped_by,
            expert=expert,
        )
        for expert in range(experts.num_experts)
    ]


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds the weights of all experts of a layer."""
    down = getattr(module, "down_proj", None)
    return isinstance(down, Tensor) and down.dim() == 3


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
        passed = _passed(experts, expert, x=x, weight=weight)
        y = _expert(experts, expert, passed, packing=packing, watchers=layer.watchers.get(expert, []))
        if _has_bias(experts):
            y = y + weight * experts.down_proj_bias[expert]
        total.index_add_(0, token, y.float())
    return total.to(hidden.dtype)


class _Passed(NamedTuple):
    """a, s and u of the tokens of an expert, [n, F] each; u is None where there is no gate."""

    a: Tensor
    s: Tensor
    u: Tensor | None


def _passed(experts: Any, expert: int, *, x: Tensor, weight: Tensor) -> _Passed:
    """What passes in an expert for x [n, d], the router weight [n, 1] in u, or in s where there is no gate."""
    gated = getattr(experts, "has_gate", True)
    matrix = _matrix(experts, experts.gate_up_proj if gated else experts.up_proj, expert)
    bias = None
    if _has_bias(experts):
        bias = (experts.gate_up_proj_bias if gated else experts.up_proj_bias)[expert]
    output = functional.linear(x, matrix, bias)
    if not gated:
        s = experts.act_fn(output)
        a = (s * weight).to(s.dtype)
        return _Passed(a, a, None)
    if _is_usual(experts):
        gate, u = output.chunk(2, dim=-1)
        s, u = experts.act_fn(gate), (u * weight).to(u.dtype)
        return _Passed(s * u, s, u)
    s, u = _own_branches(experts, output)
    a = experts._apply_gate(output)  # as the model makes it: s times u has their rounding too
    return _Passed((a * weight).to(a.dtype), s, (u * weight).to(u.dtype))


def _own_branches(experts: Any, output: Tensor) -> tuple[Tensor, Tensor]:
    """s and u where the class of the experts makes a = s(g) u(up) in a way of its own.

    What it makes of up = 0 tells whether u is 0 there: then u is 1 at up = 1, otherwise, as in (up + 1), at up = 0.
    """
    gate, up = _halves(experts, output)
    reference = torch.ones_like(up)
    at = 0.0 if _joined(experts, reference, torch.zeros_like(up)).any() else 1.0
    s = _joined(experts, gate, torch.full_like(up, at))
    u = _joined(experts, reference, up) / _joined(experts, reference, torch.full_like(up, at))
    return s, u


def _halves(experts: Any, output: Tensor) -> tuple[Tensor, Tensor]:
    """g and up of [n, 2 F], side by side or in turns."""
    if getattr(experts, "is_concatenated", True):
        gate, up = output.chunk(2, dim=-1)
        return gate, up
    return output[..., ::2], output[..., 1::2]


def _joined(experts: Any, gate: Tensor, up: Tensor) -> Tensor:
    """a of g and up."""
    both = (
        torch.cat((gate, up), dim=-1)
        if getattr(experts, "is_concatenated", True)
        else torch.stack((gate, up), dim=-1).flatten(-2)
    )
    a: Tensor = experts._apply_gate(both)
    return a


def _is_usual(experts: Any) -> bool:
    """Whether a = act_fn(g) u of the two halves."""
    from transformers.integrations import moe

    return (
        getattr(type(experts), "_apply_gate", None) is getattr(moe, "_default_apply_gate", None)
        and getattr(experts, "is_concatenated", True)
        and hasattr(experts, "act_fn")
    )


def _activation(experts: Any) -> nn.Module | None:
    """The module of the activation function, where there is one that takes g alone."""
    function = getattr(experts, "act_fn", None)
    alone = not getattr(experts, "has_gate", True) or _is_usual(experts)
    return function if alone and isinstance(function, nn.Module) else None


def _has_bias(experts: Any) -> bool:
    return bool(getattr(experts, "has_bias", False))


def _matrix(experts: Any, weight: Tensor, expert: int) -> Tensor:
    """One expert's matrix as [out, in]."""
    return weight[expert].T if getattr(experts, "is_transposed", False) else weight[expert]


def _expert(
    experts: Any, expert: int, passed: _Passed, *, packing: _Packing, watchers: list[_Watcher]
) -> Tensor:
    a, s, u = passed
    for watcher in watchers:
        if watcher.tokens is not None:
            watcher.tokens(watcher.site, packing.present)
    for watcher in watchers:
        if watcher.up is not None and u is not None:
            watcher.up(watcher.site, packing.pack(u))
    for watcher in watchers:
        if watcher.visitor is not None:
            changed = watcher.visitor.visit(watcher.site, packing.pack(a), packing.pack(s))
            a = a if changed is None else packing.unpack(changed)
    y = functional.linear(a, _matrix(experts, experts.down_proj, expert))
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
        "computed in a way of their own": not hasattr(experts, "config")
        or not hasattr(experts, "num_experts"),
        "without an activation function of a known form": not (
            hasattr(experts, "_apply_gate") or hasattr(experts, "act_fn")
        ),
        "with a norm of their own": getattr(experts, "has_post_expert_norm", False),
        "spread over processes": getattr(experts, "_is_expert_parallel", False),
        "in modules of their own": not isinstance(getattr(experts, "down_proj", None), Tensor),
    }
    for word, is_odd in odd.items():
        if is_odd:
            raise SparsityLabError(
                f"The experts of {name} are {word}, a form that cannot be watched",
                fix="Measure a model whose experts are all in one module, which transformers lets be watched",
            )
