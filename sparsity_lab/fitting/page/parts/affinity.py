"""The part of a report about decoding: bytes read under each convention, ideal speed-ups, and those timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.page.blocks import Block, Fold, Prose, Section, table
from sparsity_lab.fitting.page.cells import whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import (
    Row,
    command_sections,
    groups,
    measured,
    named,
    reader_table,
)
from sparsity_lab.store.table_columns.affinity import BREAK_EVEN, DECODE, PRODUCTS, TRAFFIC
from sparsity_lab.store.tables import interval

IN_WORDS = ("output-side", "oracle")  # conventions in words, at one token a pass
READ = TRAFFIC.for_readers(
    recall_se="± se (recall)",
    ffn_share_se="± se (share)",
    ffn_speedup_se="± se (FFN)",
    model_speedup_se="± se (model)",
)
OF_PRODUCTS = PRODUCTS.pick(
    "name text what F d activation_ratio dense_seconds sparse_seconds ratio ratio_low ratio_high ideal "
    "efficiency",
    dense_seconds="dense (s)",
    sparse_seconds="sparse (s)",
)
OF_DECODE = DECODE.for_readers(dense_seconds="dense (s a token)", sparse_seconds="sparse (s a token)")
TIMED = {
    PRODUCTS.name: ("Products timed", OF_PRODUCTS),
    BREAK_EVEN.name: ("Where a sparse product begins to pay", BREAK_EVEN.for_readers()),
    DECODE.name: ("Decoding timed", OF_DECODE),
}
CAPTIONS = {
    "affinity": "Decoding speed-up at batch 1: ideal by the bytes read under each convention, and timed",
    "affinity_products": "Speed-up of the down projection by sparse_down as timed, by activation ratio",
}
NOTE = "Ideal speed-ups are upper bounds under the assumptions below; L tokens are decoded by one pass."


def sections(contents: Contents) -> list[Section]:
    """One for each run of the command."""
    return command_sections(contents, "Decoding", "affinity.json", _content, CAPTIONS)


def _content(folder: Path, value: Mapping[str, Any]) -> tuple[list[str], list[Block]]:
    single = [row for row in value.get("affinity", []) if row.get("tokens") == 1]
    blocks = reader_table("Bytes read and ideal speed-ups, one token a pass", single, READ, note=NOTE)
    for key, (title, columns) in TIMED.items():
        blocks += reader_table(title, value.get(key, []), columns)
    if assumptions := value.get("assumptions"):
        blocks.append(Fold("Assumptions", (Prose(tuple(assumptions), listed=True),)))
    if machines := value.get("timed_on"):
        blocks.append(Fold("Where it was timed", (table("Where it was timed", machines),)))
    return [*_estimated(single), *map(_decoded, value.get("affinity_decode", []))], blocks


def _estimated(rows: Sequence[Row]) -> list[str]:
    sentences = []
    for group in groups(rows, "name", "text").values():
        chosen = [row for name in IN_WORDS for row in group if row.get("convention") == name]
        sentences += [f"{named(group[0])}: {'; '.join(map(_read, chosen))}."] if chosen else []
    return sentences


def _read(row: Row) -> str:
    share = measured(row.get("ffn_share"), row.get("ffn_share_se"), share=True)
    ideal = measured(row.get("model_speedup"), row.get("model_speedup_se"))
    return f"{row['convention']} reads {share} of the FFN's bytes, an ideal speed-up of the whole model of {ideal}"


def _decoded(row: Row) -> str:
    timed = interval(row.get("ratio"), row.get("ratio_low"), row.get("ratio_high"))
    return f"{named(row)}: decoding as timed ran at {timed} times the dense speed; ideal is {whole(row.get('ideal'))}."
