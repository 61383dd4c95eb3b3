"""A cell: what a command asks of one checkpoint on one text in one setting, and the record that answers it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from sparsity_lab.measure.checkpoint.fingerprints import tokenizer_identity
from sparsity_lab.measure.checkpoint.prepared import Ready
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.search.settings import model_determinants
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.preparing import ModelPreparer, Preparer
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.settings import ModelSettings

P = TypeVar("P", bound=Ready)
R = TypeVar("R")
V = TypeVar("V")


@dataclass(frozen=True)
class RunTerms:
    """What holds for all cells of a run, in every process that makes them.

    Attributes:
        folder: of the records.
        command: words of the command line, for the records' provenance.
        again: make a cell that has a record once more.
        fail_fast: the first cell that fails ends the run.
        leave_out: a cell that its model cannot have is left out, and ends no run.
    """

    folder: Path
    command: tuple[str, ...]
    again: bool = False
    fail_fast: bool = True
    leave_out: bool = False


class Kept:
    """What a process keeps from one cell to the next: the loaded model, and the texts that it has read."""

    MOST_TEXTS = 8

    def __init__(self) -> None:
        self._shelf, self._loads_as = Shelf(), (None, None, None)
        self._preparers: dict[ModelSettings, ModelPreparer] = {}
        self._values: dict[object, Any] = {}

    def once(self, key: object, make: Callable[[], V]) -> V:
        """What `make` gave when this process first asked for the key."""
        if key not in self._values:
            self._values[key] = make()
        value: V = self._values[key]
        return value

    def shelf(self, prepared: Ready) -> Shelf:
        """Where the model of a checkpoint is loaded, or is already."""
        loads_as: Any = (prepared.reading.architecture_file, prepared.dtype, prepared.device)
        if loads_as != self._loads_as:
            self._shelf, self._loads_as = Shelf(prepared.reading.architecture_file), loads_as
        return self._shelf

    def prepare(self, reading: ModelSettings, checkpoint: Checkpoint) -> Ready:
        """A checkpoint prepared as another process prepared it; see `Preparer.prepare`."""
        if reading not in self._preparers:
            if len(self._preparers) == self.MOST_TEXTS:
                del self._preparers[next(iter(self._preparers))]
            preparer = Preparer(reading) if isinstance(reading, MeasureSpec) else ModelPreparer(reading)
            self._preparers[reading] = preparer
        return self._preparers[reading].prepare(checkpoint)


@dataclass(frozen=True)
class Desk:
    """Where a process makes cells.

    Attributes:
        terms: of the run.
        progress: where to report.
        kept: from one cell to the next.
    """

    terms: RunTerms
    progress: Progress = SILENT
    kept: Kept = field(default_factory=Kept)


class Recipe(ABC, Generic[P, R]):
    """How one kind of cell is made of a checkpoint, most often on a text. It can be pickled, and is small.

    P is the checkpoint as it is prepared, R what the cell's record is in memory. `APART` is true where a cell takes so
    long that those of one checkpoint are handed to several processes.
    """

    APART: ClassVar[bool] = False

    @property
    @abstractmethod
    def label(self) -> str:
        """What is asked, in a word or two, for notes."""

    @abstractmethod
    def key(self, prepared: P) -> str:
        """Content key of the record, which also names the claim on it."""

    @abstractmethod
    def find(self, folder: Path, key: str) -> R | None:
        """The record, or None where it is not there or damaged."""

    @abstractmethod
    def make(self, prepared: P, key: str, desk: Desk) -> R:
        """Load the model, make the record and write it."""

    def named(self, prepared: P, record: R, folder: Path) -> R:
        """The record under the names of this run: an equal checkpoint may have left it under others."""
        return record

    def parts(self, prepared: P) -> Sequence[Recipe[P, Any]]:
        """What has to be made before, each for itself; nothing where the cell is made as a whole."""
        return ()

    def clear(self, folder: Path, key: str) -> None:
        """Remove what is left of the parts."""


@dataclass(frozen=True)
class Cell(Generic[R]):
    """A recipe, and the checkpoint that it is for."""

    recipe: Recipe[Any, R]
    prepared: Ready

    @cached_property
    def key(self) -> str:
        """Content key of its record."""
        return self.recipe.key(self.prepared)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint; cells of one share its loaded model."""
        return self.prepared.checkpoint

    def __str__(self) -> str:
        """For notes."""
        return f"{self.checkpoint.source}, {self.recipe.label}"

    def find(self, folder: Path) -> R | None:
        """Its record, or None where there is none."""
        return self.recipe.find(folder, self.key)

    def make(self, desk: Desk) -> R:
        """Make and write its record."""
        return self.recipe.make(self.prepared, self.key, desk)

    def named(self, record: R, folder: Path) -> R:
        """Its record under the names of this run."""
        return self.recipe.named(self.prepared, record, folder)

    def missing_parts(self, folder: Path) -> list[Cell[Any]]:
        """The parts that have to be made before it and are not there."""
        parts = [Cell(recipe, self.prepared) for recipe in self.recipe.parts(self.prepared)]
        return [part for part in parts if part.find(folder) is None]


def determinants_of(prepared: Ready) -> dict[str, Any]:
    """What the content key of a cell without windows says of its checkpoint: model, where it runs, tokenizer."""
    file = prepared.reading.architecture_file
    return {
        **model_determinants(prepared.identity, prepared.dtype, prepared.device, file),
        "tokenizer": tokenizer_identity(prepared.checkpoint.source),
    }
