"""The growth of density as published, for comparison with the results here.

Both figures are slopes of the least-squares line through records, not corrected for the records' bias, of the
publication's own rulers and models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True)
class PublishedGrowth:
    """A doubling time in months, and where it is published."""

    months: float
    source: str

    @property
    def days(self) -> float:
        """The doubling time in days."""
        return self.months * DAYS_A_MONTH

    @property
    def growth(self) -> float:
        """A per day: ln 2 over the doubling time."""
        return float(np.log(2)) / self.days


PUBLISHED = (
    PublishedGrowth(3.3, "Densing Law of LLMs, arXiv 2412.04315, growth of the maximum density"),
    PublishedGrowth(
        3.5, "Densing law of LLMs, Nature Machine Intelligence 2025, s42256-025-01137-0, abstract"
    ),
)


def published_words() -> str:
    """The published doubling times in days, from the shortest to the longest: `100 to 107`."""
    return " to ".join(f"{days:.0f}" for days in sorted(found.days for found in PUBLISHED))
