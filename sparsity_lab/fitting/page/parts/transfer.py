"""The part of a report about thresholds on other texts: calibrated on (rows) by measured on (columns)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.fitting.page.blocks import Block, Section, table
from sparsity_lab.fitting.page.cells import whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import Row, fold, groups, listed, measured, rows_of
from sparsity_lab.store.tables import is_number

NAME = "transfer.csv"
NEEDED = {"calibrated_on", "measured_on", "activation_ratio", "ppl_ratio"}
MATRICES = (
    ("Activation ratio", "activation_ratio", "activation_ratio_se"),
    ("Perplexity ratio", "ppl_ratio", "ppl_ratio_se"),
)
NOTE = "± standard error over windows of the text measured on, at the thresholds given; the diagonal is of one text."


def sections(contents: Contents) -> list[Section]:
    """One for each table of a transfer."""
    return [
        Section(f"Thresholds on other texts ({contents.place(path.parent)})", tuple(_blocks(contents, path)))
        for path in tables(contents)
    ]


def tables(contents: Contents) -> list[Path]:
    """The tables that this part shows."""
    return [path for path in contents.csvs if path.name == NAME and set((rows_of(path) or [{}])[0]) >= NEEDED]


def _blocks(contents: Contents, path: Path) -> list[Block]:
    rows, blocks = rows_of(path), list[Block]()
    for cells in groups(rows, "model", "revision", "criterion", "rule").values():
        name = f"{cells[0].get('series')}, {cells[0].get('criterion')}, {cells[0].get('rule')}"
        blocks += listed(_worst(cells, name))
        texts = list(dict.fromkeys(str(row["measured_on"]) for row in cells))
        for title, key, error in MATRICES:
            lines = [
                {"on": calibrated,
                 **{str(row["measured_on"]): measured(row[key], row.get(error), space=" ") for row in group}}
                for (calibrated,), group in groups(cells, "calibrated_on").items()
            ]  # fmt: skip
            columns = {"on": "calibrated on", **{text: f"measured on {text}" for text in texts}}
            blocks.append(table(f"{title}: {name}", lines, columns, note=NOTE))
    return [*blocks, fold(table("Every cell", rows, source=contents.relative(path)))]


def _worst(rows: Sequence[Row], name: str) -> list[str]:
    """The largest perplexity ratio of thresholds from another text, compared with the text's own thresholds."""
    usable = [row for row in rows if is_number(row["ppl_ratio"]) and is_number(row["activation_ratio"])]
    foreign = [row for row in usable if row["calibrated_on"] != row["measured_on"]]
    if not foreign:
        return []
    worst = max(foreign, key=lambda row: float(row["ppl_ratio"]))
    at_home = [row for row in usable if row["calibrated_on"] == row["measured_on"] == worst["measured_on"]]
    home = measured(at_home[0]["ppl_ratio"], at_home[0].get("ppl_ratio_se")) if at_home else ""
    beside = f"; with its own {home}" if home else ""
    return [
        f"**{name}**: thresholds from {worst['calibrated_on']} raise the perplexity of {worst['measured_on']} to "
        f"{measured(worst['ppl_ratio'], worst.get('ppl_ratio_se'))} times the dense one{beside}. Activation ratios "
        f"lie from {whole(min(float(r['activation_ratio']) for r in usable))} to "
        f"{whole(max(float(r['activation_ratio']) for r in usable))}."
    ]
