"""What a fit makes least: squares of y, squares of ln y, or Huber losses on ln y."""

from __future__ import annotations

import math
from dataclasses import dataclass

DELTA = 1e-3


@dataclass(frozen=True)
class Objective:
    """The sum that a fit makes least.

    Attributes:
        log: residuals are those of ln y rather than of y.
        delta: where a Huber loss turns from square to absolute, in ln y; infinite for squares.
    """

    log: bool = False
    delta: float = math.inf

    @property
    def huber(self) -> bool:
        """Whether it is a sum of Huber losses."""
        return math.isfinite(self.delta)

    def words(self, *, weighted_by: str = "") -> str:
        """The objective for a reader, with what its squares are weighted by."""
        if self.huber:
            return f"sum of Huber losses on ln y, delta {self.delta:g}"
        of = " of ln y" if self.log else ""
        return f"sum of squares{of}{weighted_by and f' weighted by {weighted_by}'}"


SQUARES = Objective()
HUBER = Objective(log=True, delta=DELTA)
