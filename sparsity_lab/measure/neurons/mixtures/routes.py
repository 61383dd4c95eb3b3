"""Which experts each token of a pass goes to, and what an expert shows put back at the places of its tokens.

Routers are seen where they hand their choice to the module of a layer's experts, which is where `model/experts.py`
takes it from. An expert shows its tokens packed; together with the choice, each is known by its place in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import FfnSite, tokens_tapped
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers, Router

# (index of the module, experts chosen int64 [batch * positions, k], their router weights of the same shape)
SeeRoutes = Callable[[int, Tensor, Tensor], None]


@contextmanager
def routes_tapped(modules: Sequence[nn.Module], see: SeeRoutes) -> Iterator[None]:
    """Call `see` with each router's choice before its experts run, while the context lasts.

    Raises:
        SparsityLabError: in a pass, where the choice is not handed to the experts or names one twice for a token.
    """
    with ExitStack() as stack:
        for index, module in enumerate(modules):
            hook = module.register_forward_pre_hook(_before(index, see), with_kwargs=True)
            stack.callback(hook.remove)
        yield


def _before(index: int, see: SeeRoutes) -> Any:
    def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        chosen = named.get("top_k_index", inputs[1] if len(inputs) > 1 else None)
        weights = named.get("top_k_weights", inputs[2] if len(inputs) > 2 else None)
        if (
            not isinstance(chosen, Tensor)
            or not isinstance(weights, Tensor)
            or chosen.dtype != torch.int64
            or chosen.shape != weights.shape
        ):
            raise SparsityLabError(
                "The routes of this mixture of experts cannot be seen",
                why="Its experts are not given the indices of those chosen and their weights",
                fix="Measure its activation ratios, expert by expert, with `sparsity-lab measure`",
            )
        see(index, chosen, weights)

    return before


def routed_tokens(chosen: Tensor, *, experts: int) -> Tensor:
    """Which experts each token goes to, bool [..., experts], of the experts chosen, int64 [..., k].

    An index beyond the experts is none of them, as in transformers.
    """
    routed = torch.zeros(*chosen.shape[:-1], experts + 1, dtype=torch.bool, device=chosen.device)
    return routed.scatter_(-1, chosen.clamp(max=experts), True)[..., :experts]


class Routes:
    """What a mixture's routers chose in the pass at hand; of other models nothing is watched.

    Attributes:
        layers: of the model.
        chosen, weights: of each router, [batch * positions, k], from the last pass.
        present: of each routed site, bool [batch, places]: where its packing holds a token.
    """

    def __init__(self, layers: ModelLayers) -> None:
        self.layers = layers
        self.chosen: dict[int, Tensor] = {}
        self.weights: dict[int, Tensor] = {}
        self.present: dict[int, Tensor] = {}
        self._of_site = {
            site.layer: (index, expert)
            for index, router in enumerate(layers.routers)
            for expert, site in enumerate(router.sites)
        }

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Follow the routers while the context lasts."""
        if not self.layers.routers:
            yield
            return
        modules = [router.module for router in self.layers.routers]
        with routes_tapped(modules, self._note), tokens_tapped(self.layers.sites, self._note_tokens):
            yield

    def routed(self, index: int, router: Router, *, batch: int) -> Tensor:
        """Which experts of a router each token went to, bool [batch, positions, experts]."""
        return routed_tokens(self.chosen[index], experts=len(router.sites)).unflatten(0, (batch, -1))

    def came(self, site: FfnSite, *, batch: int) -> Tensor:
        """Which tokens came to a routed site, bool [batch, positions]."""
        return self._of(site).any(dim=-1).unflatten(0, (batch, -1))

    def spread(self, site: FfnSite, packed: Tensor) -> Tensor:
        """[batch, positions, ...] of what a site shows, [batch, places, ...]; zeros where a token did not come."""
        if not site.routed:
            return packed
        came = self._of(site).any(dim=-1)
        whole = packed.new_zeros(len(came), *packed.shape[2:])
        whole[came] = packed[self.present[site.layer]]
        return whole.unflatten(0, (packed.shape[0], -1))

    def weight(self, site: FfnSite) -> Tensor:
        """Router weights of a routed site's tokens, packed, [batch, places]; zero where there is no token."""
        mine = self._of(site)
        weights = (self.weights[self._of_site[site.layer][0]] * mine).sum(dim=-1)
        present = self.present[site.layer]
        packed = weights.new_zeros(present.shape)
        packed[present] = weights[mine.any(dim=-1)]
        return packed

    def _of(self, site: FfnSite) -> Tensor:
        """Which choices are a routed site's, bool [batch * positions, k]."""
        index, expert = self._of_site[site.layer]
        return self.chosen[index] == expert

    def _note(self, index: int, chosen: Tensor, weights: Tensor) -> None:
        ordered = chosen.sort(dim=-1).values
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] < len(self.layers.routers[index].sites))
        if twice.any():
            raise SparsityLabError(
                "A router of this mixture chooses an expert twice for one token",
                why="What the expert's neurons do there cannot be told token by token",
                fix="Measure its activation ratios, expert by expert, with `sparsity-lab measure`",
            )
        self.chosen[index], self.weights[index] = chosen, weights

    def _note_tokens(self, site: FfnSite, present: Tensor) -> None:
        self.present[site.layer] = present
