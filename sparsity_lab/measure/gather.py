"""Brings the records of many cells together: those that exist are read, the others handed to a crew.

Cells that another driver measures are left to it and looked at again, so that drivers on one output share the work
and each ends with all of it. Once every cell has its record, all are read in the order asked for; so a table does
not depend on who measured what, or when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sparsity_lab.measure.cells import POLL_S, Bench, Prepared
from sparsity_lab.measure.claims import Watch, sweep
from sparsity_lab.measure.settings import Setting
from sparsity_lab.measure.tasks import Crew, Group, Open

Cell = tuple[Prepared, Setting]


def gather(bench: Bench, cells: Sequence[Cell], *, crew: Crew, label: str) -> list[dict[str, Any]]:
    """The records of cells, in their order; those that do not exist yet are measured.

    Args:
        bench: knows the records.
        cells: checkpoints, each in a setting.
        crew: measures.
        label: names the work where progress is shown.

    Raises:
        SparsityLabError: a cell cannot be measured, or its record not be written.
    """
    with bench.progress.track(label, len(cells)) as advance:
        distinct = {bench.key(*cell): cell for cell in cells}.values()
        left = [cell for cell in distinct if bench.done(*cell) is None]
        advance(len(cells) - len(left))
        _measure(bench, left, crew=crew, advance=advance)
    for cell in cells:
        sweep(bench.folder, bench.key(*cell))
    return [bench.record(*cell) for cell in cells]


def _measure(bench: Bench, left: list[Cell], *, crew: Crew, advance: Callable[[int], None]) -> None:
    watch = Watch()
    while left:
        groups = _groups(bench, left, watch)
        for outcome in crew.perform(bench, groups) if groups else ():
            bench.measured |= outcome.measured
            advance(outcome.done)
        left = [cell for cell in left if bench.done(*cell) is None]
        if left:  # somebody else is at them
            time.sleep(POLL_S)


def _groups(bench: Bench, cells: Sequence[Cell], watch: Watch) -> list[Group]:
    """The cells that nobody measures, by checkpoint, in order."""
    found: dict[int, tuple[Prepared, list[Open]]] = {}
    for prepared, setting in cells:
        key = bench.key(prepared, setting)
        expired = watch.expired(bench.folder, key)
        if expired is not None:
            found.setdefault(id(prepared), (prepared, []))[1].append(Open(setting, key, expired))
    return [Group(prepared, tuple(free)) for prepared, free in found.values()]
