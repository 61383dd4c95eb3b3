"""Every ruler that can place the models of a table, and how far each two of them disagree: `density rulers`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.measure import read_any
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.choice import named_ruler
from sparsity_lab.fitting.density.rulers.disagreement import (
    UNSTATED,
    Placements,
    RulerPair,
    UsableRuler,
    agreement_rows,
    light,
    usable_rulers,
)
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.benchmarks import called, without_parts
from sparsity_lab.fitting.density.scores.metrics import refuse_unknown_words
from sparsity_lab.fitting.density.scores.targets import Target
from sparsity_lab.fitting.density.scores.task_names import in_words_of, tasks_of
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.density import RULER_PAIRS, RULERS

Row = dict[str, object]


def run_rulers(
    *, output: Path, options: DensityOptions, seed: int = 0, progress: Progress = SILENT
) -> tuple[list[Row], list[Row]]:
    """The rulers and their pairs, written to `rulers.{csv,md,json}` and `ruler_pairs.{csv,md}`.

    Raises:
        SparsityLabError: a table or task is not usable, or no ruler can place any model.
    """
    prepare_output(output)
    named, _ = named_ruler(options.ruler)
    targets, _ = read_any(options, settings=named.settings if named else {}, notes=Notes())
    tasks = _tasks(options, targets)
    base = options.targets is None and not options.harness
    usable = usable_rulers(targets, tasks, options.convention, base=base, seed=seed)
    if named is not None and named.name not in [each.ruler.name for each in usable]:
        usable.append(UsableRuler(light(named), UNSTATED))
    placements = Placements(targets, options.convention)
    rows, pairs = _rows(usable, placements, tasks), _pairs(usable, placements, tasks, progress)
    if not rows:
        raise SparsityLabError(
            f"No ruler can place a model on {', '.join(tasks) or 'the tasks of the table'}",
            fix="Choose other --tasks, or build one with `sparsity-lab density ruler`",
        )
    pair_rows = agreement_rows(pairs)
    RULERS.write(output, rows)
    RULER_PAIRS.write(output, pair_rows)
    document = {
        "tasks": tasks,
        "params": options.convention.words,
        "rulers": rows,
        "pairs": pair_rows,
        "seed": seed,
    }
    write_json(output / "rulers.json", {**document, "provenance": provenance()})
    return rows, pair_rows


def _tasks(options: DensityOptions, targets: Sequence[Target]) -> list[str]:
    """The tasks asked for, or all of the models', each question once.

    Raises:
        SparsityLabError: no model has a task that was asked for.
    """
    had = tasks_of(targets)
    if options.tasks is None:
        return list(without_parts(had, {})[0])
    refuse_unknown_words(options.tasks, had)
    return [name for task in options.tasks if (name := called(task, had))]


def _rows(usable: Sequence[UsableRuler], placements: Placements, tasks: Sequence[str]) -> list[Row]:
    """One row a ruler that gives at least one model a number, most models first."""
    rows: list[Row] = []
    for each in usable:
        ruler, rho = each.ruler, placements.rho(each.ruler, tasks)
        if rho:
            rows.append({
                "ruler": ruler.name,
                "steps": 2 if isinstance(ruler, TwoStepRuler) else 1,
                "size_low_b": ruler.sizes[0] / 1e9,
                "size_high_b": ruler.sizes[1] / 1e9,
                "params": ruler.params,
                "references": ruler.reference_count,
                "models": len(rho),
                "within": placements.within(ruler, tasks),
                "tasks": ";".join(in_words_of(ruler.tasks, tasks)),
                "same_harness": each.same_harness,
                "harness": ruler.harness,
                "source": ruler.source,
            })  # fmt: skip
    return sorted(rows, key=lambda row: (-int(str(row["models"])), str(row["ruler"])))


def _pairs(
    usable: Sequence[UsableRuler], placements: Placements, tasks: Sequence[str], progress: Progress
) -> list[RulerPair]:
    """Each two rulers on the models they share."""
    pairs = list(combinations([each.ruler for each in usable], 2))
    compared = []
    with progress.track("pairs of rulers", len(pairs)) as advance:
        for first, second in pairs:
            compared.append(placements.agreement(first, second, tasks))
            advance(1)
    return [agreement for agreement in compared if agreement is not None]
