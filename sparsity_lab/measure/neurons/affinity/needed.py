"""What estimates need of a record of `neurons` or `predict`; one without it is refused before anything is computed.

A hash shows that a record is as it was written, not that it was written by a version that meant the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.frequency.record import KIND as NEURONS
from sparsity_lab.measure.neurons.parameters import CONVENTIONS
from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.store.arrays import Kind

Row = Mapping[str, Any]
WORDS = ("model", "series", "name", "text", "tokenizer", "criterion", "text_sha256", "content_key")
COUNTS = ("tokens", "window")


def refuse_unlike(path: Path, body: Row, *, kind: Kind) -> None:
    """Refuse a record whose values are not of the documented kinds.

    Args:
        path: where it lies.
        body: the record, all keys of its kind there.
        kind: whose record it is.

    Raises:
        SparsityLabError: names the first key that is not; or the record is of a mixture of experts.
    """
    if body.get("expert_rows"):
        raise SparsityLabError(
            f"The record {path} is of a mixture of experts, for which no time is estimated",
            why="Dense decoding of a mixture reads only the experts chosen, not the weights of all neurons",
            fix="Leave the record out; the weights its tokens touch are in parameters.csv and chunks.csv",
        )
    odd = next(_of_neurons(body) if kind.command == NEURONS.command else _of_predict(body), None)
    if odd is not None:
        raise SparsityLabError(
            f"The record {path} does not say what a record of `sparsity-lab {kind.command}` says under {odd!r}",
            why="It was changed, or written by another version",
            fix=f"Run `sparsity-lab {kind.command}` again, and name what it writes",
        )


def _of_neurons(body: Row) -> Iterator[str]:
    yield from _of_both(body)
    yield from _odd(body, ("hidden_size", "intermediate_size"), _is_count)
    yield from _odd(body, ("activation_ratio",), _is_share)
    parameters = _rows(body, "parameter_rows", "convention")
    if sorted(str(row["convention"]) for row in parameters) != sorted(CONVENTIONS):
        yield "parameter_rows"
    for row in parameters:
        yield from _within("parameter_rows", row, shares=("ffn_share",), counts=("ffn_dense", "model_dense"))
    whole = _rows(body, "layer_rows", "layer")
    if len(whole) != 1:
        yield "layer_rows"
    for row in whole:
        yield from _within("layer_rows", row, shares=("activation_ratio", "reuse"))
    touched = tuple(f"touched_{name.replace('-', '_')}" for name in CONVENTIONS)
    chunks = _rows(body, "chunk_rows", "layer", "tokens", "cls")
    if not chunks:
        yield "chunk_rows"
    for row in chunks:
        shares = () if row["cls"] is None else touched
        yield from _within("chunk_rows", row, shares=shares, counts=("tokens",))


def _of_predict(body: Row) -> Iterator[str]:
    yield from _of_both(body)
    rows = [r for r in _rows(body, "predictor_rows", "layer", "method") if r["method"] == "predictor"]
    if not rows:
        yield "predictor_rows"
    for row in rows:
        yield from _within(
            "predictor_rows", row, shares=("recall", "precision"), counts=("rank", "parameters")
        )
        if not (_is_share(row.get("named_share")) and _is_number(row.get("budget"))):
            yield "predictor_rows"


def _of_both(body: Row) -> Iterator[str]:
    yield from _odd(body, WORDS, lambda value: isinstance(value, str))
    yield from _odd(body, ("revision",), lambda value: value is None or isinstance(value, str))
    yield from _odd(body, COUNTS, _is_count)
    yield from _odd(body, ("bos",), lambda value: isinstance(value, bool))


def _odd(row: Row, keys: Sequence[str], right: Callable[[Any], bool]) -> Iterator[str]:
    return (key for key in keys if not right(row.get(key)))


def _within(key: str, row: Row, *, shares: Sequence[str] = (), counts: Sequence[str] = ()) -> Iterator[str]:
    """The key, once for each column that is not a share with an error, or not a count."""
    wrong = [
        *_odd(row, shares, _is_share),
        *_odd(row, [f"{name}_se" for name in shares], _is_number),
        *_odd(row, counts, _is_count),
    ]
    return (key for _ in wrong)


def _rows(body: Row, key: str, *columns: str) -> list[Row]:
    """Rows of a table that all have these columns, those of all layers together; empty if it is not such a table."""
    rows = body[key] if isinstance(body[key], list) else []
    if not all(isinstance(row, dict) and row.keys() >= set(columns) for row in rows):
        return []
    return [row for row in rows if "layer" not in columns or row["layer"] == ALL]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _is_share(value: object) -> bool:
    return _is_number(value) and float(value) <= 1 + 1e-9  # type: ignore[arg-type]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
