"""What was counted over a stretch of a text's windows, and a rule that takes it in place of its own dense run."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from sparsity_lab.measure.criteria import Bound
from sparsity_lab.measure.search.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.search.noise import Replicates
from sparsity_lab.measure.thresholds.masks import CountingVisitor


@dataclass(frozen=True)
class WindowSpan:
    """Which windows a part is of.

    Attributes:
        number, count: it is part `number` of `count`, from 1.
        start, stop: its windows, the last one not among them.
    """

    number: int
    count: int
    start: int
    stop: int

    def name(self, key: str) -> str:
        """What the part of a cell is called, in claims and on disk."""
        return f"{key}.part-{self.number}of{self.count}"

    @property
    def rows(self) -> Ints:
        """Indices of its windows."""
        return np.arange(self.start, self.stop)


@dataclass(frozen=True)
class Part:
    """What was counted over some windows; `a + b` merges two.

    Attributes:
        dense, sparse: counts of both runs.
        sums: zeros of the dense run.
        forward_tokens: tokens passed through the model.
    """

    dense: Counts
    sparse: Counts
    sums: DenseSums
    forward_tokens: int

    def __add__(self, other: Part) -> Part:
        return Part(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Part)))


class Merged:
    """A rule whose dense run was made before, in parts."""

    def __init__(self, rule: Bound, part: Part) -> None:
        self.rule, self.part = rule, part

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses, of the whole text: they are there already."""
        return self.part.dense

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses."""
        return self.part.dense

    def refine(self, knob: float) -> None:
        """Nothing to refine."""

    def sums(self) -> DenseSums:
        """Zeros of the dense run."""
        return self.part.sums

    def covers(self, knob: float) -> bool:
        """Any knob."""
        return True

    def doubtful(self, knob: float) -> bool:
        """Nothing was interpolated."""
        return False

    def drift(self, knob: float, draws: Replicates, dense: Counts) -> None:
        """Nothing is calibrated."""

    def visitor(self, knob: float) -> CountingVisitor:
        """The rule's own."""
        return self.rule.visitor(knob)

    def thresholds(self, knob: float) -> list[float] | None:
        """The rule's own."""
        return self.rule.thresholds(knob)

    def score_weights(self) -> list[Tensor] | None:
        """The rule's own."""
        return self.rule.score_weights()
