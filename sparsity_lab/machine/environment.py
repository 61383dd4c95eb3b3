"""Environment variables that hold a number or a folder: read here alone, and refused by name where they cannot be read.

A variable that is set to nothing counts as not set.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sparsity_lab.errors import SparsityLabError

THREADS = "OMP_NUM_THREADS"


def threads_asked() -> int | None:
    """Threads that `OMP_NUM_THREADS` says, None where it is not set; of OpenMP's list for nested levels the first.

    Raises:
        SparsityLabError: it is not a positive whole number, nor a list of such.
    """
    numbers = [_number(word, THREADS, least=1) for word in _said(THREADS).split(",") if _said(THREADS)]
    return numbers[0] if numbers else None


def whole_number(name: str, *, least: int) -> int | None:
    """The number in a variable, None where it is not set.

    Raises:
        SparsityLabError: it is not a whole number from `least` on.
    """
    return _number(_said(name), name, least=least) if _said(name) else None


def cache_folder() -> Path:
    """`XDG_CACHE_HOME`, or `.cache` in the user's home; the system's folder of temporary files where neither is known.

    A relative `XDG_CACHE_HOME` is passed over, as its specification says.
    """
    named = Path(_said("XDG_CACHE_HOME"))
    if named.is_absolute():
        return named
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _said(name: str) -> str:
    return os.environ.get(name, "").strip()


def _number(word: str, name: str, *, least: int) -> int:
    word = word.strip()
    if not (word.isascii() and word.isdigit()) or int(word) < least:
        raise SparsityLabError(
            f"The environment variable {name} is {os.environ[name]!r}",
            why=f"It must be a whole number of at least {least}",
            fix=f"Set it to such a number, or unset it: unset {name}",
        )
    return int(word)
