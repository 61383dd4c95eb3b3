"""What one model on one text leaves on disk: rows of tables in a JSON file, counts and clusters in a `.safetensors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsity_lab.measure.neurons.structure.api import StructureReport
from sparsity_lab.measure.neurons.structure.clustering.coactivation import PARTNERS, partners
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS, eighths
from sparsity_lab.measure.neurons.structure.roles.drift import Habits
from sparsity_lab.measure.search.counts import Ints
from sparsity_lab.measure.work.places import PLACE_KEYS
from sparsity_lab.store.arrays import SEAL_KEYS, Kind, Sealed

KEYS: dict[str, str] = {
    **PLACE_KEYS,
    "settings": "clusters, best, routed, segments, ... as `spec.StructureSettings` explains them",
    "unit_windows": "windows of one unit of text; the last may hold fewer",
    "first_units": "units of the part that clusters were found on; the others judged them",
    "neurons_counted": "of each layer, neurons among which pairs were counted and clusters found",
    "coactivation_rows": "rows of coactivation.csv; see `table_columns.structure`",
    "pair_rows": "rows of pairs.csv; see `table_columns.structure`",
    "quality_rows": "rows of clusters.csv; see `table_columns.structure`",
    "routing_rows": "rows of routing.csv; see `table_columns.structure`",
    "seed": "of samples, clusters and random partitions",
    **SEAL_KEYS,
}
ARRAYS: dict[str, str] = {
    "sizes": "int64 [layers], F",
    "windows": "int64 [units], windows of each unit of the text",
    "fired": "int64 [units, N], tokens each neuron fired on; layers side by side; empty for a mixture of experts",
    "size_sum": "float64 [units, N], sum over tokens of ||n_i|| = |a_i| w_i",
    "chosen": "int64, neurons whose pairs were counted, of all layers one after another, as indices in their layer",
    "labels": "int64, the cluster of each of these",
    "partners": f"int64 [., {PARTNERS}], most similar neurons on the first part, as indices in the layer; -1: none",
    "partner_cosines": f"float64 [., {PARTNERS}], how similar",
    "sketch_sizes": "int64 [layers], neurons of the sketch",
    "sketch": f"int64 [{EIGHTHS}, .], firings in pairs by eighths of the text among these, each layer's square flat",
}
KIND = Kind("structure", folder="structure_records", mark="quality_rows", keys=KEYS, arrays=ARRAYS)


def arrays_of(report: StructureReport, sizes: Ints) -> dict[str, np.ndarray]:
    """The arrays of a record; see `ARRAYS`."""
    if report.survey is None:
        none = np.zeros(0, np.int64)
        return {**dict.fromkeys(ARRAYS, none), "sizes": sizes}
    counts, layout = report.survey, report.layout
    similar = [partners(together[0]) for together in counts.together]
    theirs = [
        np.where(places >= 0, chosen[places], -1)
        for (places, _), chosen in zip(similar, layout.chosen, strict=True)
    ]
    return {
        "sizes": sizes,
        "windows": counts.windows,
        "fired": counts.fired,
        "size_sum": counts.size_sum,
        "chosen": np.concatenate(layout.chosen),
        "labels": np.concatenate(report.labels),
        "partners": np.concatenate(theirs),
        "partner_cosines": np.concatenate([cosine for _, cosine in similar]),
        "sketch_sizes": np.array([len(square[0]) for square in counts.sketch]),
        "sketch": np.concatenate([square.reshape(EIGHTHS, -1) for square in counts.sketch], axis=1),
    }


def habits_of(sealed: Sealed) -> Habits:
    """What the neurons did, by eighths of the text."""
    units = len(sealed.arrays["windows"])
    eighth = eighths(np.arange(units), units=units, first_units=int(sealed.body["first_units"]))
    member = (eighth == np.arange(EIGHTHS)[:, None]).astype(np.int64)
    sizes = sealed.arrays["sketch_sizes"]
    squares = np.split(sealed.arrays["sketch"], np.cumsum(sizes**2)[:-1], axis=1)
    return Habits(
        tokens=member @ sealed.arrays["windows"] * int(sealed.body["window"]),
        fired=member @ sealed.arrays["fired"],
        size_sum=member @ sealed.arrays["size_sum"],
        sketch=tuple(s.reshape(EIGHTHS, n, n) for s, n in zip(squares, sizes.tolist(), strict=True)),
    )


def clusters_of(sealed: Sealed) -> list[tuple[Ints, Ints]]:
    """Of each layer, places of the chosen neurons among all neurons side by side, and their clusters."""
    counted: Sequence[Any] = sealed.body["neurons_counted"]
    ends = np.cumsum(counted)[:-1]
    starts = np.concatenate([[0], np.cumsum(sealed.arrays["sizes"])[:-1]])
    chosen, labels = np.split(sealed.arrays["chosen"], ends), np.split(sealed.arrays["labels"], ends)
    return [(c + start, label) for c, label, start in zip(chosen, labels, starts, strict=True)]
