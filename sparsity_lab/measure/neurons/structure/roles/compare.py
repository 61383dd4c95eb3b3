"""What several records say together: neurons across domains, and checkpoints along a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.rows import Row, pair
from sparsity_lab.measure.neurons.structure.clustering.clusters import matched_partitions, random_partitions
from sparsity_lab.measure.neurons.structure.record import clusters_of, habits_of
from sparsity_lab.measure.neurons.structure.roles.drift import (
    MEASURES,
    SETTLED,
    between_halves,
    likeness,
    settles,
)
from sparsity_lab.measure.neurons.structure.roles.specialise import Specialised, contrast, specialised
from sparsity_lab.measure.neurons.structure.rows import chance_of
from sparsity_lab.measure.search.counts import Floats, Ints
from sparsity_lab.store.arrays import Sealed

logger = logging.getLogger(__name__)
TWICE = 2.0


def specialised_rows(sealed: Sequence[Sealed], *, permutations: int, draws: int, seed: int) -> list[Row]:
    """Neurons and clusters that prefer a text, checkpoint by checkpoint; no rows where there is one text.

    Clusters are those found on the first half of the first text; they are tested on second halves alone.
    """
    rows = []
    for ours in _by(sealed, "name").values():
        if len(ours) < 2 or not ours[0].arrays["fired"].size:
            continue
        try:
            rows += _specialised(ours, permutations=permutations, draws=draws, seed=seed)
        except SparsityLabError as error:
            logger.info("%s: %s", ours[0].body["name"], error.paragraph())
    return rows


def _specialised(ours: Sequence[Sealed], *, permutations: int, draws: int, seed: int) -> list[Row]:
    identity = {"name": ours[0].body["name"], "texts": " ".join(record.body["text"] for record in ours)}
    rates, domains = _rates(ours, second=False)
    neurons = specialised(rates, domains, permutations=permutations, seed=seed)
    rows = [{**identity, "what": "neurons", **_said(neurons, domains, ours)}]
    rates, domains = _rates(ours, second=True)
    fired = ours[0].arrays["fired"][: ours[0].body["first_units"]].sum(axis=0)
    grouping = _Grouping(
        clusters_of(ours[0]), int(ours[0].body["settings"]["clusters"]), rates, domains, fired
    )
    clusters = specialised(grouping.grouped(grouping.parts), domains, permutations=permutations, seed=seed)
    row = {**identity, "what": "clusters", **_said(clusters, domains, ours)}
    for kind, suffix in (("random", ""), ("matched", "_matched")):
        drawn = grouping.contrast_by_chance(kind, draws=draws, seed=seed)
        row |= {
            f"contrast_{kind}": float(drawn.mean()),
            f"p_contrast{suffix}": chance_of(row["contrast"], drawn),
        }
    return [*rows, row]


def _said(test: Specialised, domains: Ints, ours: Sequence[Sealed]) -> Row:
    others = np.sort(test.rates, axis=0)
    twice = test.chosen & (others[-1] >= TWICE * others[-2])
    preferred = np.bincount(test.preferred[test.chosen], minlength=len(ours))
    return {
        "units": len(domains),
        "features": len(test.p),
        "share": test.share,
        "share_if_permuted": float(test.share_if_permuted.mean()),
        "most_if_permuted": float(test.share_if_permuted.max()),
        "p_share": test.p_of_share,
        "twice_share": float(twice.mean()),
        "preferred": " ".join(
            f"{record.body['text']}:{count}" for record, count in zip(ours, preferred.tolist(), strict=True)
        ),
        "contrast": test.contrast,
    }


def _rates(ours: Sequence[Sealed], *, second: bool) -> tuple[Floats, Ints]:
    """Firing rates of whole units, float64 [units, N], and the text of each."""
    rates, domains = [], []
    for domain, record in enumerate(ours):
        whole = record.arrays["windows"] == record.body["unit_windows"]
        if second:
            whole &= np.arange(len(whole)) >= record.body["first_units"]
        tokens = record.body["unit_windows"] * record.body["window"]
        rates.append(record.arrays["fired"][whole] / tokens)
        domains.append(np.full(int(whole.sum()), domain))
    return np.concatenate(rates), np.concatenate(domains)


@dataclass(frozen=True)
class _Grouping:
    """Firing rates of second halves, and the clusters that the first half of the first text gave.

    Attributes:
        parts: of each layer, places of its neurons among all, int64 [C], and their clusters, int64 [C].
        clusters: of each layer.
        rates: float64 [units, N].
        domains: text of each unit, int64 [units].
        fired: firings in the first half of the first text, int64 [N].
    """

    parts: Sequence[tuple[Ints, Ints]]
    clusters: int
    rates: Floats
    domains: Ints
    fired: Ints

    def grouped(self, parts: Sequence[tuple[Ints, Ints]]) -> Floats:
        """Mean rate of the neurons of each cluster of each layer, float64 [units, layers * clusters]."""
        columns = []
        for places, labels in parts:
            member = (labels[:, None] == np.arange(self.clusters)).astype(np.float64)
            columns.append(self.rates[:, places] @ (member / member.sum(axis=0)))
        return np.concatenate(columns, axis=1)

    def contrast_by_chance(self, kind: str, *, draws: int, seed: int) -> Floats:
        """Contrast between domains of clusters that chance made, `random` or `matched`, float64 [draws]."""
        drawn = [
            random_partitions(labels, draws=draws, seed=seed * 1000 + layer)
            if kind == "random"
            else matched_partitions(labels, self.fired[places], draws=draws, seed=seed * 1000 + layer)
            for layer, (places, labels) in enumerate(self.parts)
        ]
        return np.array(
            [
                contrast(
                    self.grouped(
                        [
                            (places, labels[draw])
                            for (places, _), labels in zip(self.parts, drawn, strict=True)
                        ]
                    ),
                    self.domains,
                )
                for draw in range(draws)
            ]
        )


def drift_rows(records: Sequence[Sealed]) -> tuple[list[Row], list[Row]]:
    """Checkpoints of one run against the one before and the last; and where each measure settles."""
    drift: list[Row] = []
    settled: list[Row] = []
    for ours in _by(records, "series", "text").values():
        if len(ours) < 2 or not ours[0].arrays["fired"].size or _unlike(ours):
            continue
        habits = [habits_of(record) for record in ours]
        to_last = [likeness(each, habits[-1]) for each in habits[:-1]]
        to_previous = [likeness(each, before) for before, each in pairwise(habits)]
        for index, record in enumerate(ours):
            itself = between_halves(habits[index])
            compared = [("previous", ours[index - 1], to_previous[index - 1])] if index else []
            compared += [("last", ours[-1], to_last[index])] if index < len(to_last) else []
            drift += [
                {
                    "name": record.body["name"],
                    "text": record.body["text"],
                    "other": other.body["name"],
                    "against": against,
                    "measure": measure,
                    **pair("alike", alike[measure]),
                    "between_halves": itself[measure],
                }
                for against, other, alike in compared
                for measure in MEASURES
            ]
        settled += _settled(ours, to_last)
    return drift, settled


def _settled(ours: Sequence[Sealed], to_last: Sequence[dict[str, Estimate]]) -> list[Row]:
    """From which checkpoint on each measure is as it is at the last."""
    rows = []
    for measure in MEASURES:
        place = settles([alike[measure] for alike in to_last])
        rows.append(
            {
                "series": ours[0].body["series"],
                "text": ours[0].body["text"],
                "checkpoints": len(ours),
                "measure": measure,
                "level": SETTLED,
                "settled_at": None if place is None else ours[place].body["name"],
            }
        )
    return rows


def _unlike(ours: Sequence[Sealed]) -> bool:
    """Whether these cannot be compared: not the same text and neurons."""
    keys = {
        (record.body["text_sha256"], record.arrays["sketch"].shape, tuple(record.arrays["sizes"]))
        for record in ours
    }
    return len(keys) > 1


def _by(sealed: Sequence[Sealed], *keys: str) -> dict[tuple[Any, ...], list[Sealed]]:
    groups: dict[tuple[Any, ...], list[Sealed]] = {}
    for record in sealed:
        groups.setdefault(tuple(record.body[key] for key in keys), []).append(record)
    return groups
