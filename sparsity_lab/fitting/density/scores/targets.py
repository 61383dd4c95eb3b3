"""Models with their size, release date and scores, and the checks at the door.

A table has one model a row: `model`, `params_b` (1e9) or `params` (count), optionally `params_active_b`,
`params_nonembedding_b`, training tokens (`tokens`, a count; `tokens_b`; `train_tokens_t`, 1e12),
`release_date` (ISO), `moe`, `family`, `note`, and one column a task. `TASK_se` (standard error) and `TASK_n`
(questions) may follow a task's column. Scores are percent or fractions, one kind in a table; inside they are
fractions. A table with a score a row, and one with a column `harness`, are read by `harnesses.py` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores import columns, harnesses
from sparsity_lab.fitting.density.scores.amounts import amount_of, refuse_parts_above_total
from sparsity_lab.fitting.density.scores.columns import SIZES, TOKENS
from sparsity_lab.reading.csv_rows import CsvRow, filled, read_rows
from sparsity_lab.store import bundled

LARGEST_SE = 0.5


@dataclass(frozen=True)
class TaskScore:
    """One score in 0 to 1 with what is known of its error."""

    value: float
    published: tuple[float, ...] = ()
    questions: int | None = None
    se: float | None = None


@dataclass(frozen=True)
class Target:
    """One model. Sizes are counts, `tokens` the training tokens; None where unknown.

    `family_stated` is false where the family is guessed from the name; `identity` is all that a result of lm-eval
    says of the model and its setting. `harness` is what made the scores, where the table says it; `distilled` is None
    where nobody says whether the model was trained on the outputs of a larger one.
    """

    model: str
    family: str
    params: float | None
    scores: Mapping[str, TaskScore]
    released: date | None = None
    active_params: float | None = None
    nonembedding_params: float | None = None
    tokens: float | None = None
    moe: bool = False
    note: str = ""
    harness: str = ""
    distilled: bool | None = None
    where: str = field(default="", compare=False)
    family_stated: bool = field(default=True, compare=False)
    identity: str = field(default="", compare=False)

    @property
    def lineage(self) -> str:
        """The leading word of the family's name: Qwen1.5 and Qwen2.5 are both Qwen."""
        return re.match(r"[A-Za-z]*", self.family).group() or self.family  # type: ignore[union-attr]


def read_targets(
    path: Path, *, tasks: Sequence[str] | None = None, notes: Notes | None = None, harness: str | None = None,
    models: Path | None = None,
) -> list[Target]:  # fmt: skip
    """Read a table of models, or one of scores.

    Args:
        path: which.
        tasks: whose columns are read, under any of their names; None for every column of numbers.
        notes: takes units, columns left out and guessed families.
        harness: whose scores are read, where a table says which harness made them.
        models: about the models of a table of scores; None for its own columns, or the bundled models.

    Raises:
        SparsityLabError: unreadable, a needed column missing, several harnesses, or a cell that cannot be right; names
            the row.
    """
    notes = Notes() if notes is None else notes
    rows = harnesses.of_one(harnesses.rows_of(path), path, harness)
    return _read(rows, path, tasks=tasks, notes=notes, models=models)


def read_harnesses(
    path: Path,
    *,
    notes: Notes,
    tasks: Sequence[str] | None = None,
    models: Path | None = None,
    fewest: int = 1,
) -> Iterator[tuple[str, list[Target] | SparsityLabError]]:
    """Each harness of a table with its models, or with the error that they cannot be read for.

    Args:
        path: which; a table that states no harness has none.
        notes: gets what a reader must know, of all harnesses once.
        tasks: whose columns are read; of a table with a score a row, all are.
        models: about the models of a table of scores; None for its own columns, or the bundled models.
        fewest: harnesses with fewer models are passed over.

    Raises:
        SparsityLabError: the table itself is unreadable.
    """
    table = harnesses.rows_of(path)
    tasks = None if harnesses.is_long(table[0]) else tasks
    for harness, rows in harnesses.by_harness(table).items():
        if len({row["model"].text for row in rows}) >= fewest:
            try:
                yield harness, _read(rows, path, tasks=tasks, notes=notes, models=models)
            except SparsityLabError as error:
                yield harness, error


def _read(
    rows: Sequence[CsvRow], path: Path, *, tasks: Sequence[str] | None, notes: Notes, models: Path | None
) -> list[Target]:
    """The targets of rows that are of one harness, or say nothing of theirs; arguments as of `read_targets`."""
    if harnesses.is_long(rows[0]):
        rows, all_tasks = harnesses.wide(rows, path, models, notes)
        tasks = tasks or all_tasks
    if not set(rows[0]) & set(SIZES):
        raise SparsityLabError(
            f"{path} has no column for the size of its models",
            fix="Add params_b (in units of 1e9) or params (a count)",
        )
    certain, others = columns.score_columns(rows, path, tasks=tasks)
    scored = [{task: row[task] for task in certain} for row in rows]
    scale = columns.scale_of(scored, path=path)
    read = [*certain, *(n for n in others if columns.fits([row[n] for row in rows], scale))]
    targets = [_target(row, _scores(row, read, scale)) for row in rows]
    refuse_duplicates(targets, path)
    notes.add(f"the scores of {path} are {'percent' if scale == columns.PERCENT else 'fractions of 1'}")
    if low := columns.never_above_1(scored, scale):
        notes.add(f"{path}: {listed(low)} never exceed 1 and are read as percent too")
    columns.note_columns(rows, path, read, notes)
    note_guessed_families(targets, notes)
    return targets


def read_models(path: Path, *, notes: Notes | None = None) -> dict[str, Target]:
    """A table of models without scores, by name; other columns are left out.

    Raises:
        SparsityLabError: unreadable, a cell that cannot be right, or a model twice.
    """
    notes = Notes() if notes is None else notes
    rows = read_rows(path, needed=("model",))
    columns.refuse_telling_columns(path, [name for name in rows[0] if name not in columns.ATTRIBUTES])
    targets = [_target(row, {}) for row in rows]
    refuse_duplicates(targets, path)
    columns.note_columns(rows, path, [], notes)
    return {target.model: target for target in targets}


def note_guessed_families(targets: Sequence[Target], notes: Notes) -> None:
    """Say which families are only guessed from the names of models."""
    guessed = sorted({target.family for target in targets if not target.family_stated})
    if guessed:
        notes.add(f"families guessed from names: {listed(guessed)}; a column family states them")


def bundled_targets() -> list[Target]:
    """The bundled table of open base models of 2023 and 2024: of every score the preferred one of several harnesses.

    What the pooled harnesses (`density_harnesses.csv`) published of a model and task is kept beside it, as the spread
    of its sources. Models without a preferred score are those of single harnesses, which `read_targets` reads.
    """
    pooled = {row["harness"] for row in bundled.rows("density-harnesses") if row["pooled"] == "true"}
    models = harnesses.rows_of(bundled.path("density-models"))
    published: dict[tuple[str, str], list[float]] = {}
    preferred: dict[tuple[str, str], float] = {}
    for row in harnesses.rows_of(bundled.path("density-scores")):
        if row["harness"].text not in pooled:
            continue
        key = row["model"].text, row["task"].text
        published.setdefault(key, []).append(row["score"].number() / 100)
        if row["preferred"].text == "true":
            preferred[key] = row["score"].number() / 100
    scores: dict[str, dict[str, TaskScore]] = {}
    for (model, task), value in preferred.items():
        scores.setdefault(model, {})[task] = TaskScore(value, tuple(published[model, task]))
    return [_target(row, of) for row in models if (of := scores.get(row["model"].text))]


def harness_of(targets: Sequence[Target]) -> str:
    """The harness that made all scores of some models; empty where the table does not say."""
    made = {target.harness for target in targets}
    return made.pop() if len(made) == 1 else ""


def refuse_duplicates(targets: Sequence[Target], path: Path) -> None:
    """Refuse a table that names a model twice, be it with other capitals.

    Raises:
        SparsityLabError: it does; names both rows.
    """
    seen: dict[str, str] = {}
    for target in targets:
        name = target.model.casefold()
        if name in seen:
            raise SparsityLabError(
                f"{path} names the model {target.model!r} twice: {seen[name]} and {target.where}",
                fix="Keep one row a model",
            )
        seen[name] = target.where


def family_of(model: str) -> str:
    """A model's family: its name without folder, size and what follows the size."""
    return re.sub(r"[-_]v?\d+(\.\d+)?(x\d+)?[bBmM]\b.*$", "", model.rstrip("/").rsplit("/", 1)[-1])


def _target(row: CsvRow, scores: Mapping[str, TaskScore]) -> Target:
    model, family = row["model"].required(), filled(row, "family")
    refuse_parts_above_total(row)
    released, moe = filled(row, "release_date"), filled(row, "moe")
    distilled = cell if (cell := filled(row, "distilled")) and cell.text != "unknown" else None
    return Target(
        model=model,
        family=family.text if family else family_of(model),
        family_stated=family is not None,
        params=amount_of(row, SIZES),
        scores=scores,
        released=released.day() if released else None,
        active_params=amount_of(row, {"params_active_b": 1e9}),
        nonembedding_params=amount_of(row, {"params_nonembedding_b": 1e9}),
        tokens=amount_of(row, TOKENS),
        moe=moe is not None and moe.truth(),
        note=row["note"].text if "note" in row else "",
        harness=row["harness"].text if "harness" in row else "",
        distilled=distilled.truth() if distilled else None,
        where=f"row {row['model'].row}",
    )


def _scores(row: CsvRow, tasks: Sequence[str], scale: float) -> dict[str, TaskScore]:
    scores = {}
    for task in tasks:
        if not (cell := filled(row, task)):
            continue
        se, questions = (filled(row, f"{task}{end}") for end in ("_se", "_n"))
        scores[task] = TaskScore(
            cell.number(low=0.0, high=scale) / scale,
            questions=int(questions.number(low=1.0)) if questions else None,
            se=se.number(low=0.0, high=LARGEST_SE * scale) / scale if se else None,
        )
    return scores
