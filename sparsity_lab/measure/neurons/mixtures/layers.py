"""Which sites are one layer of the model: of a mixture, all experts of a transformer block together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from torch import nn

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.search.counts import Ints

BLOCK = re.compile(r".*?\.\d+(?=\.|$)")  # of a qualified name: up to the number of the transformer block
ROUTED, SHARED = "routed", "shared"


@dataclass(frozen=True)
class Router:
    """The experts among which one router chooses.

    Attributes:
        module: transformers' module of all of them.
        layer: of the model, 0-based.
        sites: of the experts, in order.
    """

    module: nn.Module
    layer: int
    sites: tuple[FfnSite, ...]


@dataclass(frozen=True)
class ModelLayers:
    """The layers of a model; each site is one where there are no experts.

    Attributes:
        sites: of the model, in order.
        of_site: the layer of each site, 0-based.
        routers: of a mixture, in order; none for other models.
    """

    sites: tuple[FfnSite, ...]
    of_site: tuple[int, ...]
    routers: tuple[Router, ...]

    @classmethod
    def of(cls, sites: Sequence[FfnSite]) -> ModelLayers:
        """The layers of a model with these sites."""
        if not any(site.routed for site in sites):
            return cls(tuple(sites), tuple(range(len(sites))), ())
        blocks = [_block_of(site) for site in sites]
        of_site = np.cumsum([0, *(block != before for before, block in pairwise(blocks))])
        by_module: dict[int, list[FfnSite]] = {}
        for site in sites:
            if site.routed:
                by_module.setdefault(id(site.down), []).append(site)
        routers = [
            Router(experts[0].down, int(of_site[experts[0].layer]), tuple(experts))
            for experts in by_module.values()
        ]
        return cls(tuple(sites), tuple(of_site.tolist()), tuple(routers))

    @property
    def count(self) -> int:
        """How many there are."""
        return self.of_site[-1] + 1

    @cached_property
    def site_sizes(self) -> Ints:
        """F of each site, int64 [sites]."""
        return np.array([site.intermediate_size for site in self.sites], np.int64)

    @property
    def sizes(self) -> Ints:
        """Neurons of each layer, int64 [layers]."""
        return self.summed(self.site_sizes)

    def summed(self, values: Ints) -> Ints:
        """The sum over the sites of each layer, [..., layers], of [..., sites]."""
        return np.asarray(np.add.reduceat(values, np.flatnonzero(np.diff(self.of_site, prepend=-1)), axis=-1))

    def kinds(self) -> dict[int, str]:
        """`routed` or `shared` by index of each site that is an expert; shared ones accompany routed ones.

        An expert is shared where all tokens pass it in a block in which a router sends them to others as well.
        """
        mixed = {router.layer for router in self.routers}
        return {
            site.layer: ROUTED if site.routed else SHARED
            for site, layer in zip(self.sites, self.of_site, strict=True)
            if layer in mixed
        }


def _block_of(site: FfnSite) -> str:
    """Name of the transformer block a site lies in."""
    name = site.name.rpartition(".")[0] if site.routed else site.name
    block = BLOCK.match(name)
    return block.group() if block else name.rpartition(".")[0]
