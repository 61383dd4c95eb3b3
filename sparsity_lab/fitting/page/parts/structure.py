"""The part of a report about which neurons fire together: clusters, their routing, preferences, drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsity_lab.fitting.page.blocks import Block, Section
from sparsity_lab.fitting.page.cells import whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import (
    Row,
    command_sections,
    groups,
    measured,
    percent,
    reader_table,
    rows_of,
)
from sparsity_lab.store.table_columns.structure import CLUSTERS, DRIFT, ROUTING, SPECIALISED
from sparsity_lab.store.tables import is_number

MOST_CHECKPOINTS = 3  # that have a sentence each
P_VALUES, LEVEL = ("p_random", "p_matched"), 0.05
QUARTER = 0.25  # of the neurons: the case that is stated in words
OF_CLUSTERS = CLUSTERS.pick(
    "name text clusters best neurons_share inside inside_se random p_random matched p_matched by_frequency",
    clusters="clusters",
    p_matched="p (matched)",
)
OF_SPECIALISED = SPECIALISED.pick(
    "name what features share share_if_permuted most_if_permuted p_share twice_share contrast contrast_random "
    "p_contrast contrast_matched p_contrast_matched",
    share="prefer a text",
    most_if_permuted="at most",
    contrast_random="of random clusters",
    p_contrast="p (random)",
    contrast_matched="of frequency-matched",
    p_contrast_matched="p (matched)",
)
TABLES = {
    CLUSTERS.name: ("Activity inside the best clusters", OF_CLUSTERS),
    ROUTING.name: ("Routing to clusters", ROUTING.for_readers(hit_rate="hit rate")),
    SPECIALISED.name: ("Preference for a text", OF_SPECIALISED),
    DRIFT.name: ("Checkpoints compared", DRIFT.for_readers()),
}
CAPTIONS = {
    "clusters": "Share of a token's active neurons inside its best m clusters, next to clusters made by frequency "
    "alone, random ones matched in frequency, and random ones",
    "coactivation": "Cosine of a neuron with the best partner found on the other half of the text, layer by layer",
    "routing": "Best hit rate of a segment cache of clusters",
    "specialised": "Share of neurons and clusters that prefer a text",
    "drift": "Each checkpoint against the last one and the one before it",
}
NOTES = {
    "clusters": "Share of a token's active neurons inside the m clusters that hold most of them, on the half of the "
    "text that did not make the clusters. Random: partitions of the same sizes. Frequency-matched: neurons exchanged "
    "among others of about their frequency. By frequency: clusters of neurons that fire equally often.",
    "routing": "Segment cache best hit rate: needed experts found in a cache that looks so many tokens ahead.",
    "specialised": "Neurons and clusters whose rate differs between texts, false discoveries held to 5 %. Contrast: "
    "standard deviation of rates between texts over their mean.",
    "drift": "Rank correlation of frequencies and importances, correlation of pairs' cosines. With itself: the first "
    "half of the text against the second.",
}


def sections(contents: Contents) -> list[Section]:
    """One for each run of the command."""
    return command_sections(contents, "Structure", "structure.json", _content, CAPTIONS)


def _content(folder: Path, value: Any) -> tuple[list[str], list[Block]]:
    rows = {
        name: [row for row in rows_of(folder / f"{name}.csv") if row.get("layer", "all") == "all"]
        for name in (*TABLES, "settled")
    }
    blocks = [
        block
        for name, (title, columns) in TABLES.items()
        for block in reader_table(title, rows[name], columns, note=NOTES[name])
    ]
    return [
        *_clusters(rows["clusters"]),
        *_specialised(rows["specialised"]),
        *_settled(rows["settled"]),
    ], blocks


def _clusters(rows: list[dict[str, Any]]) -> list[str]:
    """What the clusters nearest to a quarter of the neurons hold; for long runs, how often they beat chance."""
    near = [
        min(group, key=lambda row: abs(float(row["neurons_share"]) - QUARTER))
        for group in groups((r for r in rows if is_number(r.get("neurons_share"))), "name", "text").values()
    ]
    by_checkpoint = groups(near, "name").values()
    if len(by_checkpoint) <= MOST_CHECKPOINTS:
        return [_cluster(group) for group in by_checkpoint]
    inside = sorted(float(row["inside"]) for row in near if is_number(row.get("inside")))
    ends = f"{percent(inside[0])} to {percent(inside[-1])}" if inside else "an unknown share"
    beaten = [sum(_below(row, key) for row in near) for key in P_VALUES]
    which = f"the best {near[0].get('best')} of {near[0].get('clusters')} clusters"
    return [
        f"Of {len(by_checkpoint)} checkpoints, {which} hold {ends} of a token's active neurons. In {beaten[0]} of "
        f"{len(near)} cases that is more than random clusters hold (p ≤ .05), in {beaten[1]} more than "
        "frequency-matched ones."
    ]


def _below(row: Row, key: str) -> bool:
    return is_number(row.get(key)) and float(row[key]) <= LEVEL


def _cluster(rows: list[Row]) -> str:
    """One checkpoint on its texts."""
    first = rows[0]
    parts = [
        f"{measured(row.get('inside'), row.get('inside_se'), share=True)} on {row.get('text')} (random clusters "
        f"{percent(row.get('random'))}, frequency-matched {percent(row.get('matched'))})"
        for row in rows
    ]
    highest = [max((float(r[key]) for r in rows if is_number(r.get(key))), default=None) for key in P_VALUES]
    return (
        f"**{first.get('name')}**: the best {first.get('best')} of {first.get('clusters')} clusters, "
        f"{percent(first.get('neurons_share'))} of the neurons, hold of a token's active neurons {'; '.join(parts)}. "
        f"p against random clusters at most {whole(highest[0], 2)}, against frequency-matched {whole(highest[1], 2)}."
    )


def _specialised(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"**{row.get('name')}**: {percent(row.get('share'))} of its {row.get('what')} prefer one of "
        f"{', '.join(str(row.get('texts')).split())} (with permuted labels {percent(row.get('share_if_permuted'))} "
        f"on average, p = {whole(row.get('p_share'), 2)}); {percent(row.get('twice_share'))} fire twice as often "
        "there as in any other."
        for row in rows if row.get("what") == "neurons"
    ]  # fmt: skip


def _settled(rows: list[dict[str, Any]]) -> list[str]:
    sentences = []
    for (series, text), group in groups(rows, "series", "text").items():
        level = whole(group[0].get("level"), 2)
        parts = [f"{row.get('measure')}, {_from(row.get('settled_at'))}" for row in group]
        sentences.append(
            f"**{series}** on {text}, {group[0].get('checkpoints')} checkpoints: surely correlated above {level} with "
            f"the last one: {'; '.join(parts)}."
        )
    return sentences


def _from(checkpoint: object) -> str:
    return "never before it" if checkpoint is None else f"from {Path(str(checkpoint)).name} on"
