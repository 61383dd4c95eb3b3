"""The density of a table of models, from ruler to trend, written out: what `sparsity-lab density` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from sparsity_lab import bundled
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.choice import BUNDLED_SOURCE, resolve_ruler
from sparsity_lab.fitting.density.densities import Density, densities
from sparsity_lab.fitting.density.lm_eval_results import Evaluation, read_evaluations, targets_of
from sparsity_lab.fitting.density.rulers import OneStepRuler, Ruler
from sparsity_lab.fitting.density.score_errors import SourceSpread
from sparsity_lab.fitting.density.sizes import SizeConvention
from sparsity_lab.fitting.density.targets import Target, bundled_targets, read_targets
from sparsity_lab.fitting.density.trend import Trend, TrendPoint, fit_trend
from sparsity_lab.fitting.density.trend_checks import (
    BreakTest,
    Projection,
    break_test,
    leave_one_out,
    project,
)
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.records import prepare_output

log = logging.getLogger(__name__)

PAPER_TASKS = ("MMLU", "BBH", "MATH", "HumanEval", "MBPP")


@dataclass(frozen=True)
class DensityOptions:
    """What a run of `density` may be told.

    Attributes:
        targets: a table of models, a folder of lm-eval results, the name of a bundled table, or None for the
            bundled open base models.
        models: a table with tokens and dates for lm-eval results.
        metric: of lm-eval results; None for the first of the usual ones.
        ruler: `auto`, a ruler file, the name of a shipped ruler, or a family with at least four sizes.
        tasks: whose mean score is used; None for the paper's five, or all that targets and ruler share.
        convention: which parameters count.
        d0_tokens: for two-step rulers; None keeps the ruler's own.
        partial: models without all tasks join the trend.
        mixtures: mixtures of experts join the trend.
        break_at: test for another growth from this date on.
        project_to: days on which rho_max is projected.
        sensitivity: tabulate how A moves with the choices.
    """

    targets: str | Path | None = None
    models: Path | None = None
    metric: str | None = None
    ruler: str = "auto"
    tasks: tuple[str, ...] | None = None
    convention: SizeConvention = field(default_factory=SizeConvention)
    d0_tokens: float | None = None
    partial: bool = False
    mixtures: bool = False
    break_at: date | None = None
    project_to: tuple[date, ...] = ()
    sensitivity: bool = True


@dataclass(frozen=True)
class DensityReport:
    """What a run found and where it lies. `trend` is None where there is none; `trend_note` says why."""

    output: Path
    ruler: Ruler
    ruler_reason: str
    tasks: tuple[str, ...]
    convention: SizeConvention
    densities: tuple[Density, ...]
    per_task: dict[str, tuple[Density, ...]]
    trend: Trend | None
    trend_note: str
    without: dict[str, Trend | None] = field(default_factory=dict)
    break_found: BreakTest | None = None
    projections: tuple[Projection, ...] = ()
    sensitivity: tuple[dict[str, object], ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    files: tuple[Path, ...] = ()


def run_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> DensityReport:
    """Rulers, densities, frontier, trend, tables and figures, written to `output`.

    Raises:
        SparsityLabError: a table, ruler, task or the output directory is not usable.
    """
    from sparsity_lab.fitting.density.report import write_report

    prepare_output(output)
    report = measure_density(output=output, seed=seed, options=options, progress=progress)
    return replace(report, files=tuple(write_report(report, seed=seed)))


def measure_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> DensityReport:
    """The same without writing anything."""
    from sparsity_lab.fitting.density.sensitivity import sensitivity_rows

    options = options or DensityOptions()
    targets, evaluations = read_any(options)
    base = options.targets is None
    wanted = options.tasks or (PAPER_TASKS if base and options.ruler == "auto" else None)
    ruler, reason = resolve_ruler(
        options.ruler, targets, tasks=wanted, all_tasks=_tasks_of(targets), base=base,
        convention=options.convention, d0_tokens=options.d0_tokens, seed=seed,
    )  # fmt: skip
    tasks = wanted or _shared(ruler, targets, paper_first=base)
    _say(ruler, reason, tasks, options)
    spread = SourceSpread.of(targets if base else bundled_targets())
    found = _measure(targets, ruler, tasks, options, spread=spread, seed=seed, progress=progress)
    if len(found) < len(targets):
        log.info(
            "%d of %d models have no size or no score and are left out",
            len(targets) - len(found),
            len(targets),
        )
    trend, note = try_trend(found, options, tasks=tasks, seed=seed)
    report = DensityReport(
        output, ruler, reason, tuple(tasks), options.convention, found,
        _per_task(targets, ruler, tasks, options, spread=spread, seed=seed), trend, note,
        evaluations=tuple(evaluations),
    )  # fmt: skip
    if trend is None:
        return report
    points = trend_points(found, tasks=tasks, partial=options.partial, mixtures=options.mixtures)
    rows: list[dict[str, object]] = []
    if options.sensitivity:
        rows = sensitivity_rows(
            targets, ruler, options=options, tasks=tuple(tasks), seed=seed, progress=progress
        )
    return replace(
        report,
        without=leave_one_out(points, seed=seed),
        break_found=break_test(points, options.break_at, seed=seed) if options.break_at else None,
        projections=tuple(project(trend, day) for day in options.project_to),
        sensitivity=tuple(rows),
    )


def read_any(options: DensityOptions) -> tuple[list[Target], list[Evaluation]]:
    """Targets from wherever the options point, with the evaluations behind them if they are lm-eval's.

    Raises:
        SparsityLabError: nothing readable is there.
    """
    if options.targets is None:
        return bundled_targets(), []
    path = Path(options.targets)
    if not path.exists() and str(options.targets) in bundled.names():
        path = bundled.path(str(options.targets))
    if not path.is_dir():
        return read_targets(path), []
    evaluations = read_evaluations(path, models=options.models, metric=options.metric)
    return targets_of(evaluations), evaluations


def try_trend(
    found: Sequence[Density], options: DensityOptions, *, tasks: Sequence[str], seed: int
) -> tuple[Trend | None, str]:
    """The trend of the densities that may enter it, or None and why there is none."""
    points = trend_points(found, tasks=tasks, partial=options.partial, mixtures=options.mixtures)
    try:
        trend = fit_trend(points, seed=seed)
    except SparsityLabError as error:
        log.info("no trend: %s", error.paragraph())
        return None, error.paragraph()
    censored = sum(d.rho is None and d.released is not None for d in found)
    note = f"{censored} dated models have a bound instead of a number and are left out" if censored else ""
    return trend, note


def trend_points(
    found: Sequence[Density], *, tasks: Sequence[str], partial: bool = False, mixtures: bool = False
) -> list[TrendPoint]:
    """Dated models with a number; dense ones with all tasks unless told otherwise."""
    return [
        TrendPoint(
            d.target.model,
            d.released,
            float(np.log(d.rho)),
            d.inversion.ln_size_ruler_draws - np.log(d.size),
            d.target.lineage,
        )
        for d in found
        if d.released is not None
        and d.rho is not None
        and (partial or len(d.tasks) == len(tasks))
        and (mixtures or not d.target.moe)
    ]


def _measure(
    targets: Sequence[Target], ruler: Ruler, tasks: Sequence[str], options: DensityOptions, *,
    spread: SourceSpread, seed: int, progress: Progress = SILENT,
) -> tuple[Density, ...]:  # fmt: skip
    references = [p.model for p in ruler.points] if isinstance(ruler, OneStepRuler) else []
    return tuple(
        densities(
            targets, ruler, tasks=tasks, convention=options.convention, spread=spread, references=references,
            seed=seed, progress=progress,
        )
    )  # fmt: skip


def _per_task(
    targets: Sequence[Target], ruler: Ruler, tasks: Sequence[str], options: DensityOptions, *,
    spread: SourceSpread, seed: int,
) -> dict[str, tuple[Density, ...]]:  # fmt: skip
    """Densities by single tasks; a task on which the ruler is none is left out with a note."""
    if len(tasks) < 2:
        return {}
    found = {}
    for task in tasks:
        try:
            found[task] = _measure(targets, ruler, (task,), options, spread=spread, seed=seed)
        except SparsityLabError as error:
            log.info("no densities on %s alone: %s", task, error.what)
    return found


def _say(ruler: Ruler, reason: str, tasks: Sequence[str], options: DensityOptions) -> None:
    """Every choice that was made, with its reason."""
    log.info("ruler: %s (%s), because %s", ruler.name, ruler.form, reason)
    mean = "mean of " if len(tasks) > 1 else ""
    log.info("size: %s; tasks: %s%s", options.convention.said, mean, ", ".join(tasks))
    if ruler.params != options.convention.said:
        log.info("note: the ruler counts %s", ruler.params)
    if hasattr(ruler, "d0_tokens"):
        log.info("D0: %.3g tokens", ruler.d0_tokens)
    if options.targets is not None or ruler.source != BUNDLED_SOURCE:
        log.info("note: densities assume that targets were scored as the ruler was: %s", ruler.harness)


def _shared(ruler: Ruler, targets: Sequence[Target], *, paper_first: bool) -> tuple[str, ...]:
    """Tasks that ruler and targets have; the paper's, where the ruler has all of them.

    Raises:
        SparsityLabError: there are none.
    """
    if paper_first and set(PAPER_TASKS) <= set(ruler.tasks):
        return PAPER_TASKS
    own = _tasks_of(targets)
    shared = tuple(task for task in own if task in ruler.tasks)
    if not shared:
        raise SparsityLabError(
            f"The ruler {ruler.name} shares no task with the targets",
            why=f"It has {', '.join(ruler.tasks)}; the targets have {', '.join(own)}",
            fix="Name another --ruler, or score the targets on its tasks",
        )
    return shared


def _tasks_of(targets: Sequence[Target]) -> tuple[str, ...]:
    """Every task of the targets, in the order of its columns."""
    return tuple(dict.fromkeys(task for target in targets for task in target.scores))
