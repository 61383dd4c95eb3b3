"""Takes the computation of a layer's experts over while anyone watches one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn import functional

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.experts.layouts import Arrival, ExpertLayout
from sparsity_lab.measure.model.experts.packing import TokenPacking
from sparsity_lab.measure.model.hooks import FfnSite, Positions, SiteWatch, Visitor

IMPLEMENTATION = "sparsity_lab_tapped"
See = Callable[[FfnSite, Tensor], None]


@dataclass(eq=False)
class _Watcher:
    """What one caller wants to see of one expert."""

    site: FfnSite
    expert: int
    visitor: Visitor | None = None
    outputs: bool = False
    up: See | None = None
    tokens: See | None = None

    def remove(self) -> None:
        """Stop; the last one of a layer gives the model its own computation back."""
        layer = _LAYERS[self.site.down]
        layer.watchers[self.expert].remove(self)
        if not any(layer.watchers.values()):
            del _LAYERS[self.site.down]
            for handle in layer.hooks:
                handle.remove()
            if layer.layout.is_registered:
                _give_back(self.site.down)


@dataclass
class _ExpertLayer:
    """A layer that is watched.

    Attributes:
        layout: of its experts.
        positions: of its tokens.
        watchers: by expert.
        hooks: what is removed at the end.
        own: what the module itself gave last, where its output is replaced.
    """

    layout: ExpertLayout
    positions: Positions
    watchers: dict[int, list[_Watcher]] = field(default_factory=dict)
    hooks: list[SiteWatch] = field(default_factory=list)
    own: Tensor | None = None

    def output(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """What the layer gives with its watchers in place."""
        layout, shape = self.layout, self.positions.shape
        assert shape is not None, "shaped_by runs before the experts"
        total = layout.start(*args, **kwargs)
        for arrival in layout.arrivals(*args, **kwargs):
            packing = TokenPacking.of(arrival.token, shape)
            y = self._expert(arrival, packing)
            bias = layout.down_bias(arrival.expert)
            if bias is not None and arrival.weight is not None:
                y = y + arrival.weight * bias
            total.index_add_(0, arrival.row, y.float())
        return layout.finish(total, *args, **kwargs)

    def _expert(self, arrival: Arrival, packing: TokenPacking) -> Tensor:
        a, s, u = self.layout.passed(arrival)
        watchers = self.watchers.get(arrival.expert, [])
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
        y = functional.linear(a, self.layout.down(arrival.expert))
        for watcher in watchers:
            if watcher.visitor is not None and watcher.outputs:
                watcher.visitor.visit_output(watcher.site, packing.pack(a), packing.pack(y))
        return y

    def replace(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor:
        """A hook that gives this output for the module's own."""
        self.own = output
        return self.output(args, kwargs)


_LAYERS: WeakKeyDictionary[nn.Module, _ExpertLayer] = WeakKeyDictionary()


def watch(site: FfnSite, *, expert: int, layout: ExpertLayout, **wanted: Any) -> Iterator[SiteWatch]:
    """Watch one expert; the layer's computation is taken over with the first one.

    Args:
        site: of the expert; its `down` is the module of all the layer's experts.
        expert: its index there.
        layout: how the layer's experts are kept.
        wanted: what the caller wants to see of it; see `_Watcher`.
    """
    layer = _LAYERS.get(site.down)
    if layer is None:
        layer = _LAYERS[site.down] = _ExpertLayer(layout, Positions(site))
        layer.hooks.extend(layer.positions.hooks())
        if layer.layout.is_registered:
            _take_over(site.down)
        else:
            layer.hooks.append(site.down.register_forward_hook(layer.replace, with_kwargs=True))
    watcher = _Watcher(site, expert, **wanted)
    layer.watchers.setdefault(expert, []).append(watcher)
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
    """What the model's own computation of watched experts gives, with no one watching; calls no hook."""
    layer = _LAYERS.get(experts)
    if layer is not None and layer.own is not None:
        return layer.own
    config = experts.config
    config._experts_implementation = _OWN[id(config)][0]
    try:
        output: Tensor = experts.forward(*inputs)
        return output
    finally:
        config._experts_implementation = IMPLEMENTATION


def tried(experts: Any, *inputs: Tensor) -> tuple[Tensor, Tensor] | None:
    """What watched experts give, and what the model's own computation does, where a few tokens come to every expert.

    Their watchers see these tokens as well. No hook is called.

    Args:
        experts: the module of all experts of a layer.
        inputs: what it was called with.

    Returns:
        [experts, tokens, d] twice, or None where the tokens cannot be sent.
    """
    layer = _LAYERS[experts]
    layout, shape = layer.layout, layer.positions.shape
    with layout.reaching_each(*inputs) as args:
        if args is None:
            return None
        layer.positions.shape = 1, args[0].shape[-2]
        try:
            ours = layer.output(args, {})
        finally:
            layer.positions.shape = shape
        own = own_output(experts, *args) if layout.is_registered else experts.forward(*args)
    apart = (layout.count, -1, ours.shape[-1])
    return ours.reshape(apart), own.reshape(apart)


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
    return layer.output((hidden, chosen, weights), {})
