"""What a density run says of its choices: targets not measured as the others, and scores not made as the ruler's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sparsity_lab.fitting.density.densities import OTHER_SIZE, REFERENCE, Density, Yardstick, is_reference
from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.rulers.choice import BUNDLED_SOURCE
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.benchmarks import under
from sparsity_lab.fitting.density.scores.metrics import TaskSetting, is_other
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target, harness_of
from sparsity_lab.fitting.density.scores.task_names import in_words_of

log = logging.getLogger(__name__)


def note_references(targets: Sequence[Target], ruler: Ruler, *, base: bool, notes: Notes) -> None:
    """Say which of the user's targets the ruler is made of; in the bundled table the flag alone says it."""
    among = [t.model for t in targets if is_reference(t, ruler.references)]
    if among and not base:
        notes.add(
            f"{len(among)} of the targets are models that the ruler {ruler.name} is made of: {listed(among)}; "
            f"their densities lie near 1 by construction (flag {REFERENCE})"
        )


def note_other_tasks(of_targets: Sequence[str], tasks: Sequence[str], ruler: Ruler, notes: Notes) -> None:
    """Say which tasks of the targets have no part in their scores."""
    others = [task for task in of_targets if task not in tasks]
    if others:
        notes.add(f"not used, since {ruler.name} does not have them: {listed(others)}")


def note_left_out(
    targets: Sequence[Target],
    densities: Sequence[Density],
    yardstick: Yardstick,
    tasks: Sequence[str],
    notes: Notes,
) -> None:
    """Say which targets got no density, for want of a score or of a size."""
    measured = {density.target.model for density in densities}
    left_out = [target for target in targets if target.model not in measured]
    scored = [target for target in left_out if any(task in target.scores for task in tasks)]
    kinds = {
        "without a score of these tasks": [target for target in left_out if target not in scored],
        f"without a size in {yardstick.convention.words}": scored,
    }
    for kind, models in kinds.items():
        if models:
            notes.add(f"left out {kind}: {listed([target.model for target in models])}")


def note_sizes(densities: Sequence[Density], ruler: Ruler, notes: Notes) -> None:
    """Say how many targets are not counted as the ruler's models are."""
    otherwise = [density.target.model for density in densities if OTHER_SIZE in density.flags]
    if otherwise:
        notes.add(
            f"the ruler counts {ruler.params}, {len(otherwise)} of {len(densities)} targets are counted otherwise "
            f"(flag {OTHER_SIZE!r}); "
            "--embeddings out with a column params_nonembedding_b counts as the OLMo ladder does"
        )


def note_one_ruler(ruler: Ruler, others: int, notes: Notes) -> None:
    """Say that the choice of the ruler is in no interval of a density, and where other rulers' densities are."""
    columns = "the columns rho_low_others and rho_high_others of table.csv have the lowest and the highest density by"
    notes.add(
        f"the 95 % interval of each density is under the ruler {ruler.name} alone and does not cover the choice of "
        "ruler or of its corpus; "
        + (
            f"{columns} the others of one harness, {others} in all"
            if others
            else "no other of one harness is at hand"
        )
    )


def note_choices(ruler: Ruler, reason: str, tasks: Sequence[str], convention: SizeConvention) -> None:
    """Say every choice that was made, with its reason."""
    log.info("ruler: %s (%s), because %s", ruler.name, ruler.form, reason)
    mean = "mean of " if len(tasks) > 1 else ""
    log.info("size: %s; tasks: %s%s", convention.words, mean, ", ".join(tasks))
    if isinstance(ruler, TwoStepRuler):
        log.info("D0: %.3g tokens", ruler.d0_tokens)


def note_harness(targets: Sequence[Target], ruler: Ruler, *, base: bool, notes: Notes) -> None:
    """Say where the scores of targets and ruler are not sure to be of one harness."""
    of_targets = harness_of(targets)
    if base and ruler.source == BUNDLED_SOURCE:
        notes.add(
            "the scores are the preferred ones of several harnesses, and their spread is part of the intervals; "
            "--harness takes those of one alone"
        )
    elif of_targets and of_targets != ruler.harness:
        notes.add(
            f"harnesses are mixed: {of_targets} scored the targets, and the scores of the ruler {ruler.name} are of: "
            f"{ruler.harness}"
        )
    elif not of_targets:
        notes.add(f"densities assume that targets were scored as the ruler was: {ruler.harness}")


Row = dict[str, object]


def metric_rows(
    evaluations: Sequence[LmEvalScores], ruler: Ruler, tasks: Sequence[str], notes: Notes
) -> tuple[Row, ...]:
    """One row a task and way of scoring it; notes say each, and what differs from the ruler's."""
    rows: dict[tuple[object, ...], Row] = {}
    for evaluation in evaluations:
        names = in_words_of(tasks, list(evaluation.tasks))
        for task, name in names.items():
            result = evaluation.tasks[task]
            setting = under(name, ruler.settings) or TaskSetting()
            row: Row = {
                "task": name, "lm_eval_task": task, "metric": result.metric, "why": result.why,
                "shots": result.scores.shots, "ruler_metric": setting.metric, "ruler_shots": setting.shots,
                "ruler_note": setting.note,
            }  # fmt: skip
            models = rows.setdefault(tuple(row.values()), {**row, "models": []})["models"]
            assert isinstance(models, list)
            models.append(evaluation.target.model)
    alike: dict[str, list[str]] = {}
    for row in rows.values():
        alike.setdefault(_in_words(row, len(evaluations)), []).append(str(row["lm_eval_task"]))
    for words, tasks_alike in alike.items():
        notes.add(f"metric of {', '.join(tasks_alike)}{words}")
    return tuple(rows.values())


def _in_words(row: Row, models: int) -> str:
    """A row's models, metric and reason, and what of it is not the ruler's."""
    names = row["models"]
    assert isinstance(names, list)
    of = "" if len(names) == models else f" of {listed(names)}"
    text = f"{of}: {row['metric']}, because {row['why']}"
    if row["ruler_metric"] and is_other(str(row["metric"]), str(row["ruler_metric"])):
        text += f"; the ruler's is {row['ruler_metric']}"
    if row["ruler_shots"] is not None and row["shots"] != row["ruler_shots"]:
        here = "an unstated number of shots" if row["shots"] is None else f"{row['shots']} shots"
        text += f"; scored with {here}, the ruler with {row['ruler_shots']}"
    return f"{text}; in the ruler, {row['ruler_note']}" if row["ruler_note"] else text
