"""A ruler: what score a family of reference models would have at each size, per task and for means of tasks.

One-step rulers fit S against ln N of one family; two-step rulers chain a loss law L(N, D) at D0 training
tokens with S(L) (Densing Law of LLMs, arXiv 2412.04315, equations 2 and 3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.benchmarks import chance_of
from sparsity_lab.fitting.density.curves import Curve, OneStepCurve
from sparsity_lab.fitting.density.metrics import TaskSetting
from sparsity_lab.registry import unknown


@dataclass(frozen=True)
class Point:
    """One reference model: its size in the ruler's unit, its scores in 0 to 1, and all that tells it from others."""

    model: str
    size: float
    scores: Mapping[str, float]
    identity: str = ""


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

    @abstractmethod
    def curve(self, tasks: Sequence[str]) -> Curve:
        """The curve of the mean score over `tasks`."""

    def require(self, tasks: Sequence[str]) -> None:
        """Refuse a task the ruler does not have.

        Raises:
            SparsityLabError: names the task and the nearest one.
        """
        for task in tasks:
            if task not in self.tasks:
                error = unknown(task, kind="task", known=list(self.tasks))
                raise SparsityLabError(f"The ruler {self.name} has no task {task!r}", fix=error.fix)


@dataclass(frozen=True)
class OneStepRuler(Ruler):
    """Score against size; the curve of any mean of tasks is fitted to the reference points on demand.

    `chances` are the scores of guessing, where they are not those of the table of names.
    """

    points: tuple[Point, ...]
    chances: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    curves: dict[tuple[str, ...], OneStepCurve] = field(default_factory=dict, repr=False, compare=False)
    residual_sd: dict[tuple[str, ...], float] = field(default_factory=dict, repr=False, compare=False)

    form: ClassVar[str] = "one-step"

    @property
    def references(self) -> tuple[str, ...]:
        """Names and identities of the points' models."""
        return tuple(name for point in self.points for name in (point.model, point.identity) if name)

    def curve(self, tasks: Sequence[str]) -> OneStepCurve:
        """The sigmoid of the mean score over `tasks` in ln size, fitted once and kept."""
        from sparsity_lab.fitting.density.one_step import fit_curve

        key = tuple(sorted(tasks))
        self.require(key)
        if key not in self.curves:
            usable = [p for p in self.points if all(task in p.scores for task in key)]
            sizes = np.array([p.size for p in usable])
            means = np.array([np.mean([p.scores[task] for task in key]) for p in usable])
            fitted = fit_curve(
                sizes, means, tasks=key, floor=float(np.mean([chance_of(task, self.chances) for task in key])),
                ruler=self.name, draws=self.draws, seed=self.seed,
            )  # fmt: skip
            self.curves[key], self.residual_sd[key] = fitted
        return self.curves[key]
