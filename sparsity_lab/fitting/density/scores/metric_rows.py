"""How each score from lm-eval was made, against how the ruler's was: metric, reason and shots."""

from __future__ import annotations

from collections.abc import Sequence

from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.scores.benchmarks import under
from sparsity_lab.fitting.density.scores.metrics import TaskSetting, is_other
from sparsity_lab.fitting.density.scores.task_names import in_words_of

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
