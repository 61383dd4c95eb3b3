"""Where a number came from: versions, command, time and revision of the code."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("sparsity-lab", "numpy", "scipy", "pandas", "torch", "transformers", "triton", "lm-eval")


def provenance(command: Sequence[str] | None = None, **extra: object) -> dict[str, object]:
    """Versions, platform, command, git revision and time; `extra` adds device, dtype and the like.

    `command` holds the words of the command line, where another process was given them.
    `time` is the only entry that differs between two runs of one command on one machine.
    """
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **extra,
        "command": shlex.join(["sparsity-lab", *(sys.argv[1:] if command is None else command)]),
        "git": _git_revision(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> dict[str, str]:
    return {name: found for name in PACKAGES if (found := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _git_revision() -> str | None:
    """Revision of the checkout this code runs from, `+` where it has changes; None outside one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
