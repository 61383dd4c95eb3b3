"""The part of a report about low-rank predictors of the active neurons: what they find, and for what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.page.blocks import Block, Section
from sparsity_lab.fitting.page.cells import shown
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import (
    Row,
    command_sections,
    groups,
    measured,
    named,
    percent,
    reader_table,
    rows_of,
)
from sparsity_lab.store.columns import Column
from sparsity_lab.store.table_columns.predictors import PREDICTORS
from sparsity_lab.store.tables import is_number

RIVALS = {"frequent": "the most frequent", "last-token": "the last token's", "oracle": "an oracle"}
CAPTIONS = {
    "recall": "Recall by the share of neurons named, all layers together",
    "layers": "Recall layer by layer, at the budget in the middle",
}
NOTE = (
    "Recall: share of a token's active neurons among those named. Budget: how many are named, the same number for "
    "every token, over the mean number of active ones. `frequent`: always the most frequent; `last-token`: the last "
    "token's, filled up by frequency; `oracle`: no fixed number can do better."
)


def sections(contents: Contents) -> list[Section]:
    """One for each run of the command."""
    return command_sections(contents, "Predictors", "predictors.json", _content, CAPTIONS)


def _content(folder: Path, value: Any) -> tuple[list[str], list[Block]]:
    rows = [row for row in rows_of(folder / "predictors.csv") if row.get("layer") == "all"]
    usable = [row for row in rows if is_number(row.get("recall")) and is_number(row.get("budget"))]
    sentences = map(_best, groups(usable, "name", "text").values())
    return list(filter(None, sentences)), _recalls(usable)


def _recalls(rows: Sequence[Row]) -> list[Block]:
    """Recall of every method, the budgets side by side."""
    budgets = sorted({float(row["budget"]) for row in rows})
    lines = [
        {**group[0], "method": " ".join(filter(None, (str(group[0].get("method")), _rank(group[0])))),
         **{f"at {float(row['budget']):g}": measured(row["recall"], row.get("recall_se"), space=" ") for row in group}}
        for group in groups(rows, "name", "text", "method", "rank").values()
    ]  # fmt: skip
    columns = PREDICTORS.pick("name text method ffn_share", ffn_share="weights, of the FFN's")
    columns += tuple(Column(f"at {b:g}", heading=f"recall at budget {b:g}") for b in budgets)
    return reader_table("Recall, all layers together", lines, columns, note=NOTE)


def _rank(row: Row) -> str:
    return "" if row.get("rank") is None else f"of rank {shown(row['rank'])}"


def _best(rows: list[Row]) -> str:
    """The predictor that finds most at the smallest budget, compared with its rivals there."""
    least = min(float(row["budget"]) for row in rows)
    here = [row for row in rows if row["budget"] == least]
    trained = [row for row in here if row.get("method") == "predictor"]
    if not trained:
        return ""
    best = max(trained, key=lambda row: float(row["recall"]))
    rivals = [
        f"{name} {measured(row['recall'], row.get('recall_se'), share=True)}"
        for key, name in RIVALS.items()
        for row in here if row.get("method") == key
    ]  # fmt: skip
    beside = f"; {', '.join(rivals)}" if rivals else ""
    return (
        f"{named(best)}: at budget {shown(best['budget'])}, {percent(best.get('named_share'))} of the neurons named, a "
        f"predictor of rank {shown(best.get('rank'))} finds "
        f"{measured(best['recall'], best.get('recall_se'), share=True)} of the active ones for "
        f"{percent(best.get('ffn_share'))} of the FFN's weights{beside}."
    )
