"""The density of a table of models, from ruler to trend."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.by_size import size_rows
from sparsity_lab.fitting.density.densities import Density, Yardstick, densities
from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores, targets_of
from sparsity_lab.fitting.density.lm_eval.rulers import chances_of, shared_questions
from sparsity_lab.fitting.density.notes import Notes, UnsaidNotes
from sparsity_lab.fitting.density.options import BUNDLED_SCORES, DensityOptions, DensityReport
from sparsity_lab.fitting.density.rulers.choice import at_tokens, family_of_choice, named_ruler
from sparsity_lab.fitting.density.rulers.disagreement import by_other_rulers
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.scores import task_names
from sparsity_lab.fitting.density.scores.benchmarks import called, without_parts
from sparsity_lab.fitting.density.scores.bridges import bridged
from sparsity_lab.fitting.density.scores.metrics import (
    TaskSetting,
    given_chances,
    refuse_unknown_words,
)
from sparsity_lab.fitting.density.scores.score_errors import SourceSpread
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import (
    Target,
    bundled_targets,
    harness_of,
    note_guessed_families,
    read_targets,
)
from sparsity_lab.fitting.density.study_notes import (
    metric_rows,
    note_choices,
    note_harness,
    note_left_out,
    note_one_ruler,
    note_other_tasks,
    note_references,
    note_sizes,
)
from sparsity_lab.fitting.density.trend.entering import trend_points
from sparsity_lab.fitting.density.trend.hindcast import try_hindcast
from sparsity_lab.fitting.density.trend.sensitivity import AS_CHOSEN, Variation, sensitivity_rows
from sparsity_lab.fitting.density.trend.trend import try_trend
from sparsity_lab.fitting.density.trend.trend_checks import break_test, leave_one_out, project
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import bundled

log = logging.getLogger(__name__)

PAPER_TASKS = ("MMLU", "BBH", "MATH", "HumanEval", "MBPP")


def measure_density(
    *, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> DensityReport:
    """What `report.run_density` finds, without writing anything.

    Raises:
        SparsityLabError: a table, ruler or task is not usable.
    """
    options, notes = options or DensityOptions(), Notes()
    targets, evaluations, chosen = _chosen(options, seed=seed, notes=notes)
    ruler, tasks, base = chosen.ruler, chosen.tasks, _is_base(options)
    metrics = metric_rows(evaluations, ruler, tasks, notes)
    note_guessed_families([t for t in targets if evaluations and t.scores], notes)
    note_references(targets, ruler, base=base, notes=notes)
    spread = SourceSpread.of(targets if base or harness_of(targets) else bundled_targets())
    yardstick = Yardstick(ruler, options.convention, spread, seed)
    measured = densities(targets, yardstick, tasks, progress=progress)
    note_left_out(targets, measured, yardstick, tasks, notes)
    note_sizes(measured, ruler, notes)
    points = trend_points(measured, options.entering)
    trend, trend_note = try_trend(measured, points, options.entering, seed=seed)
    others, agreements = by_other_rulers(measured, yardstick, tasks, base=base)
    note_one_ruler(ruler, len(agreements), notes)
    report = DensityReport(
        yardstick, chosen.reason, tasks, measured, _per_task(targets, yardstick, tasks), trend,
        trend_note, evaluations=tuple(evaluations), metrics=metrics, notes=tuple(notes),
        entering=options.entering, others=others, agreements=agreements, by_size=tuple(
            size_rows(measured, options.entering, sizes=ruler.sizes, seed=seed)
        ),
    )  # fmt: skip
    if trend is None:
        return report
    rows: list[dict[str, object]] = []
    if options.sensitivity:
        variation = Variation(AS_CHOSEN, ruler.name, ruler, tasks, options, targets, spread)
        rows = sensitivity_rows(variation, trend, notes=UnsaidNotes(notes), seed=seed, progress=progress)
    tried, hindcast_note = try_hindcast(points, seed=seed) if options.hindcast else (None, "")
    return replace(
        report,
        hindcast=tried,
        hindcast_note=hindcast_note,
        without=leave_one_out(points, seed=seed),
        break_test=break_test(points, options.break_at, seed=seed) if options.break_at else None,
        projections=tuple(project(trend, day) for day in options.project_to),
        sensitivity=tuple(rows),
    )


@dataclass(frozen=True)
class _Choice:
    """The ruler of a run, why this one, and the tasks whose mean score is used."""

    ruler: Ruler
    reason: str
    tasks: tuple[str, ...]


def _chosen(
    options: DensityOptions, *, seed: int, notes: Notes
) -> tuple[list[Target], list[LmEvalScores], _Choice]:
    """The targets with their tasks under the ruler's names, the evaluations behind them, and the choice made.

    Raises:
        SparsityLabError: a table, ruler or task is not usable, or the ruler's sizes have another unit.
    """
    given = given_chances(options.chances)
    named, reason = named_ruler(options.ruler)
    targets, evaluations = read_any(options, settings=named.settings if named else {}, notes=notes)
    base = _is_base(options)
    alone = base or bool(harness_of(targets))
    words = named.tasks if named else () if alone else task_names.tasks_of(bundled_targets())
    targets = task_names.renamed(targets, words, notes)
    tasks_of_targets = task_names.tasks_of(targets)
    asked = _asked(options, (*words, *tasks_of_targets), base=base)
    refuse_unknown_words(options.tasks or (), tasks_of_targets)
    shared = shared_questions(evaluations)
    shared = replace(shared, lacking=task_names.keys_in(words, shared.lacking))
    if named is not None and options.chances:
        raise SparsityLabError(f"The ruler {named.name} has its own chance levels", fix="Leave --chance out")
    if named is None:
        refuse_unknown_words(given, tasks_of_targets, flag="--chance")
        chances = task_names.keys_in(words, chances_of(evaluations, given, notes))
        named, reason = family_of_choice(
            options.ruler, targets, tasks=asked,
            all_tasks=tasks_of_targets if asked else shared.once(tasks_of_targets, notes), alone=alone,
            recipe=RulerRecipe(options.convention, seed, chances=chances),
        )  # fmt: skip
    ruler = at_tokens(named, options.d0_tokens)
    _refuse_other_unit(ruler, options.convention)
    tasks = asked or shared.once(_shared(ruler, targets, paper_first=base), notes)
    if asked:
        shared.note_overlap(asked, notes)
    elif not base:
        note_other_tasks(without_parts(tasks_of_targets, shared.groups)[0], tasks, ruler, notes)
    note_choices(ruler, reason, tasks, options.convention)
    note_harness(targets, ruler, base=base, notes=notes)
    return targets, evaluations, _Choice(ruler, reason, tuple(tasks))


def read_any(
    options: DensityOptions, *, settings: Mapping[str, TaskSetting], notes: Notes
) -> tuple[list[Target], list[LmEvalScores]]:
    """Targets from wherever the options point, with the evaluations behind them if they are lm-eval's.

    Raises:
        SparsityLabError: nothing readable is there, or an option for lm-eval's results without any.
    """
    named = options.targets or (BUNDLED_SCORES if options.harness else None)
    path = None if named is None else bundled.table(named)
    evaluations = options.results_in(path, settings=settings, notes=notes)
    if evaluations is not None:
        if options.harness:
            raise SparsityLabError(
                "--harness can be given with a table of scores only",
                fix="Leave it out; lm-eval made these scores",
            )
        return targets_of(evaluations), evaluations
    if path is None:
        return bundled_targets(), []
    by_harness = [
        read_targets(path, tasks=options.tasks, notes=notes, harness=harness, models=options.models)
        for harness in dict.fromkeys(options.harness) or (None,)
    ]
    return bridged(by_harness, notes), []


def _is_base(options: DensityOptions) -> bool:
    """Whether the targets are the bundled open base models, of which each score is of the preferred harness."""
    return options.targets is None and not options.harness


def _asked(options: DensityOptions, known: Sequence[str], *, base: bool) -> tuple[str, ...] | None:
    """The tasks asked for under the names that ruler or targets know; the paper's for the bundled table."""
    if options.tasks is None:
        return PAPER_TASKS if base and options.ruler == "auto" else None
    return tuple(dict.fromkeys(called(task, known) or task for task in options.tasks))


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


def _per_task(
    targets: Sequence[Target], yardstick: Yardstick, tasks: Sequence[str]
) -> dict[str, tuple[Density, ...]]:
    """Densities by single tasks; a task on which the ruler is none is left out with a note."""
    by_task = {}
    for task in tasks if len(tasks) > 1 else ():
        try:
            by_task[task] = densities(targets, yardstick, (task,))
        except SparsityLabError as error:
            log.info("no densities on %s alone: %s", task, error.what)
    return by_task


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
