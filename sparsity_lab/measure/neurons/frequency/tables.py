"""The tables of a run.

neurons      activation, frequency, reuse: model, text, layer
chunks       CLS_L, aggregated sparsity, weights touched: model, text, layer, tokens
parameters   activated parameters: model, text, convention
decode       reading against writing: model, text, layer
experts, expert_layers, expert_chunks, expert_routing
             of a mixture of experts: model, text, layer, expert; tokens or segment
tokens, positions, frequency, token_pairs     by token id, by position, histogram of neurons, pairs of models
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sparsity_lab.measure.neurons.estimates import histogram
from sparsity_lab.measure.neurons.frequency.record import frequencies
from sparsity_lab.measure.neurons.pairs import pair_rows
from sparsity_lab.measure.neurons.rows import ALL, Row
from sparsity_lab.measure.neurons.tables import identity, write_records, write_rows
from sparsity_lab.measure.neurons.watching import Watched
from sparsity_lab.store.arrays import Sealed
from sparsity_lab.store.table_columns import frequency as columns

OF_RECORDS = {
    "layer_rows": columns.NEURONS,
    "chunk_rows": columns.CHUNKS,
    "parameter_rows": columns.PARAMETERS,
    "decode_rows": columns.DECODE,
    "expert_rows": columns.EXPERTS,
    "expert_layer_rows": columns.EXPERT_LAYERS,
    "expert_chunk_rows": columns.EXPERT_CHUNKS,
    "expert_routing_rows": columns.EXPERT_ROUTING,
}
DECADES, PER_DECADE = 5, 8
EDGES = (0.0, *(float(edge) for edge in 10 ** (np.arange(-DECADES * PER_DECADE, 1) / PER_DECADE)))


def write_tables(output: Path, watched: Watched, *, seed: int) -> None:
    """Write every table of a run.

    Args:
        output: the folder.
        watched: records, model by model and text by text, and what failed.
        seed: of the bootstrap over token ids.
    """
    sealed = watched.records
    write_records(output, watched, OF_RECORDS, main=columns.NEURONS)
    for table, rows_of in (
        (columns.TOKENS, token_rows),
        (columns.POSITIONS, position_rows),
        (columns.FREQUENCY, frequency_rows),
    ):
        write_rows(output, table, (row for record in sealed for row in rows_of(record)))
    write_rows(output, columns.TOKEN_PAIRS, pair_rows(sealed, seed=seed))


def token_rows(record: Sealed) -> Iterator[Row]:
    """One row for each token id that occurs, the most frequent first."""
    arrays, words = record.arrays, record.body["token_text"]
    for index in np.argsort(-arrays["token_count"], kind="stable"):
        error = float(arrays["token_ratio_se"][index])
        yield {
            **identity(record.body),
            "token_id": int(arrays["token_ids"][index]),
            "token": words[index],
            "count": int(arrays["token_count"][index]),
            "activation_ratio": float(arrays["token_ratio"][index]),
            "activation_ratio_se": error if np.isfinite(error) else None,
        }


def position_rows(record: Sealed) -> Iterator[Row]:
    """One row for each position of the window."""
    values = zip(record.arrays["position_ratio"], record.arrays["position_ratio_se"], strict=True)
    for position, (ratio, error) in enumerate(values):
        yield {**identity(record.body), "position": position,
               "activation_ratio": float(ratio), "activation_ratio_se": float(error)}  # fmt: skip


def frequency_rows(record: Sealed) -> Iterator[Row]:
    """How many neurons fire how often: those that never do, then log-spaced bins (low, high]; empty bins left out."""
    by_layer = frequencies(record)
    for layer, values in ((ALL, np.concatenate(by_layer)), *enumerate(by_layer)):
        counted = histogram(values, EDGES)
        for index in np.flatnonzero(counted):
            yield {
                **identity(record.body),
                "layer": layer,
                "low": EDGES[index - 1] if index else 0.0,
                "high": EDGES[index],
                "neurons": int(counted[index]),
                "share": float(counted[index] / len(values)),
            }
