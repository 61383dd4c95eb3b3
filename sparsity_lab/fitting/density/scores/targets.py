"""Models with their size, release date and scores, and the checks at the door.

A table has one model a row: `model`, `params_b` (1e9) or `params` (count), optionally `params_active_b`,
`params_nonembedding_b`, training tokens (`tokens`, a count; `tokens_b`; `train_tokens_t`, 1e12),
`release_date` (ISO), `moe`, `family`, `note`, and one column a task. `TASK_se` (standard error) and `TASK_n`
(questions) may follow a task's column. Scores are percent or fractions, one kind in a table; inside they are
fractions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores import score_units
from sparsity_lab.fitting.density.scores.benchmarks import benchmark, key, same
from sparsity_lab.fitting.density.scores.csv_rows import CsvCell, read_rows
from sparsity_lab.store import bundled

SIZES = {"params_b": 1e9, "params": 1.0}
PARTS = {"params_active_b": 1e9, "params_nonembedding_b": 1e9}
TOKENS = {"train_tokens_t": 1e12, "train_tokens_b": 1e9, "tokens_b": 1e9, "train_tokens": 1.0, "tokens": 1.0}
ATTRIBUTES = frozenset({
    *SIZES, *TOKENS, *PARTS, "model", "family", "release_date", "moe", "note", "date_source", "params_source",
    "tokens_source", "source", "url", "commit", "harness",
})  # fmt: skip
# A column with such a word in its name is about size, data or date, whatever else its name says.
TELLING_WORDS = frozenset(
    ["param", "params", "parameters", "token", "tokens", "date", "released", "release", "size"]
)
SMALLEST_PARAMS, LARGEST_PARAMS = 1e4, 1e14
FEWEST_TOKENS, MOST_TOKENS = 1e6, 1e15
LARGEST_SE = 0.5
SAME_AMOUNT = 0.01


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
    says of the model and its setting.
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
    where: str = field(default="", compare=False)
    family_stated: bool = field(default=True, compare=False)
    identity: str = field(default="", compare=False)

    @property
    def lineage(self) -> str:
        """The leading word of the family's name: Qwen1.5 and Qwen2.5 are both Qwen."""
        return re.match(r"[A-Za-z]*", self.family).group() or self.family  # type: ignore[union-attr]


def read_targets(
    path: Path, *, tasks: Sequence[str] | None = None, notes: Notes | None = None
) -> list[Target]:
    """Read a table of models.

    Args:
        path: which.
        tasks: whose columns are read, under any of their names; None for every column of numbers.
        notes: takes units, columns left out and guessed families.

    Raises:
        SparsityLabError: unreadable, a needed column missing, or a cell that cannot be right; names the row.
    """
    notes = Notes() if notes is None else notes
    rows = read_rows(path, needed=("model",))
    if not set(rows[0]) & set(SIZES):
        raise SparsityLabError(
            f"{path} has no column for the size of its models",
            fix="Add params_b (in units of 1e9) or params (a count)",
        )
    certain, others = _score_columns(rows, path, tasks=tasks)
    scored = [{task: row[task] for task in certain} for row in rows]
    scale = score_units.scale_of(scored, path=path)
    columns = [*certain, *(n for n in others if score_units.fits([row[n] for row in rows], scale))]
    targets = [_target(row, tasks=columns, scale=scale) for row in rows]
    refuse_duplicates(targets, path)
    notes.add(f"the scores of {path} are {'percent' if scale == score_units.PERCENT else 'fractions of 1'}")
    if low := score_units.never_above_1(scored, scale):
        notes.add(f"{path}: {listed(low)} never exceed 1 and are read as percent too")
    _note_columns(rows, path, columns, notes)
    note_guessed_families(targets, notes)
    return targets


def read_models(path: Path, *, notes: Notes | None = None) -> dict[str, Target]:
    """A table of models without scores, by name; other columns are left out.

    Raises:
        SparsityLabError: unreadable, a cell that cannot be right, or a model twice.
    """
    notes = Notes() if notes is None else notes
    rows = read_rows(path, needed=("model",))
    _refuse_telling_columns(path, [name for name in rows[0] if name not in ATTRIBUTES])
    targets = [_target(row, tasks=[], scale=1.0, scores={}) for row in rows]
    refuse_duplicates(targets, path)
    _note_columns(rows, path, [], notes)
    return {target.model: target for target in targets}


def note_guessed_families(targets: Sequence[Target], notes: Notes) -> None:
    """Say which families are only guessed from the names of models."""
    guessed = sorted({target.family for target in targets if not target.family_stated})
    if guessed:
        notes.add(f"families guessed from names: {listed(guessed)}; a column family states them")


def bundled_targets() -> list[Target]:
    """The bundled table of open base models: every published score kept, the preferred one used."""
    models = read_rows(bundled.path("density-models"), needed=("model", "params_b"))
    published: dict[tuple[str, str], list[float]] = {}
    preferred: dict[tuple[str, str], float] = {}
    for row in read_rows(bundled.path("density-scores"), needed=("model", "benchmark", "score")):
        key = row["model"].text, row["benchmark"].text
        published.setdefault(key, []).append(row["score"].number() / 100)
        if row["preferred"].text == "true":
            preferred[key] = row["score"].number() / 100
    scores: dict[str, dict[str, TaskScore]] = {}
    for (model, task), value in preferred.items():
        scores.setdefault(model, {})[task] = TaskScore(value, tuple(published[model, task]))
    return [_target(row, tasks=[], scale=100.0, scores=scores.get(row["model"].text, {})) for row in models]


def _score_columns(
    rows: Sequence[Mapping[str, CsvCell]], path: Path, *, tasks: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The columns that hold scores: those of `tasks` or of known benchmarks; and those of numbers, which may.

    Raises:
        SparsityLabError: there are none, one of them looks like a size or a date, or two are one benchmark.
    """
    names = _not_attributes(rows[0])
    asked = [name for name in names if any(same(name, task) for task in tasks or ())]
    _refuse_telling_columns(path, [name for name in names if name not in asked])
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


def _refuse_telling_columns(path: Path, columns: Sequence[str]) -> None:
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


def _note_columns(
    rows: Sequence[Mapping[str, CsvCell]], path: Path, scores: Sequence[str], notes: Notes
) -> None:
    """Say the units read, the columns that were not, and which cells were taken for no score."""
    units = {1.0: "a count", 1e9: "in units of 1e9", 1e12: "in units of 1e12"}
    amounts = {**SIZES, **PARTS, **TOKENS}
    read = [f"{name} ({units[amounts[name]]})" for name in rows[0] if name in amounts]
    if read:
        notes.add(f"units in {path}: {', '.join(read)}")
    if unread := [name for name in _not_attributes(rows[0]) if name not in scores]:
        notes.add(f"columns of {path} that are not read: {', '.join(unread)}")
    if absent := [cell for row in rows for name in scores if (cell := row[name]).missing and cell.text]:
        notes.add(f"{path}: {len(absent)} cells say {absent[0].text} and are read as no score")


def refuse_duplicates(targets: Sequence[Target], path: Path) -> None:
    """Refuse a table in which a model stands twice, be it with other capitals.

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


def _target(
    row: Mapping[str, CsvCell],
    *,
    tasks: Sequence[str],
    scale: float,
    scores: Mapping[str, TaskScore] | None = None,
) -> Target:
    model = row["model"].required()
    _refuse_parts_above_total(row)
    stated = "family" in row and not row["family"].missing
    return Target(
        model=model,
        family=row["family"].text if stated else family_of(model),
        family_stated=stated,
        params=_amount(row, SIZES, SMALLEST_PARAMS, LARGEST_PARAMS),
        scores=_scores(row, tasks, scale) if scores is None else scores,
        released=row["release_date"].day() if "release_date" in row else None,
        active_params=_amount(row, {"params_active_b": 1e9}, SMALLEST_PARAMS, LARGEST_PARAMS),
        nonembedding_params=_amount(row, {"params_nonembedding_b": 1e9}, SMALLEST_PARAMS, LARGEST_PARAMS),
        tokens=_amount(row, TOKENS, FEWEST_TOKENS, MOST_TOKENS),
        moe=row["moe"].truth() if "moe" in row else False,
        note=row["note"].text if "note" in row else "",
        where=f"row {row['model'].row}",
    )


def _refuse_parts_above_total(row: Mapping[str, CsvCell]) -> None:
    """Refuse more active or non-embedding parameters than there are in total.

    Raises:
        SparsityLabError: names the cell.
    """
    total = _amount(row, SIZES, SMALLEST_PARAMS, LARGEST_PARAMS)
    for column, unit in PARTS.items():
        part = _amount(row, {column: unit}, SMALLEST_PARAMS, LARGEST_PARAMS)
        if total and part and part > total * (1 + SAME_AMOUNT):
            raise row[column].error(
                f"{part:.4g} parameters are more than the {total:.4g} of the whole model",
                fix="Check which column is which",
            )


def _scores(row: Mapping[str, CsvCell], tasks: Sequence[str], scale: float) -> dict[str, TaskScore]:
    scores = {}
    for task in tasks:
        if row[task].missing:
            continue
        se, questions = (row.get(f"{task}{end}") for end in ("_se", "_n"))
        scores[task] = TaskScore(
            row[task].number(low=0.0, high=scale) / scale,
            questions=int(questions.number(low=1.0)) if questions and not questions.missing else None,
            se=se.number(low=0.0, high=LARGEST_SE * scale) / scale if se and not se.missing else None,
        )
    return scores


def _amount(row: Mapping[str, CsvCell], units: Mapping[str, float], low: float, high: float) -> float | None:
    """A number of parameters or tokens from whichever of the columns has it.

    Raises:
        SparsityLabError: outside the bounds, or two columns that differ; names the cell.
    """
    filled = [row[column] for column in units if column in row and not row[column].missing]
    amounts = [_scaled(cell, units[cell.column], low, high) for cell in filled]
    for cell, amount in zip(filled[1:], amounts[1:], strict=True):
        if abs(amount - amounts[0]) > SAME_AMOUNT * amounts[0]:
            raise cell.error(
                f"It means {amount:.4g}, the column {filled[0].column} {amounts[0]:.4g}",
                fix="Keep the right one",
            )
    return amounts[0] if amounts else None


def _scaled(cell: CsvCell, unit: float, low: float, high: float) -> float:
    value = cell.number() * unit
    if not low <= value <= high:
        kind = "tokens" if cell.column in TOKENS else "parameters"
        raise cell.error(
            f"{cell.text} means {value:.3g} {kind}",
            fix=f"Give the column {cell.column} in units of {unit:g}"
            if unit != 1
            else "Give a plain count, as 7e9",
        )
    return value
