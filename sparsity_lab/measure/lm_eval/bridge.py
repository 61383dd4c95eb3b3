"""Adapter for lm-eval: its tasks, its log output, its failures and its files."""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from traceback import walk_tb
from typing import Any

from sparsity_lab.errors import SparsityLabError, UnknownNameError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.registry import unknown
from sparsity_lab.store.records import write_bytes

BARS = threading.RLock()  # tqdm's own holds a semaphore, which a worker that is ended would leave behind
MOST_LETTERS = 400  # of what lm-eval said


def folder_name(setting: str) -> str:
    """A setting's name as a folder: PPL-1% becomes PPL-1."""
    return setting.replace(" ", "-").replace("%", "")


def save(results: dict[str, Any], *, model: str, goal: Path) -> list[Path]:
    """Let lm-eval write its files next to the output, check that it did, and move them into place whole."""
    from lm_eval.loggers import EvaluationTracker

    samples = results.pop("samples", {})
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".lm-eval-") as folder:
        tracker = EvaluationTracker(output_path=folder)
        tracker.general_config_tracker.log_experiment_args("hf", {"pretrained": model}, None, None, False)
        with quiet():
            tracker.save_results_aggregated(results=results, samples=samples)
            for task, lines in samples.items():
                tracker.save_results_samples(task_name=task, samples=lines)
        # Samples before results, so that results are never there without them.
        written = sorted((path for path in Path(folder).rglob("*") if path.is_file()), reverse=True)
        if len(written) != 1 + len(samples):
            raise SparsityLabError(
                f"lm-eval could not save its results under {goal.parent}",
                fix="Free space there, or name another --output",
            )
        moved = []
        for path in written:
            target = goal / path.parent.name / path.name
            write_bytes(target, path.read_bytes())
            moved.append(target)
    return moved


def task_manager(tasks: Sequence[str], include_path: Path | None) -> Any:
    """lm-eval's task manager, after a check that every task is known."""
    from lm_eval.tasks import TaskManager

    if include_path is not None and not include_path.is_dir():
        raise SparsityLabError(
            f"There is no folder {include_path} with task files", fix="Check --include-path"
        )
    with quiet():
        if include_path is not None:
            own = TaskManager(include_path=str(include_path), include_defaults=False)
            if set(tasks) <= set(own.all_tasks):
                return own  # reading the thousands of files that come with lm-eval takes seconds
        manager = TaskManager(include_path=None if include_path is None else str(include_path))
    for task in tasks:
        if task not in manager.all_tasks:
            error = unknown(task, kind="lm-eval task", known=sorted(manager.all_tasks))
            elsewhere = "Give the folder of its task file with --include-path"
            fix = elsewhere if error.nearest is None else f"Did you mean {error.nearest!r}?"
            raise UnknownNameError(error.what, fix=fix, nearest=error.nearest)
    return manager


@contextmanager
def explained(tasks: Sequence[str]) -> Iterator[None]:
    """Failures of task files and data sets become one paragraph; others stay bugs."""
    try:
        yield
    except (OSError, json.JSONDecodeError) as error:
        raise SparsityLabError(
            f"lm-eval cannot load the data of {', '.join(tasks)}",
            why=(str(error).splitlines() or [type(error).__name__])[0],
            fix=_data_advice(error),
        ) from error
    except Exception as error:
        if isinstance(error, SparsityLabError) or not _is_of_lm_eval(error):
            raise
        raise SparsityLabError(
            f"lm-eval cannot run {', '.join(tasks)}",
            why=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:MOST_LETTERS],
            fix="Correct the task file; `lm-eval validate --tasks NAME --include_path FOLDER` checks it alone",
        ) from error


def _is_of_lm_eval(error: Exception) -> bool:
    """Whether lm-eval raised it, or what it calls, and not the model that it calls."""
    rooms = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in walk_tb(error.__traceback__)
    ]
    return "lm_eval" in rooms and "sparsity_lab" not in rooms[rooms.index("lm_eval") :]


def _data_advice(error: Exception) -> str:
    """What to try: a local file that is missing is the task's, what else cannot be opened is the Hub's or a cache's."""
    missing = isinstance(error, FileNotFoundError) and error.errno is not None
    special = None if missing else hub.advice(error, "datasets")
    return special or "Check dataset_path and data_files of the task; offline runs need local files"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lm-eval's notes and prints off our output; its bars show on a terminal only."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar
    from tqdm import tqdm

    tqdm.set_lock(BARS)
    noisy = logging.getLogger("lm_eval")
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    disable_progress_bar()
    errors = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with redirect_stdout(errors), redirect_stderr(errors):
            yield
    finally:
        noisy.setLevel(before)
        enable_progress_bar()
