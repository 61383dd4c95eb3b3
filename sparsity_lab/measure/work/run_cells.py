"""Brings the records of many cells together: those that exist are read, the others handed to a crew.

Cells that another driver measures are left to it and looked at again, so that drivers on one output share the work
and each ends with all of it. Once every cell has its record, all are read in the order asked for; so a table does
not depend on who measured what, or when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sparsity_lab.measure.checkpoint.prepared import Prepared, named_of
from sparsity_lab.measure.search.part import WindowSpan
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.work.cells import POLL_S, Bench
from sparsity_lab.measure.work.claims import ClaimWatch, sweep
from sparsity_lab.measure.work.dispatch import Crew, Group, Open
from sparsity_lab.measure.work.failures import Lost
from sparsity_lab.measure.work.shards import has_part, remove_parts

Cell = tuple[Prepared | Lost, Setting]
_Ready = tuple[Prepared, Setting]


Tell = Callable[[dict[str, Any]], None]


def gather(
    bench: Bench, cells: Sequence[Cell], *, crew: Crew, label: str, tell: Tell | None = None
) -> list[dict[str, Any]]:
    """The records of cells, in their order; those that do not exist yet are measured.

    A cell that fails has a row that says why in the place of its record; see `failures`.

    Args:
        bench: knows the records.
        cells: checkpoints, each in a setting; those that are lost already stay so.
        crew: measures.
        label: names the work where progress is shown.
        tell: given each cell's record once, in the cells' order, as soon as it and all before it are there.

    Raises:
        SparsityLabError: a cell cannot be measured and that is to end the run, or its record not be written.
    """
    ready = [(prepared, setting) for prepared, setting in cells if isinstance(prepared, Prepared)]
    with bench.progress.track(label, len(ready)) as advance:
        distinct = {bench.key(*cell): cell for cell in ready}.values()
        left = [cell for cell in distinct if not _settled(bench, cell)]
        telling = _Telling(bench, ready, tell)

        def done(count: int) -> None:
            advance(count)
            telling.go_on()

        done(len(ready) - len(left))
        if bench.spec.again and bench.spec.text_shards > 1:  # parts of a run that was killed
            for cell in left:
                remove_parts(bench.folder, bench.key(*cell))
        _measure(bench, left, crew=crew, advance=done)
        telling.go_on()  # cells that somebody else measured
    for cell in ready:
        sweep(bench.folder, bench.key(*cell))
        if bench.spec.text_shards > 1 and bench.key(*cell) not in bench.failed:
            remove_parts(bench.folder, bench.key(*cell))
    return [bench.row(*cell) for cell in cells]


def _settled(bench: Bench, cell: _Ready) -> bool:
    """Whether a cell has its record or has failed."""
    return bench.key(*cell) in bench.failed or bench.done(*cell) is not None


class _Telling:
    """Tells records in their cells' order.

    Args:
        bench: knows the records.
        cells: in the order to tell them in.
        tell: whom; None for nobody.
    """

    def __init__(self, bench: Bench, cells: Sequence[_Ready], tell: Tell | None) -> None:
        self.bench, self.tell = bench, tell
        self.left = list(reversed(cells)) if tell is not None else []

    def go_on(self) -> None:
        """Tell those that have their records by now, up to the first that may still get one."""
        while self.left and _settled(self.bench, self.left[-1]):
            prepared, setting = self.left.pop()
            found = self.bench.done(prepared, setting)
            if found is None:  # it failed
                continue
            trained = (
                found.get("trained_tokens") if prepared.trained_tokens is None else prepared.trained_tokens
            )
            assert self.tell is not None, "else there is nothing to tell"
            self.tell({**found, **named_of(prepared).words(), "trained_tokens": trained})


def _measure(bench: Bench, left: list[_Ready], *, crew: Crew, advance: Callable[[int], None]) -> None:
    watch = ClaimWatch()
    while left:
        groups = _groups(bench, left, watch)
        parts = any(one.span is not None for group in groups for one in group.cells)
        for outcome in crew.perform(bench, groups) if groups else ():
            failed = outcome.failed.keys() - bench.failed.keys()
            bench.measured |= outcome.measured
            bench.failed.update(outcome.failed)
            advance(outcome.done + len(failed))
        left = [cell for cell in left if not _settled(bench, cell)]
        if left and not parts:  # somebody else is at them
            time.sleep(POLL_S)


def _groups(bench: Bench, cells: Sequence[_Ready], watch: ClaimWatch) -> list[Group]:
    """The cells that nobody measures, by checkpoint, in order."""
    found: dict[int, tuple[Prepared, list[Open]]] = {}
    parts: list[Group] = []
    for prepared, setting in cells:
        key = bench.key(prepared, setting)
        missing = [span for span in bench.spans(prepared) if not has_part(bench.folder, span.name(key))]
        if missing:
            parts += _parts(bench, prepared, setting, missing, watch)
            continue
        expired = watch.expired(bench.folder, key)
        if expired is not None:
            found.setdefault(id(prepared), (prepared, []))[1].append(Open(setting, key, expired))
    return parts + [Group(prepared, tuple(free)) for prepared, free in found.values()]


def _parts(
    bench: Bench, prepared: Prepared, setting: Setting, missing: Sequence[WindowSpan], watch: ClaimWatch
) -> list[Group]:
    """The parts of a cell that nobody measures, each for itself."""
    key = bench.key(prepared, setting)
    free = [(span, watch.expired(bench.folder, span.name(key))) for span in missing]
    return [
        Group(prepared, (Open(setting, key, expired, span),)) for span, expired in free if expired is not None
    ]
