"""Tables whose scores say which harness made them: one harness is read at a time, and a mix is refused.

A *harness* is one way of scoring: one evaluator or one report, with the same shots for all models on a task. Scores of
two harnesses differ by tens of points for one model and task, so neither a ruler nor a trend is made of both.

A table says it in a column `harness`. It may be wide, with a model a row, or long, with a score a row: `model`,
`task`, `score` and `harness`, and where they are known `shots`, `flags` and the sources. What is known of the models
of a long table is in its own columns, in a table of models, or in the bundled one. A score with the flag
`format-failure` says that answers could not be read, and nothing of the model: it is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores.columns import SIZES
from sparsity_lab.reading.csv_rows import CsvCell, CsvRow, filled, read_rows
from sparsity_lab.registry import unknown
from sparsity_lab.store import bundled

LONG = ("model", "task", "score", "harness")
FAILURE = "format-failure"


def is_long(header: Iterable[str]) -> bool:
    """Whether a table has a score a row."""
    return set(LONG) <= set(header)


def rows_of(path: Path, *, needed: Sequence[str] = ("model",)) -> Sequence[CsvRow]:
    """The rows of a table; a bundled one, which nobody changes, is read once.

    Raises:
        SparsityLabError: as `read_rows`.
    """
    return (
        _bundled_rows(path, tuple(needed))
        if path.parent == bundled.FOLDER
        else read_rows(path, needed=needed)
    )


@cache
def _bundled_rows(path: Path, needed: tuple[str, ...]) -> tuple[CsvRow, ...]:
    return tuple(read_rows(path, needed=needed))


def by_harness(rows: Sequence[CsvRow]) -> dict[str, list[CsvRow]]:
    """The rows of each harness, in the order of the table; empty where the table does not say which made a score."""
    found: dict[str, list[CsvRow]] = {}
    for row in rows if "harness" in rows[0] else ():
        found.setdefault(row["harness"].text, []).append(row)
    return found


def of_one(rows: Sequence[CsvRow], path: Path, wanted: str | None) -> list[CsvRow]:
    """The rows of one harness; all of them where the table does not say which harness made a score.

    Raises:
        SparsityLabError: no such harness, or several and none is named; lists them with their models.
    """
    if "harness" not in rows[0]:
        if wanted is None:
            return list(rows)
        raise SparsityLabError(
            f"{path} has no column harness", fix="Leave --harness out, or add the column to the table"
        )
    made = by_harness(rows)
    models = {name: {row["model"].text for row in of} for name, of in made.items()}
    if wanted is None and len(models) > 1:
        most_first = sorted(models, key=lambda name: -len(models[name]))
        raise SparsityLabError(
            f"{path} holds scores of {len(models)} harnesses, which are not compared with one another",
            why="Harnesses give one model scores that differ by tens of points",
            fix=f"Name one with --harness; models of each: {', '.join(f'{n} {len(models[n])}' for n in most_first)}",
        )
    if wanted is not None and wanted not in models:
        raise unknown(wanted, kind="harness", known=sorted(models))
    return list(rows) if wanted is None else made[wanted]


def wide(
    rows: Sequence[CsvRow], path: Path, models: Path | None, notes: Notes
) -> tuple[list[CsvRow], tuple[str, ...]]:
    """A long table of one harness with a model a row, and its tasks.

    Args:
        rows: of one harness.
        path: of the table.
        models: a table about its models; None for the columns of the long table itself, or the bundled models.
        notes: takes which scores are left out.

    Raises:
        SparsityLabError: a score twice, a task with two numbers of shots, or a model that nothing is known of.
    """
    failed = [row for row in rows if FAILURE in _flags(row)]
    if failed:
        cells = [f"{row['model'].text} on {row['task'].text}" for row in failed]
        notes.add(f"left out, since the answers could not be read: {listed(cells)} (flag {FAILURE})")
    kept = [row for row in rows if FAILURE not in _flags(row)]
    _refuse_twice(kept)
    _refuse_other_shots(kept)
    tasks = tuple(dict.fromkeys(row["task"].required() for row in kept))
    facts = _facts(kept, models)
    made: dict[str, dict[str, CsvCell]] = {}
    for row in kept:
        model = row["model"].required()
        if model not in facts:
            raise unknown(model, kind="model", known=sorted(facts), what=_nobody_knows(row, models))
        blank = {task: CsvCell("", path, row["model"].row, task) for task in tasks}
        about = made.setdefault(
            model, {**facts[model], "harness": row["harness"], "model": row["model"], **blank}
        )
        about[row["task"].text] = row["score"]
    return list(made.values()), tasks


def _flags(row: CsvRow) -> set[str]:
    cell = filled(row, "flags")
    return set(cell.text.split(";")) if cell else set()


def _refuse_twice(rows: Sequence[CsvRow]) -> None:
    seen: dict[tuple[str, str], CsvCell] = {}
    for row in rows:
        other = seen.setdefault((row["model"].text, row["task"].text), row["score"])
        if other is not row["score"]:
            raise row["score"].error(
                f"{row['harness'].text} has a score of {row['model'].text} on {row['task'].text} in row {other.row}",
                fix="Keep one of them, or call one harness otherwise",
            )


def _refuse_other_shots(rows: Sequence[CsvRow]) -> None:
    first: dict[str, CsvCell] = {}
    for row in rows:
        if shots := filled(row, "shots"):
            other = first.setdefault(row["task"].text, shots)
            if other.text != shots.text:
                raise shots.error(
                    f"{row['harness'].text} scores {row['task'].text} with {shots.text} shots here and with "
                    f"{other.text} in row {other.row}",
                    fix="Scores with other shots are of another harness; call it otherwise",
                )


def _facts(rows: Sequence[CsvRow], models: Path | None) -> Mapping[str, CsvRow]:
    """What is known of the models, by name, without any score."""
    if models is None and set(rows[0]) & set(SIZES):
        other = {*LONG, "shots", "flags", "source", "url", "commit", "note", "preferred"}
        return {row["model"].text: {n: c for n, c in row.items() if n not in other} for row in rows}
    table = rows_of(bundled.table(models or "density-models"))
    twice = [name for name, times in Counter(row["model"].text for row in table).items() if times > 1]
    if twice:
        raise SparsityLabError(f"{models} has two rows for the model {twice[0]}", fix="Keep one of them")
    return {row["model"].text: row for row in table}


def _nobody_knows(row: CsvRow, models: Path | None) -> str:
    table = models or "the bundled table of models"
    return f"{row['model'].path}, row {row['model'].row}: {table} has no model {row['model'].text!r}"
