"""What a report says, as rows of tables: each measured number with its standard error, each comparison with its p."""

from __future__ import annotations

import numpy as np

from sparsity_lab.measure.neurons.estimates import ratio_of
from sparsity_lab.measure.neurons.mixtures.segments import cache_size
from sparsity_lab.measure.neurons.rows import Row, each_layer, pair
from sparsity_lab.measure.neurons.structure.api import BY_FREQUENCY, FIRST_DRAW, FOUND, StructureReport
from sparsity_lab.measure.neurons.structure.clustering.coactivation import best_partner, strongest_pairs
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS, eighths
from sparsity_lab.measure.search.counts import Floats, Ints


def chance_of(value: float, drawn: Floats) -> float:
    """p = (1 + #>=) / (1 + R) of a value among R that chance gave; differences of rounding count as ties."""
    return float((1 + (drawn >= value - 1e-12).sum()) / (1 + len(drawn)))


def coactivation_rows(report: StructureReport) -> list[Row]:
    """How alike a neuron and its best partner fire, layer by layer."""
    assert report.survey is not None
    tokens = eighth_tokens(report)
    rows = []
    for layer, sketch in enumerate(report.survey.sketch):
        cosine, chance = best_partner(sketch, tokens)
        rows.append(
            {
                "layer": layer,
                "neurons": len(report.layout.chosen[layer]),
                "sketched": len(sketch[0]),
                **pair("best_partner_cosine", cosine),
                **pair("best_partner_by_chance", chance),
            }
        )
    return rows


def pair_rows(report: StructureReport) -> list[Row]:
    """The most similar pairs of each layer."""
    assert report.survey is not None
    part = np.arange(report.layout.units) >= report.layout.first_units
    windows = report.survey.windows
    tokens = np.array([windows[~part].sum(), windows[part].sum()]) * report.window
    return [
        {"layer": layer, **row}
        for layer, together in enumerate(report.survey.together)
        for row in strongest_pairs(together, report.layout.chosen[layer], tokens=tokens)
    ]


def quality_rows(report: StructureReport) -> list[Row]:
    """Share of activity inside the best m clusters, compared with random and frequency-matched partitions."""
    assert report.quality is not None
    ask, quality = report.settings.questions(), report.quality
    rows = []
    for layer, chosen in each_layer(quality.active.shape[1]):
        active = quality.active[:, chosen].sum(axis=1)
        for index, m in enumerate(ask.best):
            inside = quality.inside[:, chosen, index].sum(axis=1)
            row = {"layer": layer, "clusters": ask.clusters, "best": m, "neurons_share": m / ask.clusters}
            rows.append({**row, **_compared("inside", inside, active, report, matched=True)})
    return rows


def routing_rows(report: StructureReport) -> list[Row]:
    """Segment cache best hit rate of clusters, or of a mixture's experts."""
    if report.experts is not None:
        return _expert_rows(report)
    assert report.quality is not None
    ask, quality = report.settings.questions(), report.quality
    rows = []
    for layer, chosen in each_layer(quality.active.shape[1]):
        needs = quality.needs[:, chosen].sum(axis=1)
        for index, segment in enumerate(ask.segments):
            hits = quality.hits[:, chosen, index].sum(axis=1)
            row = {"layer": layer, "of": "clusters", "experts": ask.clusters, "routed": ask.routed,
                   "cache": ask.cache_size, "segment": segment}  # fmt: skip
            rows.append({**row, **_compared("hit_rate", hits, needs, report, matched=False)})
    return rows


def _expert_rows(report: StructureReport) -> list[Row]:
    experts, settings = report.experts, report.settings
    assert experts is not None
    rows = []
    for layer, module in enumerate(experts.layers):
        used, count = experts.used[layer], int(module.num_experts)
        for index, segment in enumerate(settings.segments):
            rate = ratio_of(report.draws, experts.hits[:, layer, index], experts.needs[:, layer])
            rows.append(
                {
                    "layer": layer, "of": "experts", "experts": count, "routed": used,
                    "cache": cache_size(count, used, ratio=settings.cache_ratio), "segment": segment,
                    **pair("hit_rate", rate),
                }
            )  # fmt: skip
    return rows


def _compared(name: str, above: Ints, below: Ints, report: StructureReport, *, matched: bool) -> Row:
    """A share of the partition found, compared with those of other partitions.

    Args:
        name: of the share.
        above: int64 [units, P], by partition.
        below: int64 [units], or [units, P].
        report: replicates, and how many partitions are random.
        matched: whether frequency-matched partitions follow the random ones.
    """
    under = below if below.ndim == 2 else np.broadcast_to(below[:, None], above.shape)
    total = under.sum(axis=0)
    shares: Floats = np.divide(above.sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    end = FIRST_DRAW + report.settings.draws if matched else len(shares)
    drawn = shares[FIRST_DRAW:end]
    share = ratio_of(report.draws, above[:, FOUND], under[:, FOUND])
    usual = above[:, FIRST_DRAW:end].mean(axis=1) / np.maximum(under[:, FIRST_DRAW:end].mean(axis=1), 1e-300)
    more = ratio_of(report.draws, above[:, FOUND] - usual * under[:, FOUND], under[:, FOUND])
    row = {
        **pair(name, share),
        "random": float(drawn.mean()),
        **pair("over_random", more),
        "p_random": chance_of(float(shares[FOUND]), drawn),
        "by_frequency": float(shares[BY_FREQUENCY]),
    }
    if matched:
        like = shares[end:]
        row |= {"matched": float(like.mean()), "p_matched": chance_of(float(shares[FOUND]), like)}
    return row


def eighth_tokens(report: StructureReport) -> Ints:
    """Valid tokens of each eighth of the text, int64 [8]."""
    assert report.survey is not None
    units, windows = report.layout.units, report.survey.windows
    eighth = eighths(np.arange(units), units=units, first_units=report.layout.first_units)
    return np.bincount(eighth, weights=windows * report.window, minlength=EIGHTHS).astype(np.int64)
