"""Checkpoints that cannot be measured: one of them does not end a run of many.

A failure is kept as a row of the run's table and nowhere else. It has no record, so the same command tries it again,
and the row of a later success takes its place.
"""

from __future__ import annotations

import gc
import logging
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import torch

from sparsity_lab.errors import REPORT_FIX, RunError, SparsityLabError
from sparsity_lab.labels import called
from sparsity_lab.measure.model.halving import is_out_of_memory
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.record import Named
from sparsity_lab.store import records

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

FAILED = "failed"  # the key of a row, and the column of a table, that says why there is no number
MOST_LETTERS = 300  # of what a library said
CELL_LETTERS = 100  # of a reason in a table for readers


@dataclass(frozen=True)
class Lost:
    """A checkpoint that cannot be measured at all.

    Attributes:
        checkpoint: which one.
        error: why.
    """

    checkpoint: Checkpoint
    error: SparsityLabError


def together(spec: MeasureSpec, checkpoints: Sequence[Checkpoint]) -> tuple[MeasureSpec, list[Checkpoint]]:
    """The settings and checkpoints of one run: alone, a checkpoint's failure is the run's.

    Where a series has several, each of them is marked as `in_series`.
    """
    series = [checkpoint.series for checkpoint in checkpoints]
    marked = [replace(one, in_series=series.count(one.series) > 1) for one in checkpoints]
    return (replace(spec, fail_fast=True) if len(marked) == 1 else spec), marked


def attempted(
    work: Callable[[Checkpoint], Result], checkpoint: Checkpoint | Lost, *, fail_fast: bool
) -> Result | Lost:
    """What the work makes of a checkpoint, or why it makes nothing; the latter never under `fail_fast`.

    Raises:
        Exception: that is to end the run; see `failure`.
    """
    if isinstance(checkpoint, Lost):
        return checkpoint
    try:
        return work(checkpoint)
    except Exception as error:
        return Lost(checkpoint, failure(error, checkpoint, fail_fast=fail_fast))


def failure(error: Exception, checkpoint: Checkpoint, *, fail_fast: bool) -> SparsityLabError:
    """Why a checkpoint failed, without the traceback, which would keep its tensors alive.

    Args:
        error: what was raised.
        checkpoint: over which one.
        fail_fast: raise it.

    Raises:
        Exception: `error` itself, where it is to end the run: under `fail_fast`, or a `RunError`.
    """
    if fail_fast or isinstance(error, RunError):
        raise error
    _say_once(str(checkpoint.source))
    found = _told(error, checkpoint)
    behind: BaseException | None = error
    while behind is not None:
        behind.__traceback__, behind = None, behind.__cause__ or behind.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


@cache
def _say_once(name: str) -> None:
    """Note that a checkpoint failed, however many cells of it do; the reasons are in the summary."""
    logger.warning("%s failed; the run goes on with the others", name)


def _told(error: Exception, checkpoint: Checkpoint) -> SparsityLabError:
    if isinstance(error, SparsityLabError):
        return error.copy()
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:MOST_LETTERS]
    if is_out_of_memory(error):
        return SparsityLabError(
            f"Memory runs out at {checkpoint.source}", why=said,
            fix="Use --dtype bfloat16, fewer --jobs, or a machine with more memory",
        )  # fmt: skip
    if isinstance(error, OSError):
        return SparsityLabError(
            f"The files of {checkpoint.source} cannot be read", why=said,
            fix="Check the files and their permissions, and run the same command again",
        )  # fmt: skip
    logger.error("An unexpected error at %s:", checkpoint.source, exc_info=error)
    return SparsityLabError(
        f"{checkpoint.source} raised an unexpected {type(error).__name__}", why=said, fix=REPORT_FIX
    )


def failed_row(
    named: Named, error: SparsityLabError, *, setting: Setting, spec: MeasureSpec
) -> dict[str, Any]:
    """The row of a cell that failed: names, settings and the reason, and no number that was measured.

    Args:
        named: the checkpoint.
        error: why.
        setting: how the knob is chosen.
        spec: the settings of the run.
    """
    return {
        **dict.fromkeys(records.RECORD_KEYS),
        **setting.said(),
        **named.words(),
        "knob": setting.knob,
        "compat": spec.compat,
        "criterion": spec.criterion,
        "flags": [],
        FAILED: error.paragraph(),
    }


def measured(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that hold numbers."""
    return [row for row in rows if not row.get(FAILED)]


def shortened(reason: str | None) -> str | None:
    """A reason at the length of a cell that readers see."""
    return reason and textwrap.shorten(reason, CELL_LETTERS, placeholder=" ...")


def reasons(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Of each checkpoint that failed, by its name: why, each reason once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.get(FAILED):
            on_hub = row["revision"] is not None or row["commit"] is not None
            name = called(row["model"], row["revision"], series="", on_hub=True) if on_hub else row["model"]
            known = found.setdefault(name, [])
            known += [] if row[FAILED] in known else [row[FAILED]]
    return found


def tell(
    rows: Sequence[dict[str, Any]], *, total: int, table: str = "the table", what: str = "checkpoints"
) -> None:
    """One summary of what failed, an error in the log; nothing where nothing did.

    Args:
        rows: of the run, `failed_row`s among them.
        total: checkpoints of the run.
        table: what marks their rows.
        what: they are, if not checkpoints.
    """
    found = reasons(rows)
    if not found:
        return
    whole = not measured(rows)
    count = f"All {total} {what} failed" if whole else f"{len(found)} of {total} {what} failed"
    lines = [
        f"  {name}: {' '.join(one.removeprefix(f'{name}: ') for one in why)}" for name, why in found.items()
    ]
    head = f"{count}. Their rows in {table} are marked, and the same command tries them again:"
    logger.error("%s", "\n".join([head, *lines]))
