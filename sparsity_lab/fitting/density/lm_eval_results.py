"""Reads what lm-eval wrote: scores with errors, and the loss of the gold answer from logged samples.

A folder is searched for `results_*.json`; samples lie beside them as `samples_TASK_*.jsonl`. Of several
results for one model and task the newest counts. Sizes come from the results themselves, training tokens
and release dates from a table of models. Runs of `sparsity-lab eval` under thresholds carry a note, and are
models of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.answer_loss import AnswerLoss, answer_loss, tokenizer_of
from sparsity_lab.fitting.density.ladder import LOSS_UNITS, Ladder, Run
from sparsity_lab.fitting.density.targets import Score, Target, family_of, read_models
from sparsity_lab.fitting.json_file import read_json
from sparsity_lab.walking import Walk

log = logging.getLogger(__name__)

METRICS = ("acc", "exact_match", "pass@1", "pass_at_1", "mc2", "acc_norm", "f1")
NOTE_KEY = "sparsity_lab"
RUN_AGAIN = "Run lm-eval 0.4 again with --output_path, or `sparsity-lab eval`; or move the file away"


@dataclass(frozen=True)
class TaskResult:
    """One task: score in 0 to 1, and the gold answer's loss where samples were logged."""

    task: str
    metric: str
    score: Score
    loss: AnswerLoss | None


@dataclass(frozen=True)
class Evaluation:
    """One model: its name, what the results and the table of models say of it, and its tasks."""

    target: Target
    sparsity: str
    tasks: Mapping[str, TaskResult] = field(default_factory=dict)


def read_evaluations(
    folder: Path, *, models: Path | None = None, metric: str | None = None
) -> list[Evaluation]:
    """Everything lm-eval left in a folder.

    Args:
        folder: searched with its subfolders.
        models: a table of models (`model`, sizes, `train_tokens_t`, `release_date`).
        metric: whose value is the score; by default the first of `METRICS` a task has.

    Raises:
        SparsityLabError: no results, unreadable ones, or a model the table does not have.
    """
    files = sorted(_results_in(folder), key=lambda path: (_date(path), str(path)))
    if not files:
        raise SparsityLabError(
            f"There are no lm-eval results in {folder}", why="No file results_*.json was found",
            fix="Give lm-eval --output_path, or run `sparsity-lab eval`",
        )  # fmt: skip
    known = {} if models is None else read_models(models)
    found: dict[str, Evaluation] = {}
    for path in files:
        evaluation = _evaluation(path, known, metric=metric, table=models)
        earlier = found.get(evaluation.target.model)
        tasks = {**(earlier.tasks if earlier else {}), **evaluation.tasks}
        found[evaluation.target.model] = replace(evaluation, tasks=tasks)
    return list(found.values())


def _results_in(folder: Path) -> list[Path]:
    """The files of results in a folder and those below it, each once, however many links lead to it."""
    walk = Walk(folder)
    results = [path for path in walk.files() if path.name.startswith("results") and path.suffix == ".json"]
    walk.tell()
    return list({path.resolve(): path for path in results}.values())


def targets_of(evaluations: Sequence[Evaluation]) -> list[Target]:
    """The evaluated models as targets."""
    return [
        replace(e.target, scores={task: result.score for task, result in e.tasks.items()})
        for e in evaluations
    ]


def ladder_of(evaluations: Sequence[Evaluation]) -> Ladder | None:
    """The models as runs with losses, or None where training tokens or losses are missing.

    The unit is nats per token where every task has them, and bits per byte otherwise.
    """
    usable = [e for e in evaluations if e.target.params and e.target.tokens and not e.sparsity]
    if not usable:
        return None
    tasks = tuple(t for t in usable[0].tasks if all(t in e.tasks and e.tasks[t].loss for e in usable))
    if not tasks:
        return None
    in_nats = all(_loss(e, t).nats_per_token is not None for e in usable for t in tasks)
    runs = [
        Run(
            e.target.model, "reference", float(e.target.params or 0), float(e.target.tokens or 0),
            {t: np.array([_loss_value(e, t, in_nats=in_nats)]) for t in tasks},
            {t: np.array([e.tasks[t].score.value]) for t in tasks},
        )
        for e in usable
    ]  # fmt: skip
    return Ladder(tuple(runs), tasks, dict.fromkeys(tasks, LOSS_UNITS["_nats" if in_nats else "_bpb"]))


def loss_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    """One row a model and task: score and losses with standard errors."""
    return [
        {
            "model": e.target.model,
            "thresholds": e.sparsity or "dense",
            "task": task,
            "metric": result.metric,
            "score": result.score.value,
            "score_se": result.score.se,
            "documents": result.score.questions,
            "nats_per_token": result.loss.nats_per_token if result.loss else None,
            "nats_per_token_se": result.loss.nats_per_token_se if result.loss else None,
            "bits_per_byte": result.loss.bits_per_byte if result.loss else None,
            "bits_per_byte_se": result.loss.bits_per_byte_se if result.loss else None,
        }
        for e in evaluations
        for task, result in e.tasks.items()
    ]


def _evaluation(
    path: Path, known: Mapping[str, Target], *, metric: str | None, table: Path | None
) -> Evaluation:
    document = read_json(path, kind="lm-eval result", fix=RUN_AGAIN)
    results, config = _parts(document, path)
    name = str(document.get("model_name") or _pretrained(config) or path.parent.name)
    note = document.get(NOTE_KEY)
    note = note if isinstance(note, dict) else {}
    sparsity = str(note.get("setting") or "")
    target = _described(name, config, known, path=path, table=table)
    if sparsity:
        target = replace(target, model=f"{target.model} at {sparsity}")
    folder = Path(str(_pretrained(config) or name))
    counter = tokenizer_of(folder)
    if counter is None:
        log.info("no tokenizer.json in %s: losses of %s are in bits per byte only", folder, target.model)
    tasks = {}
    for task, values in results.items():
        if (chosen := _metric(values, metric)) is None:
            log.info("%s: no score of 0 to 1 for %s; left out", path.name, task)
            continue
        samples = path.parent / f"samples_{task}_{_date(path)}.jsonl"
        # A task's name is what a file says: it may not lead out of the file's own folder.
        beside = samples.parent == path.parent and "\0" not in task and samples.is_file()
        loss = answer_loss(samples, count_tokens=counter) if beside else None
        tasks[task] = TaskResult(task, chosen, _score(values, chosen, document, task), loss)
    return Evaluation(target, sparsity, tasks)


def _parts(document: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores by task and the configuration of a result.

    Raises:
        SparsityLabError: it has another shape.
    """
    results = document.get("results") if isinstance(document, dict) else None
    config = document.get("config") or {} if isinstance(document, dict) else {}
    shaped = isinstance(results, dict) and all(isinstance(one, dict) for one in results.values())
    if results is None or not shaped or not isinstance(config, dict):
        raise SparsityLabError(
            f"{path} is no lm-eval result of a known version",
            why="It has no mapping `results` from tasks to their scores, or its `config` is no mapping",
            fix=RUN_AGAIN,
        )
    return results, config


def _described(
    name: str, config: Mapping[str, Any], known: Mapping[str, Target], *, path: Path, table: Path | None
) -> Target:
    """The target of a result: from the table by full or last name, its size from the result otherwise."""
    short = name.rstrip("/").rsplit("/", 1)[-1]
    listed = known.get(name) or known.get(short)
    if listed is None and table is not None:
        from sparsity_lab.registry import unknown

        error = unknown(short, kind="model", known=sorted(known))
        raise SparsityLabError(f"{table} has no row for the model {short} of {path}", fix=error.fix)
    counted = config.get("model_num_parameters")
    params = float(counted) if isinstance(counted, (int, float)) and counted > 0 else None
    if listed is None:
        return Target(short, family_of(short), params, {})
    return replace(listed, params=listed.params or params)


def _metric(values: Mapping[str, Any], wanted: str | None) -> str | None:
    """The key `metric,filter` of a task's score, or None where it has none within 0 to 1."""
    for name in (wanted,) if wanted else METRICS:
        for key, value in values.items():
            if key.split(",")[0] == name and isinstance(value, (int, float)) and 0 <= value <= 1:
                return key
    return None


def _score(values: Mapping[str, Any], key: str, document: Mapping[str, Any], task: str) -> Score:
    name, _, kind = key.partition(",")
    se = values.get(f"{name}_stderr,{kind}")
    counts = _mapping(_mapping(document.get("n-samples")).get(task))
    questions = counts.get("effective")
    # An error of exactly zero says only that no answer differed; the count of questions then speaks.
    stated = float(se) if isinstance(se, (int, float)) and se > 0 else None
    return Score(
        float(values[key]),
        questions=questions if isinstance(questions, int) and questions > 0 else None,
        se=stated,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _pretrained(config: Mapping[str, Any]) -> str | None:
    arguments = config.get("model_args")
    if isinstance(arguments, Mapping):
        return arguments.get("pretrained")
    parts = dict(part.split("=", 1) for part in str(arguments or "").split(",") if "=" in part)
    return parts.get("pretrained")


def _date(path: Path) -> str:
    return path.stem.removeprefix("results").removeprefix("_")


def _loss(evaluation: Evaluation, task: str) -> AnswerLoss:
    loss = evaluation.tasks[task].loss
    assert loss is not None
    return loss


def _loss_value(evaluation: Evaluation, task: str, *, in_nats: bool) -> float:
    loss = _loss(evaluation, task)
    return float(loss.nats_per_token) if in_nats and loss.nats_per_token is not None else loss.bits_per_byte
