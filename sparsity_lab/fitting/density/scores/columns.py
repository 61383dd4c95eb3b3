"""Which columns of a table of models hold scores, and in which unit: percent or fractions, not both.

A score above 1 must be a percentage. A table is in percent if any score is above 1; then a row, or a column
of at least three scores, that never exceeds 1 can only be fractions that slipped in. A single low score
(0.7 % on a hard task) among larger ones of the same model is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores.benchmarks import benchmark, key, same
from sparsity_lab.reading.csv_rows import CsvCell, CsvRow, filled

SIZES = {"params_b": 1e9, "params": 1.0}
PARTS = {"params_active_b": 1e9, "params_nonembedding_b": 1e9}
TOKENS = {"train_tokens_t": 1e12, "train_tokens_b": 1e9, "tokens_b": 1e9, "train_tokens": 1.0, "tokens": 1.0}
ATTRIBUTES = frozenset({
    *SIZES, *TOKENS, *PARTS, "model", "family", "release_date", "moe", "note", "date_source", "params_source",
    "tokens_source", "source", "url", "commit", "harness", "date_precision", "distilled", "distilled_source", "kind",
    "shots", "flags",
})  # fmt: skip
# A column with such a word in its name is about size, data or date, whatever else its name says.
TELLING_WORDS = frozenset(
    ["param", "params", "parameters", "token", "tokens", "date", "released", "release", "size"]
)
PERCENT, FRACTION = 100.0, 1.0


def score_columns(
    rows: Sequence[CsvRow], path: Path, *, tasks: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The columns that hold scores: those of `tasks` or of known benchmarks; and those of numbers, which may.

    Raises:
        SparsityLabError: there are none, one of them looks like a size or a date, or two are one benchmark.
    """
    names = _not_attributes(rows[0])
    asked = [name for name in names if any(same(name, task) for task in tasks or ())]
    refuse_telling_columns(path, [name for name in names if name not in asked])
    certain = asked or [name for name in names if benchmark(name).metric]
    others = [] if asked else [n for n in names if n not in certain and _mostly_numbers([r[n] for r in rows])]
    if not certain and not others:
        raise SparsityLabError(f"{path} has no column with scores", fix="Add one column a task")
    _refuse_one_benchmark_twice(path, [*certain, *others])
    return (certain, others) if certain else (others, [])


def _mostly_numbers(cells: Sequence[CsvCell]) -> bool:
    """Whether more than half of the cells that hold anything hold a number."""
    filled = [cell for cell in cells if not cell.missing]
    return sum(cell.numeric for cell in filled) > len(filled) / 2


def _not_attributes(header: Iterable[str]) -> list[str]:
    """Columns that may be tasks: not those about the model, nor a task's error or number of questions."""
    names = [name for name in header if name]
    companions = {f"{name}{end}" for name in names for end in ("_se", "_n")}
    return [name for name in names if name not in ATTRIBUTES | companions]


def refuse_telling_columns(path: Path, columns: Sequence[str]) -> None:
    """Refuse columns that by their names are about size, data or date, and are not read.

    Raises:
        SparsityLabError: names one.
    """
    for name in columns:
        if set(re.split(r"[^a-z]+", name.casefold())) & TELLING_WORDS:
            raise SparsityLabError(
                f"{path} has a column {name!r} of unknown meaning",
                why=f"Sizes, training tokens and dates are read from {', '.join((*SIZES, *TOKENS))}, "
                "params_active_b, params_nonembedding_b and release_date",
                fix="Rename it to one of these in its unit (_b: 1e9, _t: 1e12, none: a count), or remove it",
            )


def _refuse_one_benchmark_twice(path: Path, columns: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for name in columns:
        other = named.setdefault(key(benchmark(name).name), name)
        if other != name:
            raise SparsityLabError(
                f"{path} has two columns of one benchmark: {other} and {name}",
                fix="Keep one of them, or name the one to use with --tasks and remove the other",
            )


def note_columns(rows: Sequence[CsvRow], path: Path, scores: Sequence[str], notes: Notes) -> None:
    """Say the units read, the columns that were not, and which cells were taken for no score."""
    units = {1.0: "a count", 1e9: "in units of 1e9", 1e12: "in units of 1e12"}
    amounts = {**SIZES, **PARTS, **TOKENS}
    read = [f"{name} ({units[amounts[name]]})" for name in rows[0] if name in amounts]
    if read:
        notes.add(f"units in {path}: {', '.join(read)}")
    if unread := [name for name in _not_attributes(rows[0]) if name not in scores]:
        notes.add(f"columns of {path} that are not read: {', '.join(unread)}")
    if months := [row["model"].text for row in rows if (cell := row.get("release_date")) and cell.is_month]:
        notes.add(f"dates of {path} without a day are read as the 15th of the month: {listed(months)}")
    today = date.today()
    dates = [(row["model"].text, filled(row, "release_date")) for row in rows]
    if coming := [model for model, cell in dates if cell and cell.day() > today]:
        notes.add(f"{path} has release dates that are yet to come: {listed(coming)}")
    if absent := [cell for row in rows for name in scores if (cell := row[name]).missing and cell.text]:
        notes.add(f"{path}: {len(absent)} cells say {absent[0].text} and are read as no score")


def scale_of(rows: Sequence[CsvRow], *, path: Path) -> float:
    """100 for a table in percent, 1 for one in fractions.

    Raises:
        SparsityLabError: both occur; names a row or a column.
    """
    filled = [[cell for cell in row.values() if not cell.missing] for row in rows]
    if not any(filled):
        raise SparsityLabError(
            f"{path} has no scores", fix="Fill in the columns of tasks, in percent or as fractions"
        )
    if all(cell.number() <= 1 for row in filled for cell in row):
        return FRACTION
    for row in filled:
        if row and max(cell.number() for cell in row) <= 1:
            raise _mixed(row[0], f"the scores of row {row[0].row} look like fractions")
    for name in rows[0]:
        column = [row[name] for row in rows if not row[name].missing]
        if len(column) >= 3 and max(cell.number() for cell in column) <= 1:
            raise _mixed(column[0], f"the column {name} looks like fractions")
    return PERCENT


def fits(cells: Sequence[CsvCell], scale: float) -> bool:
    """Whether a column of which nobody says that it holds scores can hold some in that scale."""
    filled = [cell for cell in cells if not cell.missing]
    if not all(cell.numeric and 0 <= float(cell.text) <= scale for cell in filled):
        return False
    return scale == FRACTION or len(filled) < 3 or any(float(cell.text) > 1 for cell in filled)


def never_above_1(rows: Sequence[CsvRow], scale: float) -> list[str]:
    """Columns of a table in percent whose few scores are as low as fractions."""
    columns = {name: [row[name].number() for row in rows if not row[name].missing] for name in rows[0]}
    return [name for name, scores in columns.items() if scale == PERCENT and scores and 0 < max(scores) <= 1]


def _mixed(cell: CsvCell, what: str) -> SparsityLabError:
    return SparsityLabError(
        f"{cell.path} mixes percent with fractions: {what} ({cell.column} {cell.text}), others exceed 1",
        fix="Give all scores in percent, or all as fractions",
    )
