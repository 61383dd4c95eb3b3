"""How the neurons of a live model hang together, as a Python function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparsity_lab.measure.api import Applicable, live_under
from sparsity_lab.measure.live.arguments import Reading, check_numbers
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.neurons.structure.clustering import clusters as grouping
from sparsity_lab.measure.neurons.structure.clustering.mixtures import ExpertVisitor, expert_pass
from sparsity_lab.measure.neurons.structure.clustering.projections import input_weights
from sparsity_lab.measure.neurons.structure.clustering.quality import QualityCounts, judge
from sparsity_lab.measure.neurons.structure.counts import Layout, SurveyCounts, unit_windows
from sparsity_lab.measure.neurons.structure.spec import StructureSettings
from sparsity_lab.measure.neurons.structure.survey import survey
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work.places import refuse_unhalved

if TYPE_CHECKING:
    from typing_extensions import Unpack

FOUND, BY_FREQUENCY, FIRST_DRAW = 0, 1, 2  # places among the partitions; then random ones, then matched ones


@dataclass(frozen=True)
class StructureReport:
    """What was counted on one text.

    Attributes:
        settings: what was asked.
        layout: parts, units and chosen neurons.
        survey: who fired, and who with whom; None for a mixture of experts.
        labels: of each layer, the cluster of each chosen neuron, int64 [C]; none for a mixture.
        quality: how the second part's activity falls into clusters; None for a mixture.
        experts: how a mixture's routers chose; None for others.
        draws: replicates of the units of the second part.
        window: tokens of one window.
    """

    settings: StructureSettings
    layout: Layout
    survey: SurveyCounts | None
    labels: tuple[Ints, ...]
    quality: QualityCounts | None
    experts: ExpertVisitor | None
    draws: noise.Replicates
    window: int


def examine_structure(
    model: Any,
    ids: torch.Tensor | Windows,
    *,
    thresholds: Applicable,
    settings: StructureSettings | None = None,
    seed: int = 0,
    **reading: Unpack[Reading],
) -> StructureReport:
    """Group the neurons of a live model by the first half of a text and judge the groups on the second.

    Args:
        model: as in `measure`.
        ids: the text's token ids, int64 [tokens], one stream without padding, or windows from `text_windows`.
        thresholds: as `sparsified` takes them.
        settings: what to ask; by default 16 clusters by co-activation.
        seed: of clusters, random partitions and samples.
        reading: window, bos_id, batch_size, architecture_file and progress, as `Reading` explains them.

    Raises:
        SparsityLabError: thresholds of another model, layers too small for the clusters, or a text that is too short.
    """
    check_numbers(seed=seed)
    with live_under(model, ids, thresholds, **reading) as live:
        windows = live.subject.windows
        each = min(unit_windows(windows.tokens, window=windows.window), max(1, windows.count // 3))
        asked = settings or StructureSettings()
        return report_of(live.subject, live.calibration, settings=asked, unit_windows=each, seed=seed)


def report_of(
    subject: Subject, calibration: Calibration, *, settings: StructureSettings, unit_windows: int, seed: int
) -> StructureReport:
    """The report of a model and text at hand; of a mixture of experts, its routes alone.

    Raises:
        SparsityLabError: settings out of range, or layers too small for the clusters.
    """
    settings.check()
    refuse_unhalved(subject.windows)
    layout = Layout.of(
        subject.sizes, windows=subject.windows.count, unit_windows=unit_windows,
        most_neurons=settings.most_neurons, seed=seed,
    )  # fmt: skip
    rows = np.unique(layout.unit_of(layout.second_rows))
    draws = noise.replicates(rows, sample=subject.windows.sample)
    window = subject.windows.window
    if any(site.routed for site in subject.sites):
        experts = expert_pass(subject, calibration, layout=layout, segments=settings.segments,
                              cache_ratio=settings.cache_ratio)  # fmt: skip
        return StructureReport(settings, layout, None, (), None, experts, draws, window)
    grouping.capacities(min(int(subject.sizes.min()), settings.most_neurons), settings.clusters)  # or refuse
    counts = survey(subject, calibration, layout=layout)
    labels = tuple(
        _clusters(subject, counts, layout, settings, layer=layer, seed=seed)
        for layer in range(len(subject.sites))
    )
    partitions = [_partitions(counts, labels, settings, layer=i, seed=seed) for i in range(len(labels))]
    judged = judge(subject, calibration, layout=layout, partitions=partitions, questions=settings.questions())
    return StructureReport(settings, layout, counts, labels, judged, None, draws, window)


def _clusters(
    subject: Subject,
    counts: SurveyCounts,
    layout: Layout,
    settings: StructureSettings,
    *,
    layer: int,
    seed: int,
) -> Ints:
    """The cluster of each chosen neuron of one layer, found on the first part."""
    if settings.by == "coactivation":
        places = grouping.firing_places(counts.together[layer][0], clusters=settings.clusters)
    else:
        weights = input_weights(subject.model, subject.sites[layer]).numpy()
        places = grouping.weight_places(weights[layout.chosen[layer]])
    return grouping.balanced_clusters(places, clusters=settings.clusters, seed=seed)


def _partitions(
    counts: SurveyCounts, labels: tuple[Ints, ...], settings: StructureSettings, *, layer: int, seed: int
) -> Ints:
    """The partition found, that by frequency, random and frequency-matched ones, int64 [2 + 2 draws, C]."""
    fired = np.diagonal(counts.together[layer][0])
    layer_seed = seed * 1000 + layer
    return np.concatenate(
        [
            labels[layer][None],
            grouping.by_frequency(fired, clusters=settings.clusters)[None],
            grouping.random_partitions(labels[layer], draws=settings.draws, seed=layer_seed),
            grouping.matched_partitions(labels[layer], fired, draws=settings.draws, seed=layer_seed),
        ]
    )
