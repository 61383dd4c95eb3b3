"""Cell by cell: a record that is at hand is read, another is made and written at once.

What `neurons`, `structure` and `predict` have in common beside their places: none of them runs a cell twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.work.places import Place
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Kind, Sealed

logger = logging.getLogger(__name__)

SUMMARY_KEYS = ("name", "model", "revision", "text", "criterion", "knob", "ppl_increase_target", "tokens", "window",
                "content_key")  # fmt: skip


class Keyed(Protocol):
    """A place, and the content key of its record."""

    @property
    def place(self) -> Place: ...  # noqa: D102

    @property
    def key(self) -> str: ...  # noqa: D102


C = TypeVar("C", bound=Keyed)
Made = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class CellWork(Generic[C]):
    """What one command does in a cell.

    Attributes:
        kind: of its records.
        plan: every cell; weights come from the shelf given.
        make: what a record says beside its place, and its arrays.
    """

    kind: Kind
    plan: Callable[[Shelf], Sequence[C]]
    make: Callable[[C, Shelf], Made]

    def run(self, output: Path, *, watch: NeuronSpec, progress: Progress = SILENT) -> list[Sealed]:
        """One record for each cell, in `output`; those at hand are not made again.

        Raises:
            SparsityLabError: what planning or making refuses; records already written stay.
        """
        folder = output / self.kind.folder
        with records.no_empty_folders(folder):
            records.prepare_output(records.prepare_output(output) / self.kind.folder)
            shelf = Shelf(watch.architecture_file)
            cells = self.plan(shelf)
            found = []
            with progress.track(self.kind.command, len(cells)) as advance:
                for cell in cells:
                    found.append(self._record(cell, folder, shelf=shelf, seed=watch.seed))
                    advance(1)
        return found

    def _record(self, cell: C, folder: Path, *, shelf: Shelf, seed: int) -> Sealed:
        place = cell.place
        found = self.kind.find(folder, cell.key)
        if found is not None:
            logger.info("%s on %s: done before", place.prepared.checkpoint.source, place.text)
            return Sealed({**found.body, **place.named()}, found.arrays)
        body, arrays = self.make(cell, shelf)
        whole = {**place.described(), **body, "seed": seed, "content_key": cell.key}
        return self.kind.write(folder, whole, arrays)


def done(kind: Kind, cells: Iterable[Keyed], *, output: Path) -> int:
    """How many of the cells have records."""
    return sum(kind.find(output / kind.folder, cell.key) is not None for cell in cells)


def summary(
    watch: NeuronSpec, found: Sequence[Sealed], *, keys: Sequence[str] = (), **more: object
) -> dict[str, Any]:
    """What was done, for the folder's report: a row a record, the texts, and where the numbers come from."""
    return {
        "rows": [{key: one.body[key] for key in (*SUMMARY_KEYS, *keys)} for one in found],
        **more,
        "texts": {text.name: str(text.path) for text in watch.texts},
        "provenance": provenance(seed=watch.seed),
    }
