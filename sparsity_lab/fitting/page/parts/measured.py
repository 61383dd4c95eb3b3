"""The part of a report about what was measured: every record, layer by layer, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.blocks import (
    Block,
    Facts,
    Fold,
    Heading,
    Section,
    Table,
    table,
    without_constants,
)
from sparsity_lab.fitting.page.cells import read_csv, shown
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import figure
from sparsity_lab.reading.csv_file import MEASURED, has_failed
from sparsity_lab.store.columns import Column
from sparsity_lab.store.table_columns.measured import TABLE

COLUMNS = (
    Column("checkpoint", heading="checkpoint", format="record"),
    *TABLE.pick(
        "series criterion compat rule knob",
        series="series",
        criterion="criterion",
        compat="algorithm reproduced",
    ),
    Column("target", heading="PPL rise asked"),
    *TABLE.pick("activation_ratio activation_ratio_se"),
    Column("activation_ratio_per_layer", heading="by layer", format="strip"),
    *TABLE.pick(
        "ppl_dense ppl_ratio loss_delta_se_nats flags trained_tokens params_nonembedding tokens",
        loss_delta_se_nats="± se of loss rise (nats)",
        params_nonembedding="parameters less embeddings",
        tokens="text tokens",
    ),
    Column("origin", heading="origin"),
)
FAILED_IN = ("table.csv", "transfer.csv")
FAILED_COLUMNS = {
    "checkpoint": "checkpoint", "series": "series", "criterion": "criterion", "rule": "rule", "failed": "reason",
    "table": "table",
}  # fmt: skip
FAILED_NOTE = (
    "They have no record and no number, and no fit takes them in; the same command tries them again."
)
NOTE = (
    "Activation ratios are counted in the sparse run. A strip shows the ratio of each layer, input side first, on a "
    "scale from 0 to the largest here. A checkpoint's name opens its whole record. Rules are different quantities and "
    "no fit mixes them: `fixed` at a knob given, `ppl-increase` at a knob of its own that raises perplexity as asked, "
    "`series` at one knob for a whole run, `activation-ratio` at a ratio given, `thresholds` with another record's."
)


def section(contents: Contents) -> Section | None:
    """Records, their provenance and their figures; None if nothing was measured."""
    failed = _failed(contents)
    if not contents.records:
        return Section("Measured", tuple(failed)) if failed else None
    origins = _origins(contents.records)
    rows = [_row(record, origins) for record in contents.records.values()]
    rows.sort(key=lambda row: (str(row["series"]), str(row["criterion"]), str(row["rule"]),
                               row["trained_tokens"] or 0, str(row["checkpoint"])))  # fmt: skip
    records = without_constants(Table("Records", COLUMNS, tuple(rows), note=NOTE))
    return Section(
        "Measured",
        (_without_empty(records), *failed, *_figures(contents), *_provenance(contents.records, origins)),
    )


def holds(contents: Contents, csv: Path) -> bool:
    """Whether every row of a table is a record that is shown anyway, or of a checkpoint that failed."""
    header, rows = read_csv(csv)
    if MEASURED not in header or not rows:
        return False
    keys = contents.record_folders.get(csv.parent / "records", [])
    return {row[MEASURED] for row in rows if not has_failed(row)} <= set(keys)


def failed_rows(contents: Contents) -> list[dict[str, Any]]:
    """The rows of checkpoints that failed, in all tables of `measure`, each with the `table` it is in."""
    rows = []
    for path in contents.csvs:
        if path.name in FAILED_IN:
            with suppress(SparsityLabError):  # said where the whole table is shown
                rows += [
                    {**row, "table": contents.relative(path)} for row in read_csv(path)[1] if has_failed(row)
                ]
    return rows


def _failed(contents: Contents) -> list[Block]:
    """The checkpoints that failed, with the reasons; nothing where there are none."""
    rows = [{**row, "checkpoint": name_of(row)} for row in failed_rows(contents)]
    return [table("Checkpoints that failed", rows, FAILED_COLUMNS, note=FAILED_NOTE)] if rows else []


def name_of(record: Mapping[str, Any]) -> str:
    """A checkpoint's name: the last part of where it lies, with its revision."""
    name = Path(str(record["model"])).name or str(record["model"])
    return f"{name}@{record['revision']}" if record.get("revision") else name


def _without_empty(table: Table) -> Table:
    """The table less what says nothing: empty columns, and the series where it is the checkpoint's name."""
    alone = all(row["series"] == row["checkpoint"] for row in table.rows)
    full = tuple(
        c
        for c in table.columns
        if any(row.get(c.key) not in (None, "") for row in table.rows) and not (alone and c.key == "series")
    )
    return replace(table, columns=full)


def _row(record: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    target = record.get("ppl_increase_target")
    return {
        **record,
        "checkpoint": name_of(record),
        "target": None if target is None else f"{100 * target:g} %",
        "flags": " ".join(record.get("flags") or []),
        "origin": origins[_origin(record)],
    }


def _figures(contents: Contents) -> list[Block]:
    folders = {folder.parent for folder in contents.record_folders}
    return [
        figure(contents, path)
        for path in contents.figures
        if path.parent in folders and path.parent != contents.root / "plots"
    ]


OPEN_ORIGINS = 2
ORIGIN_KEYS = ("versions", "python", "platform", "device", "dtype", "dtype_reason", "command", "git")


def _origin(record: Mapping[str, Any]) -> str:
    provenance = record.get("provenance") or {}
    return repr([provenance.get(key) for key in ORIGIN_KEYS])


def _origins(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A short name for each way records came about; what differs within one is the time alone."""
    different = dict.fromkeys(_origin(record) for record in records.values())
    return {origin: f"P{number}" for number, origin in enumerate(different, start=1)}


def _provenance(records: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> Iterator[Block]:
    """Where the records come from; what they share is said once."""
    yield Heading("Provenance of the records")
    for origin, name in origins.items():
        alike = [record for record in records.values() if _origin(record) == origin]
        word = "record" if len(alike) == 1 else "records"
        yield Fold(f"{name}: {len(alike)} {word}", (_facts(alike),), open=len(origins) <= OPEN_ORIGINS)


def _facts(records: Sequence[Mapping[str, Any]]) -> Facts:
    provenance = records[0].get("provenance") or {}
    times = sorted(str((r.get("provenance") or {}).get("time")) for r in records)
    hashes = tuple(sorted({str(r.get("text_sha256")) for r in records}))
    pairs = [
        (key.replace("_", " "), shown(provenance[key]))
        for key in ORIGIN_KEYS
        if provenance.get(key) is not None
    ]
    pairs += [("written", times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}")]
    return Facts((*pairs, ("sha256 of the text's tokens", ", ".join(hashes))))
