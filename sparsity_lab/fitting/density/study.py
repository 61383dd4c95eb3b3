"""The density of a table of models, from ruler to trend, written out: what `sparsity-lab density` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from sparsity_lab import bundled
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density import task_names
from sparsity_lab.fitting.density.benchmarks import Groups, same, without_parts
from sparsity_lab.fitting.density.choice import at_tokens, family_of_choice, named_ruler
from sparsity_lab.fitting.density.densities import Density, densities
from sparsity_lab.fitting.density.lm_eval_results import (
    Evaluation,
    groups_of,
    read_evaluations,
    targets_of,
)
from sparsity_lab.fitting.density.lm_eval_rulers import chances_of, lacking_parts
from sparsity_lab.fitting.density.metric_rows import metric_rows
from sparsity_lab.fitting.density.metrics import (
    TaskSetting,
    given_chances,
    refuse_unknown_words,
    refuse_without_results,
    wanted_metrics,
)
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.rulers import Ruler
from sparsity_lab.fitting.density.score_errors import SourceSpread
from sparsity_lab.fitting.density.sizes import SizeConvention
from sparsity_lab.fitting.density.study_notes import (
    note_left_out,
    note_other_tasks,
    note_references,
    note_sizes,
    say,
)
from sparsity_lab.fitting.density.targets import (
    Target,
    bundled_targets,
    note_guessed_families,
    read_targets,
)
from sparsity_lab.fitting.density.trend import Trend, TrendPoint, fit_trend
from sparsity_lab.fitting.density.trend_checks import (
    BreakTest,
    Projection,
    break_test,
    leave_one_out,
    project,
)
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.sole_writer import sole_writer

log = logging.getLogger(__name__)

PAPER_TASKS = ("MMLU", "BBH", "MATH", "HumanEval", "MBPP")


@dataclass(frozen=True)
class DensityOptions:
    """What a run of `density` may be told.

    Attributes:
        targets: a table of models, a folder of lm-eval results, the name of a bundled table, or None for the
            bundled open base models.
        models: a table with tokens and dates for lm-eval results.
        metrics: of lm-eval results, as `acc_norm` for all tasks or `piqa=acc_norm`; by default the ruler's.
        chances: of tasks that the table of names does not know, as `mine=0.25`.
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
    metrics: tuple[str, ...] = ()
    chances: tuple[str, ...] = ()
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
    metrics: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def run_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> DensityReport:
    """Rulers, densities, frontier, trend, tables and figures, written to `output`.

    Raises:
        SparsityLabError: a table, ruler, task or the output directory is not usable.
    """
    from sparsity_lab.fitting.density.report import write_report

    with sole_writer(output):
        report = measure_density(output=output, seed=seed, options=options, progress=progress)
        return replace(report, files=tuple(write_report(report, seed=seed)))


def measure_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> DensityReport:
    """The same without writing anything."""
    from sparsity_lab.fitting.density.sensitivity import sensitivity_rows

    options, notes = options or DensityOptions(), Notes()
    named, reason = named_ruler(options.ruler)
    targets, evaluations = read_any(options, settings=named.settings if named else {}, notes=notes)
    base = options.targets is None
    words = named.tasks if named else () if base else task_names.tasks_of(bundled_targets())
    targets = task_names.renamed(targets, words, notes)
    tasks_of_targets = task_names.tasks_of(targets)
    asked = _asked(options, (*words, *tasks_of_targets), base=base)
    parts = _Parts(groups_of(evaluations), task_names.keys_in(words, lacking_parts(evaluations)))
    if named is not None and options.chances:
        raise SparsityLabError(f"The ruler {named.name} has its own chance levels", fix="Leave --chance out")
    if named is None:
        given = given_chances(options.chances)
        refuse_unknown_words(given, tasks_of_targets, flag="--chance")
        chances = chances_of(evaluations, given, notes)
        named, reason = family_of_choice(
            options.ruler, targets, tasks=asked,
            all_tasks=tasks_of_targets if asked else parts.once(tasks_of_targets, notes), base=base,
            convention=options.convention, chances=task_names.keys_in(words, chances), seed=seed,
        )  # fmt: skip
    ruler = at_tokens(named, options.d0_tokens)
    _refuse_other_unit(ruler, options.convention)
    tasks = asked or parts.once(_shared(ruler, targets, paper_first=base), notes)
    if asked:
        task_names.note_overlap(asked, parts.groups, notes)
    elif not base:
        note_other_tasks(without_parts(tasks_of_targets, parts.groups)[0], tasks, ruler, notes)
    say(ruler, reason, tasks, options.convention, notes, bundled=base)
    metrics = metric_rows(evaluations, ruler, tasks, notes)
    note_guessed_families([t for t in targets if evaluations and t.scores], notes)
    note_references(targets, ruler, base=base, notes=notes)
    spread = SourceSpread.of(targets if base else bundled_targets())
    found = _measure(targets, ruler, tasks, options, spread=spread, seed=seed, progress=progress)
    note_left_out(targets, found, tasks, notes)
    note_sizes(found, ruler, notes)
    trend, note = try_trend(found, options, tasks=tasks, seed=seed)
    report = DensityReport(
        output, ruler, reason, tuple(tasks), options.convention, found,
        _per_task(targets, ruler, tasks, options, spread=spread, seed=seed), trend, note,
        evaluations=tuple(evaluations), metrics=metrics, notes=tuple(notes),
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


def read_any(
    options: DensityOptions, *, settings: Mapping[str, TaskSetting], notes: Notes
) -> tuple[list[Target], list[Evaluation]]:
    """Targets from wherever the options point, with the evaluations behind them if they are lm-eval's.

    Raises:
        SparsityLabError: nothing readable is there, or an option for lm-eval's results without any.
    """
    metrics = wanted_metrics(options.metrics)
    given_chances(options.chances)
    path = None if options.targets is None else Path(options.targets)
    if path is None or not path.is_dir():
        refuse_without_results(options.models, options.metrics)
    if path is None:
        return bundled_targets(), []
    if not path.exists() and str(options.targets) in bundled.names():
        path = bundled.path(str(options.targets))
    if not path.is_dir():
        return read_targets(path, tasks=options.tasks, notes=notes), []
    evaluations = read_evaluations(
        path, models=options.models, metrics=metrics, settings=settings, notes=notes
    )
    return targets_of(evaluations), evaluations


@dataclass(frozen=True)
class _Parts:
    """Which tasks of the targets hold the same questions."""

    groups: Groups
    lacking: Mapping[str, str]

    def once(self, tasks: Sequence[str], notes: Notes) -> tuple[str, ...]:
        return task_names.counted_once(tasks, self.groups, lacking=self.lacking, notes=notes)


def _asked(options: DensityOptions, known: Sequence[str], *, base: bool) -> tuple[str, ...] | None:
    """The tasks asked for under the names that ruler or targets know; the paper's for the bundled table."""
    if options.tasks is None:
        return PAPER_TASKS if base and options.ruler == "auto" else None
    names = [next((name for name in known if same(name, task)), task) for task in options.tasks]
    return tuple(dict.fromkeys(names))


def _refuse_other_unit(ruler: Ruler, convention: SizeConvention) -> None:
    """Parameters are not compared with FLOPs.

    Raises:
        SparsityLabError: the ruler's sizes have another unit.
    """
    if ruler.size_unit != convention.unit:
        raise SparsityLabError(
            f"The sizes of the ruler {ruler.name} are in {ruler.size_unit}, those of the targets in {convention.unit}",
            fix=f"Give --against {ruler.size_unit}",
        )


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
    return tuple(
        densities(
            targets, ruler, tasks=tasks, convention=options.convention, spread=spread,
            references=ruler.references, seed=seed, progress=progress,
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


def _shared(ruler: Ruler, targets: Sequence[Target], *, paper_first: bool) -> tuple[str, ...]:
    """Tasks that ruler and targets have; the paper's, where the ruler has all of them.

    Raises:
        SparsityLabError: there are none.
    """
    if paper_first and set(PAPER_TASKS) <= set(ruler.tasks):
        return PAPER_TASKS
    tasks = task_names.tasks_of(targets)
    shared = tuple(task for task in tasks if task in ruler.tasks)
    if not shared:
        raise SparsityLabError(
            f"The ruler {ruler.name} shares no task with the targets",
            why=f"It has {', '.join(ruler.tasks)}; the targets have {', '.join(tasks) or 'no score that can be used'}",
            fix="Name another --ruler, or score the targets on its tasks",
        )
    return shared
