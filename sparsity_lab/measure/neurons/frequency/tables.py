"""The tables of a run, each as CSV with every number and, for readers, as Markdown.

neurons      activation, frequency, reuse: model, text, layer
chunks       CLS_L, aggregated sparsity, weights touched: model, text, layer, tokens
parameters   activated parameters: model, text, convention
decode       reading against writing: model, text, layer
tokens, positions, frequency, token_pairs     by token id, by position, histogram of neurons, pairs of models
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.measure.neurons.estimates import histogram
from sparsity_lab.measure.neurons.frequency.columns import (
    CHUNK_COLUMNS,
    DECODE_COLUMNS,
    FREQUENCY_COLUMNS,
    IDENTITY,
    LAYER_COLUMNS,
    PAIR_COLUMNS,
    PARAMETER_COLUMNS,
    POSITION_COLUMNS,
    READER,
    TOKEN_COLUMNS,
    columns,
)
from sparsity_lab.measure.neurons.frequency.record import frequencies
from sparsity_lab.measure.neurons.pairs import pair_rows
from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.store import records, tables
from sparsity_lab.store.arrays import Sealed

DECADES, PER_DECADE = 5, 8
EDGES = (0.0, *(float(edge) for edge in 10 ** (np.arange(-DECADES * PER_DECADE, 1) / PER_DECADE)))


def write_tables(output: Path, found: Sequence[Sealed], *, seed: int) -> None:
    """Write every table of a run.

    Args:
        output: the folder.
        found: records, model by model and text by text.
        seed: of the bootstrap over token ids.
    """
    plans: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("neurons", "layer_rows", columns(LAYER_COLUMNS)),
        ("chunks", "chunk_rows", columns(CHUNK_COLUMNS)),
        ("parameters", "parameter_rows", columns(PARAMETER_COLUMNS, layer=False)),
        ("decode", "decode_rows", columns(DECODE_COLUMNS)),
    )
    for name, key, names in plans:
        rows = [{**_identity(one), **row} for one in found for row in one.body[key]]
        if rows:
            records.write_text(output / f"{name}.csv", tables.to_csv(rows, names))
            whole = [row for row in rows if row.get("layer", ALL) == ALL]
            records.write_text(output / f"{name}.md", tables.to_markdown(whole, READER[name]))
    for name, make, wide in (
        ("tokens", token_rows, TOKEN_COLUMNS),
        ("positions", position_rows, POSITION_COLUMNS),
        ("frequency", frequency_rows, FREQUENCY_COLUMNS),
    ):
        rows = [row for one in found for row in make(one)]
        records.write_text(output / f"{name}.csv", tables.to_csv(rows, wide))
    if pairs := pair_rows(found, seed=seed):
        tables.write_table(output / "token_pairs", pairs, PAIR_COLUMNS)


def token_rows(one: Sealed) -> Iterator[dict[str, Any]]:
    """One row for each token id that occurs, the most frequent first."""
    arrays, words = one.arrays, one.body["token_text"]
    for index in np.argsort(-arrays["token_count"], kind="stable"):
        error = float(arrays["token_ratio_se"][index])
        yield {
            **_identity(one),
            "token_id": int(arrays["token_ids"][index]),
            "token": words[index],
            "count": int(arrays["token_count"][index]),
            "activation_ratio": float(arrays["token_ratio"][index]),
            "activation_ratio_se": error if np.isfinite(error) else None,
        }


def position_rows(one: Sealed) -> Iterator[dict[str, Any]]:
    """One row for each position of the window."""
    values = zip(one.arrays["position_ratio"], one.arrays["position_ratio_se"], strict=True)
    for position, (ratio, error) in enumerate(values):
        yield {**_identity(one), "position": position,
               "activation_ratio": float(ratio), "activation_ratio_se": float(error)}  # fmt: skip


def frequency_rows(one: Sealed) -> Iterator[dict[str, Any]]:
    """How many neurons fire how often: those that never do, then log-spaced bins (low, high]; empty bins left out."""
    by_layer = frequencies(one)
    for layer, values in ((ALL, np.concatenate(by_layer)), *enumerate(by_layer)):
        counted = histogram(values, EDGES)
        for index in np.flatnonzero(counted):
            yield {**_identity(one), "layer": layer, "low": EDGES[index - 1] if index else 0.0, "high": EDGES[index],
                   "neurons": int(counted[index]), "share": float(counted[index] / len(values))}  # fmt: skip


def _identity(one: Sealed) -> dict[str, Any]:
    return {key: one.body[key] for key in IDENTITY}
