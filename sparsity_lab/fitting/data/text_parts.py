"""What the text measured on does to all points together: the parts of their errors that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.quantiles import t_quantile
from sparsity_lab.laws._law import Array

CONFIDENCE = 0.95


@dataclass(frozen=True)
class TextParts:
    """What the text measured on does to some numbers.

    Attributes:
        parts: of their errors, shape (n, parts), see `store.error_parts`; None where they are not known.
        freedom: degrees of freedom of those.
    """

    parts: Array | None = None
    freedom: float = math.inf

    @classmethod
    def together(cls, each: Sequence[TextParts]) -> TextParts:
        """Those of all numbers; not known where one has none."""
        parts = [one.parts for one in each if one.parts is not None]
        if len(parts) < len(each):
            return cls()
        return cls(np.concatenate(parts), min(one.freedom for one in each))

    @property
    def t(self) -> float:
        """Half a 95 % interval in standard errors."""
        return t_quantile(0.5 + CONFIDENCE / 2, self.freedom)

    def chosen(self, keep: slice | np.ndarray) -> TextParts:
        """Those of some of the numbers."""
        return self if self.parts is None else TextParts(self.parts[keep], self.freedom)


NO_PARTS = TextParts()
