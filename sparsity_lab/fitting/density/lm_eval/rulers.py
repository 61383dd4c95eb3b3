"""What lm-eval's results say for a ruler made of their models: chance levels, settings, groups that are not whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.answer_loss import choices_in
from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores, groups_of
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.scores.benchmarks import benchmark, called, same
from sparsity_lab.fitting.density.scores.metrics import TaskScores, TaskSetting, refuse_unknown_words
from sparsity_lab.fitting.density.scores.task_names import SharedQuestions

CHOSEN_AMONG = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
LIKELIHOODS = ("loglikelihood", "generate_until")
CHANCE_GAP = 0.02


def shared_questions(evaluations: Sequence[LmEvalScores]) -> SharedQuestions:
    """The groups that results name, and those whose score is not of all their parts, for some part lacks its metric."""
    lacking = {}
    for e in evaluations:
        for group, result in e.tasks.items():
            name = result.metric.split(",")[0]
            parts = [e.tasks[part] for part in e.groups.get(group, ()) if part in e.tasks]
            if any(all(name != key.split(",")[0] for key in part.scores.scores) for part in parts):
                lacking[group] = name
    return SharedQuestions(groups_of(evaluations), lacking)


def loss_tasks(words: Sequence[str], evaluations: Sequence[LmEvalScores], notes: Notes) -> dict[str, str]:
    """`--loss` as the tasks whose loss is used for that of others, by the names of the results.

    Raises:
        SparsityLabError: not TASK=TASK, or a task that is not there.
    """
    known, named = list(dict.fromkeys(task for e in evaluations for task in e.tasks)), {}
    for word in words:
        task, _, of = (part.strip() for part in word.partition("="))
        if not task or not of:
            raise SparsityLabError(
                f"--loss {word!r} is not a task and the task whose loss is taken",
                fix="Write --loss mmlu=densing_mmlu",
            )
        refuse_unknown_words((task, of), known, flag="--loss")
        named[str(called(task, known))] = str(called(of, known))
    for task, of in named.items():
        notes.add(f"the loss of {task} is that of {of}")
    return named


def chances_of(
    evaluations: Sequence[LmEvalScores], given: Mapping[str, float], notes: Notes
) -> dict[str, float]:
    """Chance levels as given, and as the results tell them where the table of names does not know a task.

    Raises:
        SparsityLabError: logged samples cannot be read.
    """
    chances, seen = dict(given), list(given)
    for e in evaluations:
        for task, result in e.tasks.items():
            if any(same(task, name) for name in seen) or not (stated := _stated_chance(task, e, frozenset())):
                continue
            seen.append(task)
            chance, why = stated
            table, choices = benchmark(task).chance, benchmark(task).choices
            if table is None or (choices and abs(table - chance) > CHANCE_GAP and result.scores.samples):
                of_names = "" if table is None else f"; the table of names says {table:g}"
                notes.add(f"the chance level of {task} is {chance:.4g}, because {why}{of_names}")
                chances[task] = chance
    return chances


def _stated_chance(task: str, e: LmEvalScores, seen: frozenset[str]) -> tuple[float, str] | None:
    """What guessing scores by a task's own samples or configuration, or by those of its parts; and why."""
    parts = e.groups.get(task, ())
    if not parts:
        return _chance_in(e.tasks[task].scores, e.tasks[task].metric)
    if task in seen or not all(part in e.tasks for part in parts):
        return None
    stated = [_stated_chance(part, e, seen | {task}) for part in parts]
    levels = [level for level, _ in filter(None, stated)]
    if len(levels) < len(parts):
        return None
    questions = [e.tasks[part].score.questions or 1 for part in parts]
    return float(np.average(levels, weights=questions)), "it is the mean of its parts'"


def _chance_in(task: TaskScores, metric: str) -> tuple[float, str] | None:
    """The score of guessing as a result tells it, and by what; None where it does not tell.

    Raises:
        SparsityLabError: logged samples cannot be read.
    """
    if task.output_type in LIKELIHOODS:
        return 0.0, f"its answers are not chosen among given ones ({task.output_type})"
    if metric.split(",")[0] not in CHOSEN_AMONG:
        return None
    counts = choices_in(task.samples) if task.samples else []
    if counts and max(counts) > 1:
        most = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])
        return float(np.mean([1 / count for count in counts])), f"its logged samples have {most} choices"
    if counts and task.output_type in ("", "loglikelihood"):
        return 0.0, "its logged samples have one answer each, not several to choose from"
    if task.choices:
        return 1 / task.choices, f"its configuration lists {task.choices} choices"
    return None


def settings_of(evaluations: Sequence[LmEvalScores]) -> dict[str, TaskSetting]:
    """How the tasks of a ruler's models were scored; what they do not share is left open."""
    settings = {}
    for task in dict.fromkeys(task for e in evaluations for task in e.tasks):
        results = [e.tasks[task] for e in evaluations if task in e.tasks]
        metrics, shots = {r.metric for r in results}, {r.scores.shots for r in results}
        settings[task] = TaskSetting(
            metrics.pop() if len(metrics) == 1 else None, shots.pop() if len(shots) == 1 else None
        )
    return settings
