"""Active neurons of each token of one window, by layer of the model: what a heat map shows, of every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.routes import Routes


class ActiveByToken(BatchVisitor):
    """Counts what the mask has left of each token's activations."""

    def __init__(self, layers: ModelLayers) -> None:
        self.layers, self.routes = layers, Routes(layers)
        self.counts: list[Tensor] = [torch.zeros(0)] * len(layers.sites)
        self.came: list[Tensor] = list(self.counts)

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> None:
        """Count one site."""
        self.counts[site.layer] = self.routes.spread(site, (a != 0).sum(dim=-1))[0].cpu()
        came = self.routes.came(site, batch=1)[0].cpu() if site.routed else None
        self.came[site.layer] = torch.ones_like(self.counts[site.layer]) if came is None else came.long()

    def active(self, ids: Sequence[int]) -> list[list[int]]:
        """Neurons left of each token and layer, [tokens][layers]; a BOS is left out."""
        counts: list[list[int]] = self._by_layer(self.counts, ids).tolist()
        return counts

    def sizes(self, ids: Sequence[int]) -> list[int]:
        """Neurons of each layer that a token comes to, the most there are."""
        at_hand = [
            came * site.intermediate_size for came, site in zip(self.came, self.layers.sites, strict=True)
        ]
        sizes: list[int] = self._by_layer(at_hand, ids).max(axis=0).tolist()
        return sizes

    def experts_per_token(self) -> list[int]:
        """k of each layer: experts that its routers choose for a token."""
        chosen = [0] * self.layers.count
        for index, router in enumerate(self.layers.routers):
            chosen[router.layer] += self.routes.chosen[index].shape[-1]
        return chosen

    def _by_layer(self, of_sites: Sequence[Tensor], ids: Sequence[int]) -> np.ndarray:
        return self.layers.summed(torch.stack(list(of_sites), dim=1).numpy())[-len(ids) :]
