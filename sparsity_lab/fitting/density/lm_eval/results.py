"""Reads what lm-eval wrote: scores with errors, and the loss of the gold answer from logged samples.

A folder is searched for `results_*.json`; samples are read from `samples_TASK_*.jsonl` in the same folder. A
result belongs to one model under one setting (`identity`); of several results for one identity and
task the newest counts, with a note. Sizes come from the results themselves, training tokens and release dates
from a table of models. Runs of `sparsity-lab eval` under thresholds are models of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.fitting.density.lm_eval.answer_loss import (
    AnswerLoss,
    CountTokens,
    answer_loss,
    tokenizer_of,
)
from sparsity_lab.fitting.density.lm_eval.files import ResultFile, read_result, result_files
from sparsity_lab.fitting.density.lm_eval.identity import Identity, labels
from sparsity_lab.fitting.density.lm_eval.models import describe
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.rulers.ladder import LOSS_UNITS, Ladder, Run
from sparsity_lab.fitting.density.scores.benchmarks import Groups, without_parts
from sparsity_lab.fitting.density.scores.metrics import (
    TaskScores,
    TaskSetting,
    choose_metric,
    refuse_unknown_words,
)
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore, read_models

LOSS_COLUMNS = ("nats_per_token", "nats_per_token_se", "bits_per_byte", "bits_per_byte_se")


@dataclass(frozen=True)
class TaskResult:
    """One task: all its scores, the metric that is its score and why, and the gold answer's loss if logged."""

    scores: TaskScores
    metric: str
    why: str
    loss: AnswerLoss | None

    @property
    def score(self) -> TaskScore:
        """The score under the chosen metric, 0 to 1."""
        return self.scores.scores[self.metric]


@dataclass(frozen=True)
class LmEvalScores:
    """One model under one setting: what results and table say of it, its tasks, and which tasks are groups."""

    target: Target
    identity: Identity
    tasks: Mapping[str, TaskResult] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)

    @property
    def sparsity(self) -> str:
        """The thresholds under which it ran; empty for a dense run."""
        return self.identity.get("thresholds")


def read_evaluations(
    folder: Path, *, models: Path | None = None, metrics: Mapping[str, str] | None = None,
    settings: Mapping[str, TaskSetting] | None = None, notes: Notes | None = None,
) -> list[LmEvalScores]:  # fmt: skip
    """Everything lm-eval left in a folder.

    Args:
        folder: searched with its subfolders.
        models: a table of models (`model`, sizes, `train_tokens_t`, `release_date`).
        metrics: asked for, by task (`wanted_metrics`).
        settings: a ruler's, whose metrics are preferred.
        notes: takes what was replaced, left out or is not sure.

    Raises:
        SparsityLabError: no results, unreadable ones, or a model the table does not have.
    """
    notes = Notes() if notes is None else notes
    files = _apart_by_size([read_result(path, notes) for path in result_files(folder)], notes)
    tasks_in_files = list(dict.fromkeys(task for file in files for task in file.tasks))
    refuse_unknown_words([name for name in metrics or {} if name], tasks_in_files, flag="--metric")
    rows = {} if models is None else read_models(models, notes=notes)
    kept = _newest(_apart_by_shots(files, notes), notes)
    counted = {file.identity: file.params for tasks in kept.values() for file, _ in tasks.values()}
    named = labels(list(kept))
    targets = describe(named, counted, table_rows=rows, table=models, notes=notes)
    groups = {name: parts for file in files for name, parts in file.groups.items()}
    evaluations = [
        LmEvalScores(targets[i], i, _chosen(tasks, metrics or {}, settings or {}, notes), groups)
        for i, tasks in kept.items()
    ]
    _note_other_questions(evaluations, notes)
    _note_bytes_only(evaluations, notes)
    return evaluations


def _note_other_questions(evaluations: Sequence[LmEvalScores], notes: Notes) -> None:
    """Say which tasks were not the same for all models: other versions, questions or prompts under one name."""
    for task in dict.fromkeys(task for e in evaluations for task in e.tasks):
        results = [e.tasks[task] for e in evaluations if task in e.tasks]
        kinds: dict[str, set[Any]] = {
            "version": {r.scores.version for r in results} - {""},
            "number of questions": {r.score.questions for r in results} - {None},
            "questions or prompts": {r.scores.prompts for r in results} - {""},
        }
        different = [kind for kind, values in kinds.items() if len(values) > 1]
        if different:
            notes.add(f"{task} is not the same for all models: they differ in {' and '.join(different)}")


def _note_bytes_only(evaluations: Sequence[LmEvalScores], notes: Notes) -> None:
    """Say which models' losses are not in nats per token."""
    models = [
        e.target.model
        for e in evaluations
        if any(result.loss and result.loss.nats_per_token is None for result in e.tasks.values())
    ]
    if models:
        notes.add(f"losses in bits per byte only, without a tokenizer.json that fits: {listed(models)}")


def _apart_by_shots(files: Sequence[ResultFile], notes: Notes) -> list[ResultFile]:
    """Files whose identities hold the shots, for models of which a task was run with several numbers of them."""
    seen: dict[Identity, dict[str, set[int | None]]] = {}
    for file in files:
        for task, scores in file.tasks.items():
            seen.setdefault(file.identity, {}).setdefault(task, set()).add(scores.shots)
    apart = []
    for file in files:
        several = [task for task, shots in seen.get(file.identity, {}).items() if len(shots) > 1]
        if not several:
            apart.append(file)
            continue
        notes.add(
            f"{file.identity.name} was scored on {', '.join(several)} with several numbers of shots; "
            "a row holds the tasks of one number"
        )
        for shots in sorted({scores.shots for scores in file.tasks.values()}, key=str):
            tasks = {name: scores for name, scores in file.tasks.items() if scores.shots == shots}
            identity = file.identity.also("shots", "" if shots is None else str(shots))
            apart.append(replace(file, identity=identity, tasks=tasks))
    return apart


def _apart_by_size(files: Sequence[ResultFile], notes: Notes) -> list[ResultFile]:
    """Files whose identities hold the parameters counted, where one path held models of several sizes."""
    sizes: dict[Identity, set[float]] = {}
    for file in files:
        sizes.setdefault(file.identity, set()).update({file.params} - {None})  # type: ignore[arg-type]
    apart = []
    for file in files:
        if len(sizes[file.identity]) > 1:
            notes.add(f"{file.identity.name} had models of several sizes; each has a row of its own")
            size = "unknown" if file.params is None else f"{file.params:.0f}"
            file = replace(file, identity=file.identity.also("parameters", size))
        apart.append(file)
    return apart


def _newest(
    files: Sequence[ResultFile], notes: Notes
) -> dict[Identity, dict[str, tuple[ResultFile, TaskScores]]]:
    """Each identity's tasks with the file they are from; files come oldest first."""
    kept: dict[Identity, dict[str, tuple[ResultFile, TaskScores]]] = {}
    for file in files:
        tasks = kept.setdefault(file.identity, {})
        for task, scores in file.tasks.items():
            if task in tasks:
                old_file, old = tasks[task]
                changed = [name for name in ("version", "prompts") if _differ(name, old, scores)]
                differing = f", with other {' and '.join(changed)}" if changed else ""
                notes.add(
                    f"{task} of {file.identity.name}: {file.path} replaces the older {old_file.path}, whose model and "
                    f"settings are the same{differing}"
                )
            tasks[task] = file, scores
    return {identity: tasks for identity, tasks in kept.items() if tasks}


def _differ(name: str, *scores: TaskScores) -> bool:
    """Whether two results state a thing and do not state the same."""
    return len({getattr(score, name) for score in scores} - {""}) > 1


def _chosen(
    tasks: Mapping[str, tuple[ResultFile, TaskScores]], wanted: Mapping[str, str],
    settings: Mapping[str, TaskSetting], notes: Notes,
) -> dict[str, TaskResult]:  # fmt: skip
    results = {}
    counters: dict[Path, CountTokens | None] = {}
    for name, (file, scores) in tasks.items():
        if (choice := choose_metric(scores, wanted, settings)) is None:
            names = dict.fromkeys(key.split(",")[0] for key in scores.scores)
            notes.add(f"{name} is left out where none of {', '.join(names)} is asked for or usual")
            continue
        folder = file.tokenizer_folder
        if scores.samples and folder not in counters:
            counters[folder] = tokenizer_of(folder)
        counter = counters.get(folder)
        loss = answer_loss(scores.samples, count_tokens=counter, notes=notes) if scores.samples else None
        results[name] = TaskResult(scores, *choice, loss)
    return results


def targets_of(evaluations: Sequence[LmEvalScores]) -> list[Target]:
    """The evaluated models as targets."""
    return [
        replace(e.target, scores={task: result.score for task, result in e.tasks.items()})
        for e in evaluations
    ]


def groups_of(evaluations: Sequence[LmEvalScores]) -> Groups:
    """The parts of every group that the results name."""
    return {name: parts for e in evaluations for name, parts in e.groups.items()}


def ladder_of(
    evaluations: Sequence[LmEvalScores], loss_tasks: Mapping[str, str] | None = None
) -> Ladder | None:
    """The dense models as runs with losses, or None where training tokens or losses are missing.

    The unit is nats per token where every task has them, and bits per byte otherwise. `loss_tasks` names for some
    tasks another one, whose loss is used for theirs and which is not itself a task of the ladder.
    """
    elsewhere = loss_tasks or {}

    def loss_of(evaluation: LmEvalScores, task: str) -> AnswerLoss | None:
        result = evaluation.tasks.get(elsewhere.get(task, task))
        return result.loss if result else None

    usable = [e for e in evaluations if e.target.params and e.target.tokens and not e.sparsity]
    if not usable:
        return None
    own = [t for t in usable[0].tasks if t not in elsewhere.values()]
    shared = [t for t in own if all(t in e.tasks and loss_of(e, t) for e in usable)]
    tasks, _ = without_parts(shared, groups_of(usable))
    if not tasks:
        return None
    losses = {e.identity: {t: loss for t in tasks if (loss := loss_of(e, t))} for e in usable}
    in_nats = all(loss.nats_per_token is not None for of in losses.values() for loss in of.values())
    unit = "nats_per_token" if in_nats else "bits_per_byte"
    runs = [
        Run(
            e.target.model, "reference", float(e.target.params or 0), float(e.target.tokens or 0),
            {t: np.array([getattr(loss, unit)]) for t, loss in losses[e.identity].items()},
            {t: np.array([e.tasks[t].score.value]) for t in tasks},
            e.identity.text,
        )
        for e in usable
    ]  # fmt: skip
    units = dict.fromkeys(tasks, LOSS_UNITS["_nats" if in_nats else "_bpb"])
    return Ladder(tuple(runs), tasks, units)


def loss_rows(evaluations: Sequence[LmEvalScores]) -> list[dict[str, object]]:
    """One row a model and task: score and losses with standard errors, and how the score was made."""
    return [
        {
            "model": e.target.model,
            "thresholds": e.sparsity or "dense",
            "task": task,
            "metric": result.metric,
            "score": result.score.value,
            "score_se": result.score.se,
            "documents": result.score.questions,
            **{name: getattr(result.loss, name, None) for name in LOSS_COLUMNS},
            "shots": result.scores.shots,
            "why_metric": result.why,
            "identity": e.identity.text,
        }
        for e in evaluations
        for task, result in e.tasks.items()
    ]
