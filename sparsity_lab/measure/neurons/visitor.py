"""The pass that masks weak neurons and counts what the others do; windows do not see each other.

State between tokens lives within one batch and one layer: the mask passes by once, is packed into words, and leaves
sums. What is counted is the sparse run itself, by the same mask, bit for bit, as `measure` applies. Of a mixture the
masks of a layer's experts are put at the places of their tokens in the text, so that its experts make one wide layer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons import lanes
from sparsity_lab.measure.neurons.counts import NeuronCounts, groups_of, levels_of
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.routes import Routes
from sparsity_lab.measure.neurons.mixtures.visitor import ExpertCounter
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration


class NeuronVisitor(SparseVisitor):
    """Masks activations and counts the kept ones by neuron, token id, position, pair and chunk of tokens."""

    def __init__(self, subject: Subject, calibration: Calibration) -> None:
        super().__init__(subject.sites, calibration)
        self.subject = subject
        windows = subject.windows
        self.model_layers = ModelLayers.of(subject.sites)
        self.routes = Routes(self.model_layers)
        self.groups = int(groups_of(subject.all_rows, windows=windows.count)[-1]) + 1
        self.levels = levels_of(windows.window)
        self.vocabulary = int(subject.model.get_input_embeddings().weight.shape[0])
        self.layers = [_LayerCounts(self, layer) for layer in range(self.model_layers.count)]
        self.starts = _starts(self.model_layers)
        self.experts: ExpertCounter | None = None
        if self.model_layers.routers:
            self.experts = ExpertCounter(
                subject, self.model_layers, self.routes, groups=self.groups, levels=self.levels
            )
        self.windows = np.zeros(self.groups, np.int64)
        self.token_windows = torch.zeros(self.vocabulary, dtype=torch.int64)
        self.token_count = torch.zeros(self.vocabulary, dtype=torch.int64)
        self.token_squares = torch.zeros(3, self.vocabulary, dtype=torch.float64)
        self.position_square = torch.zeros(windows.window, dtype=torch.float64)
        self.per_token: list[Tensor] = []
        self.group = self.ids = torch.zeros(0, dtype=torch.int64)

    def begin(self, rows: Ints) -> None:
        """Note which groups and token ids are about to pass."""
        of = groups_of(rows, windows=self.subject.windows.count)
        np.add.at(self.windows, of, 1)
        self.group, self.ids = torch.from_numpy(of), self.subject.windows.ids[torch.from_numpy(rows)]
        self.per_token = []

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        """Count the kept neurons of one site."""
        packed = self.subject.valid(self.routes.spread(site, lanes.words(keep)))
        layer = self.layers[self.model_layers.of_site[site.layer]]
        self.per_token.append(
            layer.add(packed, self.group, self.ids, site=site, start=self.starts[site.layer])
        )
        if self.experts is not None:
            self.experts.active(site, packed, self.group.numpy())
            self.experts.scores(site, a)

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """See the output of a mixture's site."""
        if self.experts is not None:
            self.experts.output(site, y)

    def end(self, rows: Ints) -> None:
        """Count what needs all layers of a token: the spread of its number of active neurons."""
        active = sum(part.cpu() for part in self.per_token)
        assert isinstance(active, Tensor)
        self.position_square += active.double().square().sum(dim=0)
        window = torch.arange(len(rows)).unsqueeze(1)
        keys, inverse, n = torch.unique(
            window * self.vocabulary + self.ids, return_inverse=True, return_counts=True
        )
        s = torch.zeros(len(keys), dtype=torch.int64).index_add_(0, inverse.flatten(), active.flatten())
        ids, n, s = keys % self.vocabulary, n.double(), s.double()
        self.token_count += torch.bincount(self.ids.flatten(), minlength=self.vocabulary)
        self.token_windows += torch.bincount(ids, minlength=self.vocabulary)
        self.token_squares.index_add_(1, ids, torch.stack([s * s, s * n, n * n]))
        if self.experts is not None:
            self.experts.end(self.group.numpy())

    def counts(self, losses: np.ndarray, rows: Ints) -> NeuronCounts:
        """What was counted, on the host.

        Args:
            losses: summed loss of each window that passed, float64 [rows], nats.
            rows: which windows those were.
        """
        loss = np.zeros(self.groups)
        np.add.at(loss, groups_of(rows, windows=self.subject.windows.count), losses)

        def of(name: str, axis: int) -> np.ndarray:
            return np.stack([getattr(layer, name).cpu().numpy() for layer in self.layers], axis=axis)

        return NeuronCounts(
            windows=self.windows,
            loss_nats=loss,
            fired=np.concatenate([layer.fired.cpu().numpy() for layer in self.layers], axis=1),
            followed=of("followed", 1),
            shared=of("shared", 1),
            chunk_active=of("chunk_active", 2),
            prefix_active=of("prefix_active", 2),
            token_count=self.token_count.numpy(),
            token_active=of("token_active", 0),
            token_windows=self.token_windows.numpy(),
            token_squares=self.token_squares.numpy(),
            position_active=of("position_active", 0),
            position_square=self.position_square.numpy(),
            experts=None if self.experts is None else self.experts.counts(),
        )


def _starts(layers: ModelLayers) -> list[int]:
    """Place of each site's first neuron among those of its layer."""
    starts, before, reached = [], -1, 0
    for layer, size in zip(layers.of_site, layers.site_sizes.tolist(), strict=True):
        reached = reached if layer == before else 0
        starts.append(reached)
        before, reached = layer, reached + size
    return starts


class _LayerCounts:
    """Sums of one layer, on its device."""

    def __init__(self, visitor: NeuronVisitor, layer: int) -> None:
        layers = visitor.model_layers
        first = layers.sites[layers.of_site.index(layer)]
        self.device, self.neurons = first.down_weight().device, int(layers.sizes[layer])
        groups, levels = visitor.groups, visitor.levels
        self.fired = self._zeros(groups, self.neurons)
        self.followed, self.shared = self._zeros(groups), self._zeros(groups)
        self.chunk_active, self.prefix_active = self._zeros(levels, groups), self._zeros(levels, groups)
        self.token_active = self._zeros(visitor.vocabulary)
        self.position_active = self._zeros(visitor.subject.windows.window)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.int64, device=self.device)

    def add(self, packed: Tensor, group: Tensor, ids: Tensor, *, site: FfnSite, start: int) -> Tensor:
        """Count one batch of one site.

        Args:
            packed: words of the masks [windows, tokens, words].
            group: of each window, int64 [windows].
            ids: int64 [windows, tokens].
            site: where.
            start: place of its first neuron among those of the layer.

        Returns:
            Active neurons of each token, int64 [windows, tokens].
        """
        group, ids = group.to(self.device), ids.to(self.device)
        active = lanes.per_row(packed)
        size = site.intermediate_size
        fired = self.fired[:, start : start + size]
        fired.index_add_(0, group, lanes.per_neuron(packed, neurons=size))
        self.followed.index_add_(0, group, active[:, :-1].sum(dim=1))
        self.shared.index_add_(0, group, lanes.per_row(packed[:, 1:] & packed[:, :-1]).sum(dim=1))
        self.token_active.index_add_(0, ids.flatten(), active.flatten())
        self.position_active += active.sum(dim=0)
        sizes = [active, *(lanes.per_row(union) for union in lanes.unions(packed)[1:])]
        self.chunk_active.index_add_(1, group, torch.stack([size.sum(dim=1) for size in sizes]))
        self.prefix_active.index_add_(1, group, torch.stack([size[:, 0] for size in sizes]))
        return active


def neuron_pass(
    subject: Subject, calibration: Calibration, *, rows: Ints | None = None, label: str = "neurons"
) -> NeuronCounts:
    """One sparse pass over the windows `rows` (all of them for None) that counts what the neurons do.

    Args:
        subject: model and text.
        calibration: the thresholds.
        rows: indices of windows, increasing.
        label: what to call the pass in the progress report.
    """
    chosen = subject.all_rows if rows is None else rows
    visitor = NeuronVisitor(subject, calibration)
    with visitor.routes.watched():
        losses = subject.losses(chosen, visitor=visitor, label=label, outputs=visitor.experts is not None)
    return visitor.counts(losses, chosen)
