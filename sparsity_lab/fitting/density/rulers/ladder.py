"""Reference runs with losses and scores along training, as a table of checkpoints.

Columns: `run`, `params`, `tokens` (counts), optionally `role` (`reference` or `target`) and `family`, and for each task
a loss `TASK_bpb` (bits per byte of the gold answer) or `TASK_nats` (nats per token) and a score `TASK_acc` (0 to 1). A
task without a loss of its own takes `validation_nats`, the loss on a validation text in nats per token. One row a
checkpoint, in order of tokens; a table with one row a run has no smoothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.laws._law import Array
from sparsity_lab.reading.csv_rows import CsvRow, filled, read_rows
from sparsity_lab.registry import unknown

LOSS_UNITS = {"_bpb": "bits per byte of the gold answer", "_nats": "nats per token of the gold answer"}
SMOOTHED_CHECKPOINTS = 5
SKIPPED_SHARE = 0.1
FEWEST_TOKENS, MOST_TOKENS = 1e4, 1e16
LEAST_LOSS = 1e-9
ROLES = ("reference", "target")
VALIDATION, VALIDATION_UNIT = "validation_nats", "nats per token of a validation text"


@dataclass(frozen=True)
class Run:
    """One run: `params` (count), `tokens` at its end, and per task losses and scores of each checkpoint.

    `identity` is all that tells it from other runs, where that is more than its name; `family` is empty where the table
    has none.
    """

    name: str
    role: str
    params: float
    tokens: float
    losses: dict[str, Array]
    scores: dict[str, Array]
    identity: str = ""
    family: str = ""

    def final_loss(self, task: str) -> float:
        """Mean loss of the last five checkpoints."""
        return float(np.mean(self.losses[task][-SMOOTHED_CHECKPOINTS:]))

    def final_score(self, task: str) -> float:
        """Mean score of the last five checkpoints."""
        return float(np.mean(self.scores[task][-SMOOTHED_CHECKPOINTS:]))

    def smoothed(self, task: str) -> tuple[Array, Array]:
        """Losses and scores after the first tenth of the run, running means of five checkpoints."""
        skipped = int(np.ceil(SKIPPED_SHARE * len(self.losses[task]))) if len(self.losses[task]) > 1 else 0
        return running_mean(self.losses[task][skipped:]), running_mean(self.scores[task][skipped:])


@dataclass(frozen=True)
class Ladder:
    """Runs and tasks; `units` is the unit of each task's loss."""

    runs: tuple[Run, ...]
    tasks: tuple[str, ...]
    units: dict[str, str]

    @property
    def references(self) -> tuple[Run, ...]:
        """The runs a ruler is made of."""
        return tuple(run for run in self.runs if run.role != "target")

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the runs, where the table states them."""
        return tuple(sorted({run.family for run in self.runs} - {""}))

    def run(self, name: str) -> Run:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)


def of_family(ladder: Ladder, wanted: str | None, path: Path) -> Ladder:
    """The runs of the family asked for, or of the only one there is; all of them where the table states none.

    Raises:
        SparsityLabError: no such family, or several and none is named.
    """
    if not ladder.families and wanted is None:
        return ladder
    if not ladder.families:
        raise SparsityLabError(f"The runs of the ladder {path} have no family", fix="Leave --family out")
    family = family_named(wanted, ladder.families, path)
    return replace(ladder, runs=tuple(run for run in ladder.runs if run.family == family))


def family_named(wanted: str | None, families: Sequence[str], path: Path) -> str:
    """The family asked for, or the only one.

    Raises:
        SparsityLabError: several families and none is named, or no such family.
    """
    if wanted is not None and wanted not in families:
        raise unknown(wanted, kind="family", known=families)
    if wanted is not None or len(families) == 1:
        return wanted or families[0]
    raise SparsityLabError(
        f"{path} holds {len(families)} families" + (f": {', '.join(families)}" if families else ""),
        fix="Name one with --family",
    )


def smoothed_points(task: str, runs: Sequence[Run]) -> tuple[Array, Array]:
    """Smoothed losses and scores of several runs, one run after the other."""
    losses, scores = zip(*(run.smoothed(task) for run in runs), strict=True)
    return np.concatenate(losses), np.concatenate(scores)


def running_mean(values: Array, width: int = SMOOTHED_CHECKPOINTS) -> Array:
    """Mean of each value and up to four before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - width, 0)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins))


def is_ladder(header: Sequence[str]) -> bool:
    """Whether a table is one of runs rather than of models."""
    return "run" in header and "model" not in header


def read_ladder(path: Path, *, notes: Notes | None = None) -> Ladder:
    """Read a table of checkpoints; columns that are left out become notes.

    Raises:
        SparsityLabError: unreadable, no task with a loss and a score, or a cell that cannot be right.
    """
    rows = read_rows(path, needed=("run", "params", "tokens"))
    losses = [(name.removesuffix(end), end) for name in rows[0] for end in LOSS_UNITS if name.endswith(end)]
    suffix_of = dict(losses)
    if len(suffix_of) < len(losses):
        twice = next(task for task, _ in losses if [task for task, _ in losses].count(task) > 1)
        raise SparsityLabError(
            f"{path} has the loss of {twice} in two units", fix=f"Keep {twice}_bpb or {twice}_nats"
        )
    scored = [name.removesuffix("_acc") for name in rows[0] if name.endswith("_acc")]
    column_of = {task: f"{task}{end}" for task, end in suffix_of.items() if task in scored}
    if VALIDATION in rows[0]:
        column_of |= {task: VALIDATION for task in scored if task not in column_of}
    if not column_of:
        raise SparsityLabError(
            f"{path} has no task with a loss and a score",
            fix=f"Give each task a column TASK_bpb or TASK_nats and a column TASK_acc, or all of them {VALIDATION}",
        )
    tasks = tuple(column_of)
    read = {
        "run",
        "role",
        "family",
        "params",
        "tokens",
        *column_of.values(),
        *(f"{task}_acc" for task in tasks),
    }
    if notes is not None:
        notes.add(f"units in {path}: params and tokens (counts), scores (fractions of 1)")
    if notes is not None and (unread := [name for name in rows[0] if name not in read]):
        notes.add(f"columns of {path} that are not read: {', '.join(unread)}")
    grouped: dict[str, list[CsvRow]] = {}
    for row in rows:
        grouped.setdefault(row["run"].required(), []).append(row)
    runs = tuple(_run(name, group, column_of) for name, group in grouped.items())
    return Ladder(
        runs,
        tasks,
        {t: VALIDATION_UNIT if c == VALIDATION else LOSS_UNITS[suffix_of[t]] for t, c in column_of.items()},
    )


def _run(name: str, rows: Sequence[CsvRow], column_of: dict[str, str]) -> Run:
    """One run of its rows; `column_of` is the column of each task's loss."""
    last = rows[-1]
    roles = [cell for row in rows if (cell := filled(row, "role"))]
    for cell in roles:
        if cell.text not in ROLES or cell.text != roles[0].text:
            raise cell.error(f"{cell.text!r} is not the one role of the run {name}: {' or '.join(ROLES)}")
    tokens = [row["tokens"].number(low=FEWEST_TOKENS, high=MOST_TOKENS) for row in rows]
    for row in rows:
        if row["params"].text != last["params"].text:
            raise row["params"].error(f"The run {name} has {last['params'].text} parameters in another row")
    for row, before, after in zip(rows[1:], tokens, tokens[1:], strict=False):
        if after <= before:
            raise row["tokens"].error(
                f"The run {name} has {before:g} tokens in the row before",
                fix="Sort the rows of a run by tokens",
            )
    return Run(
        name,
        roles[0].text if roles else "reference",
        last["params"].number(low=1e3, high=1e14),
        tokens[-1],
        {
            t: np.array([row[column].number(low=LEAST_LOSS) for row in rows])
            for t, column in column_of.items()
        },
        {t: np.array([row[f"{t}_acc"].number(low=0, high=1) for row in rows]) for t in column_of},
        family=cell.text if (cell := filled(last, "family")) else "",
    )
