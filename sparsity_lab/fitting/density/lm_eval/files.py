"""Reads one file of lm-eval's results: whose it is, and of every task its scores, shots, samples and parts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.identity import Identity, identity_of, model_arguments, section
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.scores.amounts import LARGEST_PARAMS
from sparsity_lab.fitting.density.scores.metrics import TaskScores, is_score
from sparsity_lab.fitting.density.scores.targets import TaskScore
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.reading.walking import Walk
from sparsity_lab.store.tables import is_number

RUN_AGAIN = "Run lm-eval 0.4 again with --output_path, or `sparsity-lab eval`; or move the file away"
_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?$")


@dataclass(frozen=True)
class ResultFile:
    """One results file: `params` as lm-eval counted them, `tokenizer_folder` where the model may lie."""

    path: Path
    identity: Identity
    params: float | None
    tasks: Mapping[str, TaskScores]
    groups: Mapping[str, tuple[str, ...]]
    tokenizer_folder: Path


def result_files(folder: Path) -> list[Path]:
    """lm-eval's results below a folder, oldest first: `results*.json` and `NAME_DATE.json`; links are followed.

    Raises:
        SparsityLabError: there are none, or a folder below cannot be read.
    """
    files = [p for p in _walk(folder) if p.stem.startswith("results") or _DATED.search(p.stem)]
    if not files:
        raise SparsityLabError(
            f"There are no lm-eval results in {folder}", why="No file results_*.json was found",
            fix="Give lm-eval --output_path, or run `sparsity-lab eval`",
        )  # fmt: skip
    return sorted(files, key=lambda path: (_date(path), str(path)))


def _walk(folder: Path) -> Iterator[Path]:
    """Every JSON file below a folder, each once, however many links lead to it."""
    walk = Walk(folder)
    files = [path for path in walk.files() if path.suffix == ".json"]
    walk.tell()
    lost = next((entry for entry in walk.left_out if entry.lost), None)
    if lost is not None:
        raise SparsityLabError(
            f"Cannot read {lost.path}", why=lost.why, fix="Give a folder whose parts can be read"
        )
    yield from {os.path.realpath(path): path for path in files}.values()


def read_result(path: Path, notes: Notes) -> ResultFile:
    """One results file; infinities and NaN, which lm-eval writes, only lose their own metric.

    Raises:
        SparsityLabError: unreadable, or of another shape.
    """
    document = read_json(path, kind="lm-eval result", fix=RUN_AGAIN, finite=False)
    results, config = _parts(document, path)
    identity = identity_of(document, fallback=path.parent.name)
    groups = _groups(document)
    tasks = {task: _task(task, values, document, groups, path, notes) for task, values in results.items()}
    counted = config.get("model_num_parameters")
    arguments = model_arguments(config)
    return ResultFile(
        path, identity, float(counted) if is_number(counted) and 0 < counted <= LARGEST_PARAMS else None,
        {task: scores for task, scores in tasks.items() if scores is not None}, groups,
        Path(arguments.get("tokenizer") or arguments.get("pretrained") or identity.name),
    )  # fmt: skip


def _task(
    task: str, values: Mapping[str, Any], document: Mapping[str, Any], groups: Mapping[str, tuple[str, ...]],
    path: Path, notes: Notes,
) -> TaskScores | None:  # fmt: skip
    better = section(document, "higher_is_better", task)
    scores = {}
    for metric, value in values.items():
        if not is_number(value) or "_stderr" in metric:
            continue
        if not math.isfinite(value):
            notes.add(f"{path.name}: {metric.split(',')[0]} of {task} is {value} and is left out")
        elif is_score(metric, value) and better.get(metric.split(",")[0]) is not False:
            scores[metric] = _score(values, metric, document, task)
    if not scores:
        if others := sorted(
            {metric.split(",")[0] for metric in values if "," in metric and "_stderr" not in metric}
        ):
            notes.add(f"{task} is left out where none of {', '.join(others)} is a score of 0 to 1")
        return None
    config = section(document, "configs", task)
    choices = config.get("doc_to_choice")
    return TaskScores(
        task, scores, shots=_shots(task, document, groups), samples=_samples(path, task),
        output_type=str(config.get("output_type") or ""),
        choices=len(choices) if isinstance(choices, list) and len(choices) > 1 else None,
        prompts=str(section(document, "task_hashes").get(task) or ""),
        version=str(section(document, "versions").get(task, "")),
    )  # fmt: skip


def _score(values: Mapping[str, Any], metric: str, document: Mapping[str, Any], task: str) -> TaskScore:
    name, comma, kind = metric.partition(",")
    se = values.get(f"{name}_stderr{comma}{kind}")
    questions = section(document, "n-samples", task).get("effective")
    # An error of exactly zero says only that no answer differed; the count of questions then speaks.
    stated = float(se) if is_number(se) and math.isfinite(se) and se > 0 else None
    return TaskScore(float(values[metric]), questions=_count(questions) or None, se=stated)


def _shots(task: str, document: Mapping[str, Any], groups: Mapping[str, tuple[str, ...]]) -> int | None:
    """The examples in a task's prompt; of a group, those of its parts where they agree."""
    stated = section(document, "n-shot")
    parts = groups.get(task, ())
    counts = {stated.get(part) for part in parts if part in stated} if task not in stated else {stated[task]}
    return _count(counts.pop()) if len(counts) == 1 else None


def _samples(path: Path, task: str) -> Path | None:
    samples = path.parent / f"samples_{task}_{_date(path)}.jsonl"
    # A task's name is what a file says: it may not lead out of the file's own folder.
    inside = samples.parent == path.parent and "\0" not in task
    return samples if inside and samples.is_file() else None


def _groups(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    stated = document.get("group_subtasks")
    if not isinstance(stated, Mapping):
        return _indented(section(document, "results"))
    return {
        name: tuple(str(part) for part in parts)
        for name, parts in stated.items()
        if isinstance(parts, list) and parts
    }


def _indented(results: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Groups by the indentation of their parts' aliases, ` - part`, where a result names them by that alone."""
    groups: dict[str, list[str]] = {}
    above: list[tuple[int, str]] = []
    for task, values in results.items():
        alias = str(section(values).get("alias") or task)
        bare = alias.lstrip(" ")
        depth = len(alias) - len(bare) if bare.startswith("- ") else 0
        above = [(other, name) for other, name in above if other < depth]
        if above:
            groups.setdefault(above[-1][1], []).append(task)
        above.append((depth, task))
    return {name: tuple(parts) for name, parts in groups.items()}


def _parts(document: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores by task and the configuration of a result.

    Raises:
        SparsityLabError: it has another shape.
    """
    results = document.get("results") if isinstance(document, dict) else None
    config = document.get("config") or {} if isinstance(document, dict) else {}
    shaped = isinstance(results, dict) and all(isinstance(values, dict) for values in results.values())
    if results is None or not shaped or not isinstance(config, dict):
        raise SparsityLabError(
            f"{path} is not an lm-eval result of a known version",
            why="It has no mapping `results` from tasks to their scores, or its `config` is not a mapping",
            fix=RUN_AGAIN,
        )
    return results, config


def _date(path: Path) -> str:
    dated = _DATED.search(path.stem)
    return dated.group() if dated else path.stem.removeprefix("results").removeprefix("_")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
