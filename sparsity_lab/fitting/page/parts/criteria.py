"""The part of a report that puts criteria side by side: at equal perplexity, or at an equal activation ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.fitting.page.blocks import Block, Section, table
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import (
    Row,
    figure,
    fold,
    groups,
    listed,
    measured,
    reader_table,
    rows_of,
)
from sparsity_lab.store.table_columns.measured import TABLE
from sparsity_lab.store.tables import is_number

NEEDED = {"series", "criterion", "rule", "activation_ratio", "ppl_ratio"}
COLUMNS = TABLE.pick(
    "series criterion rule activation_ratio activation_ratio_se knob ppl_ratio loss_delta_se_nats flags",
    series="model",
    criterion="criterion",
    loss_delta_se_nats="± se of loss rise (nats)",
)
SWEEP = "sweep.csv"


def sections(contents: Contents) -> list[Section]:
    """One for each table of several criteria."""
    return [
        Section(f"Criteria side by side ({contents.place(path.parent)})", tuple(_blocks(contents, path)))
        for path in tables(contents) if path.name != SWEEP
    ]  # fmt: skip


def tables(contents: Contents) -> list[Path]:
    """The tables that this part shows: of several criteria, and their sweeps."""
    several = [path for path in contents.csvs if path.name == "table.csv" and _compares(rows_of(path))]
    return [path for table in several for path in (table, table.parent / SWEEP) if path in contents.csvs]


def _compares(rows: Sequence[Row]) -> bool:
    """Whether the rows are one question put to several criteria, each asked once of each checkpoint."""
    asked = [(row.get("model"), row.get("revision"), row.get("criterion")) for row in rows]
    return (
        bool(rows)
        and set(rows[0]) >= NEEDED
        and len({question[2] for question in asked}) > 2
        and len({*asked}) == len(asked)
    )


def _blocks(contents: Contents, path: Path) -> list[Block]:
    rows = rows_of(path)
    # At one ratio it is the perplexity that is compared, else the ratio at equal perplexity.
    answer = "ppl_ratio" if any(row["rule"] == "activation-ratio" for row in rows) else "activation_ratio"
    rows.sort(key=lambda row: (str(row["series"]), row[answer] if is_number(row[answer]) else float("inf")))
    blocks = listed([_best(group, answer) for group in groups(rows, "series").values()])
    blocks += reader_table("Criteria side by side", rows, COLUMNS, source=contents.relative(path))
    if path.parent / "records" not in contents.record_folders:  # else they are shown with the records
        blocks += [figure(contents, drawn) for drawn in contents.figures if drawn.parent == path.parent]
    sweep = rows_of(path.parent / SWEEP)
    if sweep:
        title = "Along each criterion's range"
        blocks.append(fold(table(title, sweep, source=contents.relative(path.parent / SWEEP))))
    return blocks


def _best(rows: Sequence[Row], answer: str) -> str:
    """Which criterion ranks first, and the rank of CETT."""
    usable = [row for row in rows if is_number(row[answer])]
    if not usable:
        return f"**{rows[0]['series']}**: no criterion has a number."
    finding = (
        "keeps the fewest neurons, "
        if answer == "activation_ratio"
        else "costs the least, a perplexity ratio of "
    )
    first, cett = usable[0], [row for row in usable if row["criterion"] == "cett"]
    beside = f"; cett {_number(cett[0], answer)}" if cett and cett[0] is not first else ""
    return (
        f"**{first['series']}**, {first['rule']}: of {len(usable)} criteria {first['criterion']} {finding}"
        f"{_number(first, answer)}{beside}."
    )


def _number(row: Row, key: str) -> str:
    """A number with its error and its flags; the error of a perplexity ratio is that of the loss rise times it."""
    error = row.get("activation_ratio_se")
    if key == "ppl_ratio":
        rise = row.get("loss_delta_se_nats")
        error = row[key] * rise if is_number(rise) else None
    return measured(row[key], error) + (f" ({row['flags']})" if row.get("flags") else "")
