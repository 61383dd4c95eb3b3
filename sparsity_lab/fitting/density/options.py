"""Options of a run of `density`, and its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sparsity_lab.fitting.density.densities import Density, Yardstick
from sparsity_lab.fitting.density.lm_eval.options import InputOptions
from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores
from sparsity_lab.fitting.density.rulers.disagreement import OtherRulers, RulerPair
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.trend.entering import Entering
from sparsity_lab.fitting.density.trend.hindcast import Hindcast
from sparsity_lab.fitting.density.trend.trend import DensityTrend
from sparsity_lab.fitting.density.trend.trend_checks import BreakTest, TrendProjection

BUNDLED_SCORES = "density-scores"


@dataclass(frozen=True, kw_only=True)
class DensityOptions(InputOptions):
    """Options of a run of `density` in addition to those of `InputOptions`.

    Attributes:
        targets: a table of models or of scores, a folder of lm-eval results, the name of a bundled table, or None for
            the bundled open base models.
        harness: of a table that says which harness made each score, the one that is read; without `targets`, of the
            bundled scores. Separated by commas, the models of the later ones are moved onto the first by the models
            that both have scored.
        ruler: `auto`, a ruler file, the name of a shipped ruler, or a family with at least four sizes.
        tasks: whose mean score is used; None for the paper's five, or all that targets and ruler share.
        d0_tokens: for two-step rulers; None keeps the ruler's own.
        partial: models without all tasks join the trend.
        mixtures: mixtures of experts join the trend.
        extrapolated: models whose N^ lies outside the ruler's reference sizes join the trend with their rho.
        references: the ruler's own models join the trend.
        break_at: test for another growth from this date on.
        project_to: days on which rho_max is projected.
        sensitivity: tabulate how A moves with the choices.
        hindcast: foresee each quarter's maximum from the quarters before it.
    """

    targets: str | Path | None = None
    harness: tuple[str, ...] = ()
    ruler: str = "auto"
    d0_tokens: float | None = None
    partial: bool = False
    mixtures: bool = False
    extrapolated: bool = False
    references: bool = False
    break_at: date | None = None
    project_to: tuple[date, ...] = ()
    sensitivity: bool = True
    hindcast: bool = True

    @property
    def entering(self) -> Entering:
        """Which models join the trend."""
        return Entering(self.partial, self.mixtures, self.extrapolated, self.references)


@dataclass(frozen=True)
class DensityReport:
    """What a run found.

    `trend` is None where there is none, and `hindcast` too; their notes say why. `others` is what the other rulers make
    of each model, and `agreements` is each of them against the ruler of the run.
    """

    yardstick: Yardstick
    ruler_reason: str
    tasks: tuple[str, ...]
    densities: tuple[Density, ...]
    per_task: dict[str, tuple[Density, ...]]
    trend: DensityTrend | None
    trend_note: str
    without: dict[str, DensityTrend | None] = field(default_factory=dict)
    break_test: BreakTest | None = None
    projections: tuple[TrendProjection, ...] = ()
    sensitivity: tuple[dict[str, object], ...] = ()
    by_size: tuple[dict[str, object], ...] = ()
    evaluations: tuple[LmEvalScores, ...] = ()
    metrics: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    entering: Entering = field(default_factory=Entering)
    hindcast: Hindcast | None = None
    hindcast_note: str = ""
    others: Mapping[str, OtherRulers] = field(default_factory=dict)
    agreements: tuple[RulerPair, ...] = ()

    @property
    def ruler(self) -> Ruler:
        """The ruler of the run."""
        return self.yardstick.ruler

    @property
    def convention(self) -> SizeConvention:
        """Which parameters count, and the unit of sizes."""
        return self.yardstick.convention

    @property
    def by_date(self) -> list[Density]:
        """The densities by release date and name, models without a date last."""
        return sorted(self.densities, key=lambda d: (str(d.released or "9999"), d.target.model))
