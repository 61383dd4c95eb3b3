"""Progress bars on stderr; none where stderr is not a terminal that can redraw a line.

Pipes, files, `TERM=dumb` and the cells of a notebook get no bars, as each redrawing would be a line of its own there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparsity_lab.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Rich

NOTEBOOK = (
    "JPY_PARENT_PID"  # of a notebook's kernel; what it starts with `!` gets a terminal that nobody redraws
)


class Bars:
    """Progress bars by rich, one for each tracked piece of work, an inner one below its outer, removed at its end."""

    def __init__(self) -> None:
        self.rich: Rich | None = None
        self.tracked = 0

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Show one bar with the count, the share and the time left."""
        bars = self.rich = self.rich or _rich()
        bars.start()
        self.tracked += 1
        task = bars.add_task(label, total=total)
        try:
            yield lambda done: bars.advance(task, done)
        finally:
            bars.remove_task(task)
            self.tracked -= 1
            if not self.tracked:
                bars.stop()
                self.rich = None


def _rich() -> Rich:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Rich

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Rich(*columns, console=Console(stderr=True), transient=True)


def progress() -> Progress:
    """Bars on a terminal, silence elsewhere."""
    return Bars() if redraws() else SILENT


def redraws() -> bool:
    """Whether stderr is a terminal that redraws a line in place."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown") and os.name != "nt"
    return sys.stderr.isatty() and not dumb and NOTEBOOK not in os.environ
