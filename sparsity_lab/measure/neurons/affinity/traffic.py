"""Bytes read per decoded token, and the speed-up they allow, under named conventions.

Decoding one sequence waits for memory: time is taken as proportional to the bytes read, whatever is computed with
them. With S bytes of neurons' weights of B that a dense pass reads, and R bytes of everything else,

    FFN speed-up = B / S        model speed-up = (B + R) / (S + R)        (Amdahl)

These are upper bounds: gathering, idle lanes and launches cost what no count of bytes shows. Standard errors are those
of the record, carried by the delta method: se(B / S) = (B / S) se(S) / S. Where two numbers of one text are
multiplied whose covariance the record does not hold, their errors are added as if they went together: an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsity_lab.measure.neurons.affinity.spec import Costs
from sparsity_lab.measure.neurons.affinity.weights import Weights
from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.rows import ALL, pair

Row = dict[str, Any]

ASSUMPTIONS = {
    "output-side": "columns of W_d of inactive neurons are not read; nothing needs to be known beforehand, since a is "
    "computed in full",
    "input-side": "rows of W_g and W_u of inactive neurons are not read, W_d is read whole; who is active must be "
    "known beforehand",
    "oracle": "nothing of inactive neurons is read and knowing them costs nothing: an upper bound",
    "assumed-predictor": "the oracle, and a predictor of the stated size that names exactly the active neurons",
    "predictor": "a trained predictor's weights, the rows of W_g and W_u of the neurons it names, and the columns of "
    "W_d of those of them that are active; active neurons it does not name are lost (recall)",
    "cached": "neurons active on the last token are kept near and cost nothing, only newly active ones are fetched, "
    "known beforehand; dense means that all neurons are fetched for every token",
    "chunk-output-side": "as output-side, for L consecutive tokens in one pass: columns of the union of their neurons "
    "are read once; dense reads every weight once for the L tokens too",
    "chunk-input-side": "as input-side, for L consecutive tokens in one pass",
    "chunk-oracle": "as oracle, for L consecutive tokens in one pass, as where a draft of L tokens is verified",
}
SHARED_ASSUMPTIONS = (
    "Time is proportional to bytes read from one memory; computing is free.",
    "The output head, attention, norms and biases are read whole for every pass, an embedding table by one row a "
    "token; the KV cache is read whole.",
    "Activations, thresholds and indices are small compared with the weights and not counted.",
)


@dataclass(frozen=True)
class Read:
    """Weights of neurons (and of their predictor) read in one pass.

    Attributes:
        convention: a key of `ASSUMPTIONS`.
        share: of the FFN's weights, with its standard error.
        tokens: decoded by the pass.
        more: further columns.
    """

    convention: str
    share: Estimate
    tokens: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


def traffic_rows(
    body: Mapping[str, Any], weights: Weights, *, costs: Costs, predictions: Mapping[str, Any] | None = None
) -> list[Row]:
    """One row for each convention; see `table_columns.affinity`.

    Args:
        body: a record of `neurons`.
        weights: of its model.
        costs: bytes and context.
        predictions: a record of `predict` of the same thresholds and text, or None.
    """
    return [_row(read, weights, costs) for read in reads(body, weights, costs=costs, predictions=predictions)]


def reads(
    body: Mapping[str, Any], weights: Weights, *, costs: Costs, predictions: Mapping[str, Any] | None
) -> Iterator[Read]:
    """What each convention reads."""
    by_name = {row["convention"]: _pair_of(row, "ffn_share") for row in body["parameter_rows"]}
    for name in ("output-side", "input-side", "oracle"):
        yield Read(name, by_name[name])
    oracle = by_name["oracle"]
    if costs.predictor_cost is not None:
        yield Read("assumed-predictor", Estimate(oracle.value + costs.predictor_cost, oracle.se))
    for row in (predictions or {}).get("predictor_rows", ()):
        if row["method"] == "predictor" and row["layer"] == ALL:
            yield _predicted(row, weights)
    whole = next(row for row in body["layer_rows"] if row["layer"] == ALL)
    yield Read("cached", newly_active(_pair_of(whole, "activation_ratio"), _pair_of(whole, "reuse")))
    for row in body["chunk_rows"]:
        if row["layer"] == ALL and row["tokens"] > 1 and row["cls"] is not None:
            for name in ("output-side", "input-side", "oracle"):
                share = _pair_of(row, f"touched_{name.replace('-', '_')}")
                yield Read(f"chunk-{name}", share, tokens=row["tokens"])


def newly_active(ratio: Estimate, reuse: Estimate) -> Estimate:
    """Neurons active and not active on the token before, over all: A (1 - r).

    Its error is the largest that any correlation of A and r allows: (1 - r) se(A) + A se(r).
    """
    return Estimate(ratio.value * (1 - reuse.value), (1 - reuse.value) * ratio.se + ratio.value * reuse.se)


def _predicted(row: Mapping[str, Any], weights: Weights) -> Read:
    """Predictor, input side of the named, output side of the named and active: named share times precision."""
    named, precision = row["named_share"], _pair_of(row, "precision")
    input_side, output_side = weights.input_side / weights.ffn, weights.output_side / weights.ffn
    share = Estimate(
        row["parameters"] / weights.ffn + named * (input_side + precision.value * output_side),
        named * precision.se * output_side,
    )
    more = {"rank": row["rank"], "budget": row["budget"], **pair("recall", _pair_of(row, "recall"))}
    return Read("predictor", share, more=more)


def _row(read: Read, weights: Weights, costs: Costs) -> Row:
    """One convention's bytes and speed-ups."""
    width = costs.bytes_per_weight
    cache = costs.context_tokens * weights.kv * costs.bytes_per_kv
    rest = (weights.whole + weights.row * read.tokens) * width + cache
    dense = weights.ffn * width
    sparse = Estimate(read.share.value * dense, read.share.se * dense)
    model = Estimate(sparse.value + rest, sparse.se)
    return {
        "convention": read.convention,
        "tokens": read.tokens,
        **read.more,
        "ffn_dense_bytes": dense,
        **pair("ffn_bytes", sparse),
        **pair("ffn_share", read.share),
        **_pair_or_none("ffn_speedup", speedup(dense, sparse)),
        "kv_bytes": cache,
        "model_dense_bytes": dense + rest,
        **pair("model_bytes", model),
        **pair("model_share", Estimate(model.value / (dense + rest), model.se / (dense + rest))),
        **_pair_or_none("model_speedup", speedup(dense + rest, model)),
        "assumption": ASSUMPTIONS[read.convention],
    }


def speedup(dense: float, sparse: Estimate) -> Estimate | None:
    """Dense over sparse bytes, delta method; None where nothing is read, which bounds nothing."""
    if sparse.value == 0:
        return None
    return Estimate(dense / sparse.value, dense * sparse.se / sparse.value**2)


def _pair_of(row: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(float(row[name]), float(row[f"{name}_se"]))


def _pair_or_none(name: str, estimate: Estimate | None) -> Row:
    return {name: None, f"{name}_se": None} if estimate is None else pair(name, estimate)
