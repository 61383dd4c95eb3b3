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
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store.whole_files import encoded

PARTIAL, REFERENCE, MIXTURE, NOTE = "partial tasks", "reference", "mixture of experts", "see note"
DISTILLED = "distilled"
OTHER_SIZE = "size not counted as the ruler's"


@dataclass(frozen=True)
class Density:
    """One model's density. Sizes in the ruler's unit, scores 0 to 1; None where open or unknown."""

    target: Target
    size: float
    tasks: tuple[str, ...]
    score: float
    inversion: Inversion
    flags: tuple[str, ...]
    draws: Array = field(repr=False)

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


@dataclass(frozen=True)
class Yardstick:
    """What all models of a run are measured by: ruler, size, how far published sources differ, and the draws' seed."""

    ruler: Ruler
    convention: SizeConvention
    spread: SourceSpread = field(default_factory=SourceSpread)
    seed: int = 0


def densities(
    targets: Sequence[Target], yardstick: Yardstick, tasks: Sequence[str], *, progress: Progress = SILENT
) -> tuple[Density, ...]:
    """The density of every target that has a size and at least one of `tasks`.

    A model without all tasks is compared with the ruler's mean over the tasks it has, and flagged.

    Raises:
        SparsityLabError: a task is not in the ruler, or nothing is left to measure.
    """
    ruler, convention = yardstick.ruler, yardstick.convention
    ruler.require(tasks)
    refuse_unknown_sizes({target.model: size_of(target, convention) for target in targets}, convention)
    measured = []
    with progress.track("densities", len(targets)) as advance:
        for target in targets:
            scored = tuple(task for task in tasks if task in target.scores)
            size = size_of(target, convention)
            if size and scored:
                holds = {
                    PARTIAL: len(scored) < len(tasks),
                    REFERENCE: is_reference(target, ruler.references),
                    MIXTURE: target.moe,
                    DISTILLED: bool(target.distilled),
                    OTHER_SIZE: counted_otherwise(target, convention, ruler_params=ruler.params),
                    NOTE: bool(target.note),
                }
                flags = tuple(flag for flag, is_so in holds.items() if is_so)
                measured.append(_density(target, yardstick, scored, size, flags))
            advance(1)
    if not measured:
        raise SparsityLabError(
            f"No model has a size and 1 or more of the tasks {', '.join(tasks)}",
            fix="Add sizes (params_b) and scores of these tasks to the models, or choose other --tasks",
        )
    return tuple(measured)


def _density(
    target: Target, yardstick: Yardstick, tasks: tuple[str, ...], size: float, flags: tuple[str, ...]
) -> Density:
    curve = yardstick.ruler.curve(tasks)
    scores = {task: target.scores[task] for task in tasks}
    # A model's draws depend on its name, not on its place in the table.
    rng = np.random.default_rng([yardstick.seed, zlib.crc32(encoded(target.model))])
    errors = mean_error_draws(scores, spread=yardstick.spread, count=len(curve.floor) - 1, rng=rng)
    mean = float(np.mean([score.value for score in scores.values()]))
    inversion = invert(curve, mean, errors=errors, sizes=yardstick.ruler.sizes)
    flags = (inversion.flag, *flags) if inversion.flag else flags
    return Density(target, size, tasks, mean, inversion, flags, inversion.ln_size_draws - np.log(size))


def is_reference(target: Target, references: Collection[str]) -> bool:
    """Whether a model is one of those a ruler is made of, by all that is known of it or by its name.

    Names are the same whatever their case, and with or without the folder or organization before them.
    """
    if target.identity and target.identity in references:
        return True
    return any(_same_name(target.model.casefold(), name.casefold()) for name in references)


def _same_name(name: str, other: str) -> bool:
    return name == other or name.endswith(f"/{other}") or other.endswith(f"/{name}")
