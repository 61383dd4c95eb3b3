"""The density of each model: rho = N^ / N, with an interval and the flags it deserves.

Three sources of error enter rho's interval together: the ruler (its draws), the score (finitely many
questions and sources that disagree) and the guards of the inversion, which leave a bound open rather than
invent one.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.inversion import Inversion, invert
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.scores.score_errors import SourceSpread, mean_error_draws
from sparsity_lab.fitting.density.scores.sizes import (
    SizeConvention,
    counted_otherwise,
    refuse_unknown_sizes,
    size_of,
)
from sparsity_lab.fitting.density.scores.targets import Target
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store.whole_files import encoded

PARTIAL, REFERENCE, MIXTURE, NOTE = "partial tasks", "reference", "mixture of experts", "see note"
OTHER_SIZE = "size not counted as the ruler's"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Density:
    """One model's density. Sizes in the ruler's unit, scores 0 to 1; None where open or unknown."""

    target: Target
    size: float
    tasks: tuple[str, ...]
    score: float
    inversion: Inversion
    flags: tuple[str, ...]
    draws: Floats = field(repr=False)

    @property
    def rho(self) -> float | None:
        """N^ / N, or None where only a bound holds."""
        return self.inversion.size / self.size if self.inversion.size is not None else None

    @property
    def low(self) -> float | None:
        """Lower bound of rho."""
        return self.inversion.low / self.size if self.inversion.low is not None else None

    @property
    def high(self) -> float | None:
        """Upper bound of rho."""
        return self.inversion.high / self.size if self.inversion.high is not None else None

    @property
    def released(self) -> date | None:
        """The model's release date."""
        return self.target.released


def densities(
    targets: Sequence[Target],
    ruler: Ruler,
    *,
    tasks: Sequence[str],
    convention: SizeConvention,
    spread: SourceSpread,
    fewest_tasks: int = 1,
    references: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Density]:
    """The density of every target that has a size and at least `fewest_tasks` of `tasks`.

    A model without all tasks is compared with the ruler's mean over the tasks it has, and flagged.

    Raises:
        SparsityLabError: a task is not in the ruler, or nothing is left to measure.
    """
    ruler.require(tasks)
    refuse_unknown_sizes({t.model: size_of(t, convention) for t in targets}, convention)
    found = []
    with progress.track("densities", len(targets)) as advance:
        for target in targets:
            own = tuple(task for task in tasks if task in target.scores)
            size = size_of(target, convention)
            if size and len(own) >= max(1, fewest_tasks):
                complete = len(own) == len(tasks)
                other_size = counted_otherwise(target, convention, ruler_params=ruler.params)
                flags = _flags(
                    target,
                    complete=complete,
                    reference=is_reference(target, references),
                    other_size=other_size,
                )
                found.append(_density(target, ruler, own, size, spread=spread, flags=flags, seed=seed))
            advance(1)
    if not found:
        raise SparsityLabError(
            f"No model has a size and {fewest_tasks} or more of the tasks {', '.join(tasks)}",
            fix="Add sizes (params_b) and scores of these tasks to the models, or choose other --tasks",
        )
    return found


def _density(
    target: Target,
    ruler: Ruler,
    tasks: tuple[str, ...],
    size: float,
    *,
    spread: SourceSpread,
    flags: tuple[str, ...],
    seed: int,
) -> Density:
    curve = ruler.curve(tasks)
    scores = {task: target.scores[task] for task in tasks}
    # A model's draws depend on its name, not on its place in the table.
    rng = np.random.default_rng([seed, zlib.crc32(encoded(target.model))])
    errors = mean_error_draws(scores, spread=spread, count=len(curve.floor) - 1, rng=rng)
    mean = float(np.mean([score.value for score in scores.values()]))
    found = invert(curve, mean, errors=errors, sizes=ruler.sizes)
    flags = (found.flag, *flags) if found.flag else flags
    return Density(target, size, tasks, mean, found, flags, found.ln_size_draws - np.log(size))


def is_reference(target: Target, references: Collection[str]) -> bool:
    """Whether a model is one of those a ruler is made of, by all that is known of it or by its name.

    Names are the same whatever their case, and with or without the folder or organisation before them.
    """
    if target.identity and target.identity in references:
        return True
    return any(_same_name(target.model.casefold(), name.casefold()) for name in references)


def _same_name(name: str, other: str) -> bool:
    return name == other or name.endswith(f"/{other}") or other.endswith(f"/{name}")


def _flags(target: Target, *, complete: bool, reference: bool, other_size: bool) -> tuple[str, ...]:
    said = {
        PARTIAL: not complete,
        REFERENCE: reference,
        MIXTURE: target.moe,
        OTHER_SIZE: other_size,
        NOTE: bool(target.note),
    }
    return tuple(flag for flag, holds in said.items() if holds)
