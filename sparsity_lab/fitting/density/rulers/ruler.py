"""A ruler: what score a family of reference models would have at each size, per task and for means of tasks.

One-step rulers fit S against ln N of one family; two-step rulers chain a loss law L(N, D) at D0 training
tokens with S(L) (Densing Law of LLMs, arXiv 2412.04315, equations 2 and 3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from sparsity_lab.fitting.density.curves import RulerCurve
from sparsity_lab.fitting.density.scores.metrics import TaskSetting
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.registry import unknown

DRAWS = 1000


@dataclass(frozen=True)
class RulerPoint:
    """One reference model: its size in the ruler's unit, its scores in 0 to 1, and all that tells it from others."""

    model: str
    size: float
    scores: Mapping[str, float]
    identity: str = ""


@dataclass(frozen=True)
class RulerRecipe:
    """How rulers are made of whatever models there are.

    Attributes:
        convention: which parameters count.
        seed, draws: of the draws; those of a one-step ruler are fitted at once, of a two-step one each takes a while.
        source, harness: where the scores come from and how they were made.
        chances: scores of guessing, of tasks that the table of names does not know.
    """

    convention: SizeConvention = field(default_factory=SizeConvention)
    seed: int = 0
    draws: int = DRAWS
    source: str = ""
    harness: str = "published scores, harness as each source says"
    chances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ruler(ABC):
    """What every ruler has.

    Attributes:
        name: how it is called in tables.
        tasks: what it can score.
        sizes: smallest and largest reference size, in `size_unit`.
        size_unit: `params` (a count) or `flops` (6 N D).
        params: the convention of the reference sizes: total or non-embedding.
        harness, source: how the reference scores were made and where they are published.
        seed: of the draws.
        settings: how the scores of each task were made, as far as that is known.
        notes: what was left out or is not sure about the reference scores.
    """

    name: str
    tasks: tuple[str, ...]
    sizes: tuple[float, float]
    size_unit: str
    params: str
    harness: str
    source: str
    seed: int
    draws: int
    settings: Mapping[str, TaskSetting] = field(default_factory=dict, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    form: ClassVar[str]

    @property
    @abstractmethod
    def references(self) -> tuple[str, ...]:
        """The models it is made of, by their names and, where they are known, their identities."""

    @property
    @abstractmethod
    def reference_count(self) -> int:
        """How many models or runs it is made of."""

    @abstractmethod
    def curve(self, tasks: Sequence[str]) -> RulerCurve:
        """The curve of the mean score over `tasks`."""

    @abstractmethod
    def with_draws(self, draws: int) -> Ruler:
        """The same ruler with so many draws at most: the same points, in less time."""

    def require(self, tasks: Sequence[str]) -> None:
        """Refuse a task the ruler does not have.

        Raises:
            SparsityLabError: names the task and the nearest one.
        """
        for task in tasks:
            if task not in self.tasks:
                what = f"The ruler {self.name} has no task {task!r}"
                raise unknown(task, kind="task", known=self.tasks, what=what)
