"""Brings the records of many cells together: those that exist are read, the others handed to a crew.

Cells that another driver makes are left to it and looked at again, so that drivers on one output share the work and
each ends with all of it. Records are given in the order asked for; so a table does not depend on who made what, or
when.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.cells import Cell, Desk, RunTerms
from sparsity_lab.measure.work.claims import ClaimWatch, sweep
from sparsity_lab.measure.work.dispatch import Crew, Group, OpenCell
from sparsity_lab.measure.work.launchers import ALONE, Options, check_options
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records

logger = logging.getLogger(__name__)
POLL_S = 0.5  # between looks at a cell that somebody else makes

R = TypeVar("R")
Tell = Callable[[R], None]


@dataclass(frozen=True)
class Means:
    """By which means a run is carried out; its numbers do not depend on them.

    Attributes:
        options: the launcher that hands cells to processes, and its options.
        loggers: get the values of each record.
        progress: where to report.
    """

    options: Options = ALONE
    loggers: Loggers = NO_LOGGERS
    progress: Progress = SILENT


HERE = Means()


class CellRun(Generic[R]):
    """One command's work on its cells, which may come in several rounds.

    Args:
        terms: hold for all of them.
        crew: makes those that are open.
        progress: where to report.
    """

    def __init__(self, terms: RunTerms, crew: Crew, *, progress: Progress = SILENT) -> None:
        self.terms, self.crew = terms, crew
        self.desk = Desk(terms, progress)
        self.made: set[str] = set()  # content keys
        self.failed: dict[str, SparsityLabError] = {}

    def answers(
        self, cells: Sequence[Cell[R]], *, label: str, tell: Tell[R] | None = None
    ) -> list[R | SparsityLabError]:
        """The record of each cell, in their order, or why it has none; what has no record yet is made.

        Args:
            cells: which.
            label: names the work where progress is shown.
            tell: given each cell's record once, in the cells' order, as soon as it and all before it are there.

        Raises:
            SparsityLabError: a cell cannot be made and that is to end the run, or its record not be written.
        """
        gathering = _Gathering(self, cells, tell)
        with self.desk.progress.track(label, len(cells)) as advance:
            gathering.begin(advance)
            while gathering.left:
                gathering.round()
        folder = self.terms.folder
        for cell in cells:
            sweep(folder, cell.key)
            if cell.key not in self.failed:
                cell.recipe.clear(folder, cell.key)
        return [gathering.answer(cell) for cell in cells]

    def records(self, cells: Sequence[Cell[R]], *, label: str) -> list[R]:
        """The records of cells whose failure ends the run; see `answers`."""
        answers = self.answers(cells, label=label)
        return [answer for answer in answers if not isinstance(answer, SparsityLabError)]

    def find(self, cell: Cell[R]) -> R | None:
        """The record of a cell, where there is one; under `again`, one of this run."""
        if self.terms.again and cell.key not in self.made:
            return None
        return cell.find(self.terms.folder)


@contextmanager
def cell_run(terms: RunTerms, means: Means = HERE) -> Iterator[CellRun[Any]]:
    """A run whose cells are made by the launcher that the means name.

    Raises:
        SparsityLabError: options that the launcher does not heed, a folder that cannot be written, or the launcher
            cannot begin.
    """
    options = means.options
    check_options(options)
    with records.no_empty_folders(terms.folder):
        records.prepare_output(records.prepare_output(terms.folder.parent) / terms.folder.name)
        with registry.load("launchers", options.launcher).crew(options) as crew:
            yield CellRun(terms, crew, progress=means.progress)


def command_words() -> tuple[str, ...]:
    """The words of this process's command line, which its records' provenance repeats."""
    return tuple(sys.argv[1:])


class _Gathering(Generic[R]):
    """The rounds in which the records of some cells come together."""

    def __init__(self, run: CellRun[R], cells: Sequence[Cell[R]], tell: Tell[R] | None) -> None:
        self.run, self.cells, self.tell = run, cells, tell
        self.untold = list(reversed(cells)) if tell is not None else []
        self.records: dict[str, R] = {}
        self.left: list[Cell[R]] = []
        self.watch = ClaimWatch()
        self.advance: Callable[[int], None] = lambda count: None

    def begin(self, advance: Callable[[int], None]) -> None:
        """Read the records that are there."""
        self.advance = advance
        distinct = list({cell.key: cell for cell in self.cells}.values())
        self.left = [cell for cell in distinct if not self._settled(cell)]
        for cell in distinct:
            if cell.key in self.records and cell.key not in self.run.made:
                logger.info("%s: measured before", cell)
        advance(len(self.cells) - len(self.left))
        if self.run.terms.again:
            for cell in self.left:  # parts of a run that was killed
                cell.recipe.clear(self.run.terms.folder, cell.key)
        self._tell_on()

    def round(self) -> None:
        """Hand the open cells to the crew, and take in what became of them and of those that others make."""
        groups = self._groups()
        parts = any(open_cell.whole != open_cell.cell.key for group in groups for open_cell in group)
        keys = {cell.key for cell in self.left}
        for outcome in self.run.crew.perform(self.run.desk, groups) if groups else ():
            self.run.made |= outcome.made & keys
            self.run.failed.update(outcome.failed)
            settled = keys & (outcome.made | outcome.found | outcome.failed.keys())
            keys -= settled
            self.advance(len(settled))
            self._tell_on()
        self.left = [cell for cell in self.left if not self._settled(cell)]
        self._tell_on()
        if self.left and not parts:  # somebody else is at them
            time.sleep(POLL_S)

    def answer(self, cell: Cell[R]) -> R | SparsityLabError:
        """What a cell came to; others may meanwhile have made one that failed here."""
        record = self.records.get(cell.key)
        record = self.run.find(cell) if record is None else record
        return self.run.failed[cell.key] if record is None else cell.named(record, self.run.terms.folder)

    def _settled(self, cell: Cell[R]) -> bool:
        """Whether a cell has its record or has failed."""
        if cell.key not in self.records and (record := self.run.find(cell)) is not None:
            self.records[cell.key] = record
        return cell.key in self.records or cell.key in self.run.failed

    def _tell_on(self) -> None:
        """Tell the records that are there by now, up to the first that may still come."""
        while self.untold and self._settled(self.untold[-1]):
            cell = self.untold.pop()
            if self.tell is not None and cell.key in self.records:
                self.tell(cell.named(self.records[cell.key], self.run.terms.folder))

    def _groups(self) -> list[Group]:
        """The cells that nobody is at: parts and what is made apart alone, the others by checkpoint, in order."""
        folder = self.run.terms.folder
        parts: list[Group] = []
        together: dict[tuple[Checkpoint, str], list[OpenCell]] = {}
        for cell in self.left:
            if missing := cell.missing_parts(folder):
                claims = [(part, self.watch.expired(folder, part.key)) for part in missing]
                parts += [(OpenCell(part, cell.key, e),) for part, e in claims if e is not None]
            elif (expired := self.watch.expired(folder, cell.key)) is not None:
                group = cell.checkpoint, cell.key if cell.recipe.APART else ""
                together.setdefault(group, []).append(OpenCell(cell, cell.key, expired))
        return parts + [tuple(open_cells) for open_cells in together.values()]
