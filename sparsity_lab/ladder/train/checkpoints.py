"""Checkpoint directories: what they are called, when they count, and where a killed run takes up again.

The trainer writes `checkpoint-123`; only when everything is in it and on the disk is it renamed to
`step-000123`. So a directory of that name is whole whatever was killed when, and the names sort. Optimizer
state is kept in the newest one alone: a ladder is read for its weights. `sparsity_lab.json` in each holds
the exact number of trained tokens.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store.records import write_json
from sparsity_lab.store.whole_files import writing

ABOUT = "sparsity_lab.json"
_STEP = re.compile(r"step-(\d+)")
_RESUME = re.compile(r"resume-(\d+)")
_OPTIMIZER_FILES = (
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "optimizer_*",
)


def step_name(step: int) -> str:
    """The directory of a step, as `step-000123`."""
    return f"step-{step:06d}"


def finished(run: Path) -> dict[int, Path]:
    """Step -> directory of the whole checkpoints of a run, ascending."""
    return _numbered(run, _STEP)


def resume_point(run: Path) -> Path | None:
    """The newest directory from which a killed run can resume, or None where it starts over."""
    points = {**_numbered(run, _STEP), **_numbered(run, _RESUME)}
    able = [step for step, path in points.items() if (path / "scheduler.pt").exists()]
    return points[max(able)] if able else None


def clear_halves(run: Path) -> None:
    """Remove what a kill left half-written."""
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)


def finalise(written: Path, *, about: Mapping[str, object], passing: bool = False) -> Path:
    """Complete a directory the trainer wrote and give it its name; older optimizer states are dropped.

    Args:
        written: `checkpoint-N` of the trainer.
        about: content of `sparsity_lab.json`; holds `step`.
        passing: name it `resume-N`, a point to take up again from that the next one replaces.

    Raises:
        SparsityLabError: the disk is full or cannot be written.
    """
    # A pickle of the trainer's arguments: it holds absolute paths, and nothing reads it.
    (written / "training_args.bin").unlink(missing_ok=True)
    _allow_cache(written / "config.json")
    write_json(written / ABOUT, dict(about))
    for weights in written.glob("*.safetensors"):  # safetensors makes them readable by the owner alone
        weights.chmod(stat.S_IMODE((written / ABOUT).stat().st_mode))
    step = int(str(about["step"]))
    final = written.with_name(f"resume-{step:06d}" if passing else step_name(step))
    with writing(final):
        _flush(written)
        if final.exists():
            shutil.rmtree(final)
        written.rename(final)
    _drop_older(final)
    return final


def drop_optimizer(checkpoint: Path) -> None:
    """Remove what only resuming needs."""
    for pattern in _OPTIMIZER_FILES:
        for path in checkpoint.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def complete(run: Path, *, last_step: int) -> bool:
    """Whether the run has its last checkpoint."""
    return last_step in finished(run)


def clear_resume_state(run: Path) -> None:
    """Drop every optimizer state of a finished run."""
    for path in finished(run).values():
        drop_optimizer(path)
    for path in _numbered(run, _RESUME).values():
        shutil.rmtree(path)


def read_about(checkpoint: Path) -> dict[str, object]:
    """What `sparsity_lab.json` of a checkpoint says.

    Raises:
        SparsityLabError: it is not there, not JSON or not complete.
    """
    fix = f"Restore the file, or remove {checkpoint.parent} to train the run again"
    return read_object(checkpoint / ABOUT, fix=fix, shape={"step": int, "trained_tokens": int})


def _allow_cache(config: Path) -> None:
    """The trainer turns the key-value cache off; who loads the checkpoint to generate wants it."""
    content = read_object(config, fix="Run the same command again")
    write_json(config, {**content, "use_cache": True})


def _drop_older(newest: Path) -> None:
    for path in finished(newest.parent).values():
        if path != newest:
            drop_optimizer(path)
    for path in _numbered(newest.parent, _RESUME).values():
        if path != newest:
            shutil.rmtree(path)


def _numbered(run: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    numbered = {int(match[1]): path for path in run.glob("*-*") if (match := pattern.fullmatch(path.name))}
    return dict(sorted(numbered.items()))


def _flush(folder: Path) -> None:
    """Force the directory's files to the disk, so that the rename never outruns them."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
