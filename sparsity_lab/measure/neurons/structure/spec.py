"""What to ask of neurons' structure: experts, comparisons, and the grid of checkpoints and texts it is asked on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.structure.clustering.quality import Questions
from sparsity_lab.settings import BASES, GroupSettings


@dataclass(frozen=True)
class StructureSettings(GroupSettings):
    """Everything the numbers depend on other than model, text and thresholds.

    Attributes:
        best: numbers of best clusters to look into; those beyond the clusters are left out.
        segments: tokens the cache looks ahead.
    The others are those of `GroupSettings`.
    """

    best: tuple[int, ...] = (1, 2, 4, 8)
    segments: tuple[int, ...] = (4, 16, 64)

    def check(self) -> None:
        """Refuse settings that nothing can be asked with.

        Raises:
            SparsityLabError: a number out of its range, or an unknown basis.
        """
        if self.by not in BASES:
            raise SparsityLabError(
                f"Neurons cannot be grouped by {self.by!r}", fix=f"One of {', '.join(BASES)}"
            )
        ranges.check_fields(self, command="structure")
        if self.most_neurons // self.clusters < 2:
            raise SparsityLabError(
                f"--most-neurons {self.most_neurons} are too few for --clusters {self.clusters}",
                why="A cluster holds two neurons or more",
                fix=f"Write --most-neurons {2 * self.clusters} or more, or "
                f"--clusters {self.most_neurons // 2} or less",
            )
        if self.routed >= self.clusters:
            raise SparsityLabError(
                f"A token cannot be routed to {self.routed} of {self.clusters} clusters",
                why="It would go everywhere",
                fix=f"Use --routed {self.clusters - 1} or less",
            )

    def questions(self) -> Questions:
        """What is asked of each partition."""
        return Questions(
            clusters=self.clusters,
            best=tuple(m for m in sorted(set(self.best)) if m < self.clusters),
            routed=self.routed,
            segments=self.segments,
            cache_ratio=self.cache_ratio,
            cached_partitions=2 + self.draws,
        )

    def identity(self) -> dict[str, Any]:
        """For a content key; what is computed afterwards from records is not part of it."""
        return {name: value for name, value in asdict(self).items() if name != "permutations"}
