"""How long work reports its progress without printing: a protocol the command line fills in.

Work below the command line takes a `Progress` and calls `track(label, total)`; the context yields a
function that takes how many units were just finished. `SILENT` is the default there. The functions for
notebooks take `progress=None`, bars in a notebook, which `chosen` turns into a `Progress`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError

Advance = Callable[[int], None]


class Progress(Protocol):
    """Anything that can show a labeled count toward a total."""

    def track(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """Show `label` until the context closes; call what it yields with units done."""
        ...


class _Silent:
    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        yield lambda done: None


SILENT: Progress = _Silent()


class TqdmBars:
    """Bars by tqdm, which suit a terminal or a notebook; each is removed when its work is done."""

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Show one bar with the count and the time left."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that widgets are missing: there is a bar of text then
            from tqdm.auto import tqdm
        with tqdm(total=total, desc=label, leave=False) as bar:
            yield lambda done: bar.update(done) and None


def chosen(progress: Progress | bool | None) -> Progress:
    """How to show progress: True for bars by tqdm, False for silence, None for bars in a notebook that has tqdm.

    Raises:
        MissingPackageError: True, and tqdm is not installed.
        SparsityLabError: something else.
    """
    if progress is True:
        extras.require("tqdm", who="progress=True")
    elif progress is None:
        progress = in_notebook() and extras.is_installed("tqdm")
    if isinstance(progress, bool):
        return TqdmBars() if progress else SILENT
    if not hasattr(progress, "track"):
        raise SparsityLabError(
            f"progress is {str(progress)[:80]!r}",
            why="It is True, False, None, or an object with a method `track`, as `sparsity_lab.progress` says",
            fix="Give True for bars",
        )
    return progress


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this Python."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
