"""Every scalar of one report as rows of tables, each number with its standard error."""

from __future__ import annotations

from typing import Any

from sparsity_lab.measure.neurons.api import NeuronReport
from sparsity_lab.measure.neurons.estimates import CHUNK_TOKENS, Estimate, Estimator
from sparsity_lab.measure.neurons.frequency.decoding import PHASES, estimates
from sparsity_lab.measure.neurons.parameters import CONVENTIONS, Widths, activated

ALL = "all"
Row = dict[str, Any]


def pair(name: str, estimate: Estimate) -> Row:
    """A number and its error under their names."""
    return {name: estimate.value, f"{name}_se": estimate.se}


def each_layer(count: int) -> list[tuple[int | str, slice]]:
    """All layers together, then each: what rows call them, and their places among the layers."""
    return [(ALL, slice(None)), *((layer, slice(layer, layer + 1)) for layer in range(count))]


def layers_of(estimator: Estimator) -> list[int | None]:
    """All layers together, then each."""
    return [None, *range(len(estimator.sizes))]


def layer_rows(report: NeuronReport) -> list[Row]:
    """Activation, frequency and reuse, of all layers and of each."""
    e = report.estimator
    scalars = e.frequency_scalars()
    return [
        {
            "layer": ALL if layer is None else layer,
            "neurons": int(e.sizes.sum() if layer is None else e.sizes[layer]),
            **pair("activation_ratio", e.activation_ratio(layer=layer)),
            **of_layer,
            **pair("reuse", e.reuse(layer=layer)),
            "reuse_by_chance": e.reuse_by_chance(layer=layer),
        }
        for layer, of_layer in zip(layers_of(e), scalars, strict=True)
    ]


def chunk_rows(report: NeuronReport) -> list[Row]:
    """Chunk sparsity, aggregated sparsity and weights touched, for 1, 2, 4, ... tokens."""
    e = report.estimator
    return [
        _chunk_row(e, report.widths, level, layer)
        for layer in layers_of(e)
        for level in range(len(e.counts.chunk_active))
    ]


def _chunk_row(e: Estimator, widths: Widths, level: int, layer: int | None) -> Row:
    union, prefix = e.union(level, layer=layer), e.prefix(level, layer=layer)
    chance = e.union_by_chance(level, layer=layer)
    is_chunk = 1 << level in CHUNK_TOKENS
    row: Row = {"layer": ALL if layer is None else layer, "tokens": 1 << level}
    row |= {"cls": None, "cls_se": None} if not is_chunk else pair("cls", Estimate(1 - union.value, union.se))
    row |= pair("aggregated_sparsity", Estimate(1 - prefix.value, prefix.se))
    row["sparsity_by_chance"] = 1 - chance
    if layer is None and is_chunk:
        at_hand = e.chunk_at_hand(level)
        for convention in CONVENTIONS:
            weights = e.ratio(
                widths.touched_of(e.counts.chunk_active[level], at_hand, convention),
                e.chunks(level) * widths.ffn,
            )
            row |= pair(f"touched_{convention.replace('-', '_')}", weights)
    return row


def parameter_rows(report: NeuronReport) -> list[Row]:
    """Activated parameters per token under each convention."""
    e, widths = report.estimator, report.widths
    active, tokens = e.counts.active(e.sizes), e.counts.tokens
    rows = []
    for convention in CONVENTIONS:
        touched = e.ratio(widths.touched_of(active, e.at_hand, convention), tokens)
        rows.append({"convention": convention, "ffn_dense": widths.ffn, "model_dense": widths.params_total,
                     **activated(touched, widths)})  # fmt: skip
    return rows


def decode_rows(report: NeuronReport) -> list[Row]:
    """Activation ratio while reading and while writing; no rows where nothing was written."""
    counts, e = report.decode, report.estimator
    if counts is None:
        return []
    rows = []
    for layer in layers_of(e):
        by_phase = estimates(counts, e.sizes_at_hand, layer=layer, sample=e.sample)
        row: Row = {"layer": ALL if layer is None else layer, "prompts": len(counts.ids),
                    "prompt_tokens": counts.prompt_tokens, "written_tokens": counts.written_tokens}  # fmt: skip
        for phase in (*PHASES, "written_less_prompt", "written_less_continuation"):
            row |= pair(phase, by_phase[phase])
        rows.append(row)
    return rows
