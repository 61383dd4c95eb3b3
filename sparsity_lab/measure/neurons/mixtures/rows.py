"""What a report says of a mixture's experts and routers, as rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sparsity_lab.measure.neurons.api import NeuronReport
from sparsity_lab.measure.neurons.estimates import CHUNK_TOKENS, Estimate
from sparsity_lab.measure.neurons.mixtures.estimates import ExpertEstimator, candidates, over_median
from sparsity_lab.measure.neurons.mixtures.layers import SHARED, Router
from sparsity_lab.measure.neurons.mixtures.segments import SEGMENTS, cache_size
from sparsity_lab.measure.neurons.rows import ALL, Row, pair

OF_TOKENS = (
    "activation_ratio", "activation_ratio_se", "dead_share", "dead_share_se", "hot_share", "hot_share_se",
    "never_share", "never_share_se", "frequency_p10", "frequency_p10_se", "frequency_median", "frequency_median_se",
    "frequency_p90", "frequency_p90_se", "reuse_expert_tokens", "reuse_expert_tokens_se",
    "reuse_expert_tokens_by_chance", "largest_score", "largest_score_over_median", "largest_output",
    "largest_output_over_median", "super_expert_candidate",
)  # fmt: skip

SUMMED = ("experts", "routed", "shared_experts", "dead_experts")


def rows_of_experts(report: NeuronReport) -> dict[str, list[Row]]:
    """The rows of every table of a mixture by their key in a record; nothing of other models."""
    counts = report.estimator.counts.experts
    if counts is None:
        return {}
    e = ExpertEstimator(report.estimator, counts, report.layers)
    experts = list(expert_rows(e))
    return {
        "expert_rows": experts,
        "expert_layer_rows": list(expert_layer_rows(e, experts)),
        "expert_chunk_rows": list(expert_chunk_rows(e)),
        "expert_routing_rows": list(expert_routing_rows(e)),
    }


def expert_rows(e: ExpertEstimator) -> Iterator[Row]:
    """Load, frequencies, reuse and largest values of each expert; of one that no token reached, no more than load."""
    kinds = e.layers.kinds()
    sites = np.array(sorted(kinds))
    of_router = {site.layer: router for router in e.layers.routers for site in router.sites}
    summaries = e.whole.summaries(e.whole.site_sizes)[1:]
    scores, outputs = e.counts.largest_score.values, e.counts.largest_output.values
    score_over = dict(zip(sites.tolist(), over_median(scores[sites]), strict=True))
    output_over = dict(zip(sites.tolist(), over_median(outputs[sites]), strict=True))
    stands_out = dict(zip(sites.tolist(), candidates(outputs[sites]).tolist(), strict=True))
    for index in sites.tolist():
        router = of_router.get(index)
        row = _named(e, index, router)
        row["neurons"] = int(e.whole.site_sizes[index])
        row["tokens"] = e.tokens(index)
        row |= {"load": None, "load_se": None} if router is None else pair("load", e.load(router, index))
        row |= pair("activation_ratio", e.activation_ratio(index)) | summaries[index]
        row |= pair("reuse_expert_tokens", e.reuse(index))
        row["reuse_expert_tokens_by_chance"] = e.reuse_by_chance(index)
        row["largest_score"] = float(scores[index])
        row["largest_score_over_median"] = float(score_over[index])
        row["largest_output"] = float(outputs[index])
        row["largest_output_over_median"] = float(output_over[index])
        row["super_expert_candidate"] = int(stands_out[index])
        yield row if row["tokens"] else {**row, **dict.fromkeys(OF_TOKENS)}


def expert_layer_rows(e: ExpertEstimator, experts: list[Row]) -> Iterator[Row]:
    """How evenly each router sends its tokens: all layers together, then each."""
    rows = []
    for index, router in enumerate(e.layers.routers):
        names = {site.name for site in router.sites}
        mine = [row for row in experts if row["module"] in names]
        beside = [row for row in experts if row["kind"] == SHARED and row["layer"] == router.layer]
        loads = [row["load"] * len(mine) for row in mine]
        rows.append(
            {
                "layer": router.layer,
                "experts": len(mine),
                "routed": e.chosen(index),
                "shared_experts": len(beside),
                "dead_experts": sum(row["tokens"] == 0 for row in mine),
                "least_load": min(loads),
                "greatest_load": max(loads),
            }
        )
    summed = {key: sum(row[key] for row in rows) for key in SUMMED}
    least, greatest = min(row["least_load"] for row in rows), max(row["greatest_load"] for row in rows)
    yield {"layer": ALL, **summed, "least_load": least, "greatest_load": greatest}
    yield from rows


def expert_chunk_rows(e: ExpertEstimator) -> Iterator[Row]:
    """Chunk sparsity over consecutive tokens of each expert, for 1, 2, 4, ... of them; none where no chunk is full."""
    of_router = {site.layer: router for router in e.layers.routers for site in router.sites}
    for index in sorted(e.layers.kinds()):
        for level in range(len(e.counts.chunks)):
            chunks = int(e.counts.chunks[level, :, index].sum())
            if 1 << level in CHUNK_TOKENS and chunks:
                union = e.union(level, index)
                yield {
                    **_named(e, index, of_router.get(index)),
                    "expert_tokens": 1 << level,
                    "chunks": chunks,
                    **pair("cls_expert_tokens", Estimate(1 - union.value, union.se)),
                    "sparsity_by_chance": 1 - e.union_by_chance(level, index),
                }


def expert_routing_rows(e: ExpertEstimator) -> Iterator[Row]:
    """SRP and SCH of all layers together, of each layer, and SRP of each expert, for each segment length."""
    yield from _of_routers(e, ALL, range(len(e.layers.routers)))
    alone = [e.performances(segment) for segment in SEGMENTS]
    first = 0
    for index, router in enumerate(e.layers.routers):
        yield from _of_routers(e, router.layer, range(index, index + 1))
        for expert in range(len(router.sites)):
            for segment, best in zip(SEGMENTS, alone, strict=True):
                srp, ratio = float(best.srp[first + expert]), float(best.size_ratio[first + expert])
                yield {"layer": router.layer, "expert": expert, "experts": 1, "segment": segment,
                       "srp": _or_none(srp), "size_ratio": _or_none(ratio)}  # fmt: skip
        first += len(router.sites)


def _of_routers(e: ExpertEstimator, layer: int | str, chosen: range) -> Iterator[Row]:
    experts = [len(e.layers.routers[index].sites) for index in chosen]
    routed = [e.chosen(index) for index in chosen]
    for segment in SEGMENTS:
        srp, ratio = e.performance(segment, slice(chosen.start, chosen.stop))
        yield {
            "layer": layer,
            "expert": ALL,
            "experts": sum(experts),
            "routed": sum(routed),
            "segment": segment,
            **({"srp": None, "srp_se": None} if math.isnan(srp.value) else pair("srp", srp)),
            "size_ratio": _or_none(ratio),
            "cache": sum(map(cache_size, experts, routed)),
            **pair("sch", e.cache_hits(segment, slice(chosen.start, chosen.stop))),
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _named(e: ExpertEstimator, index: int, router: Router | None) -> Row:
    """What the rows of an expert begin with."""
    site = e.layers.sites[index]
    expert: Any = None if router is None else [one.layer for one in router.sites].index(index)
    kind = e.layers.kinds()[index]
    return {"layer": e.layers.of_site[index], "expert": expert, "kind": kind, "module": site.name}
