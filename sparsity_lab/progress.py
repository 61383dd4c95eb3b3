"""How long work reports its progress without printing: a protocol the command line fills in.

Work below the command line takes a `Progress` and calls `track(label, total)`; the context yields a
function that takes how many units were just finished. `SILENT` is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

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
