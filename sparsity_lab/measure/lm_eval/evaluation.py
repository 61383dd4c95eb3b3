"""Runs lm-eval on a model, dense and under threshold files: a cell for each setting, and the table of them all.

The scores of one model dense, at PPL-1 %, at PPL-5 % side by side are table 1 of Sparsing Law (arXiv
2411.02335). The results are those lm-eval itself would write, with a note `sparsity_lab` that says which
thresholds were applied; logged samples carry the log-likelihoods that densities are read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab import extras, ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.loggers import Loggers
from sparsity_lab.measure.checkpoint.devices import check_dtype
from sparsity_lab.measure.checkpoint.prepared import Ready
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.lm_eval.perplexity import text_reading
from sparsity_lab.measure.lm_eval.scoring import (
    EvalRecipe,
    EvalSpec,
    EvaluationSetting,
    scores_of,
    task_files,
    tasks_at_hand,
)
from sparsity_lab.measure.neurons.spec import record_of_each
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Cell, RunTerms
from sparsity_lab.measure.work.failures import FAILED, Lost, attempted
from sparsity_lab.measure.work.preparing import ModelPreparer, Preparer
from sparsity_lab.measure.work.run_cells import HERE, Means, cell_run, command_words
from sparsity_lab.provenance import provenance
from sparsity_lab.store.records import read_record, write_json
from sparsity_lab.store.tables import write_table

RECORDS = "eval_records"  # their folder in an output
DENSE = "dense"


@dataclass(frozen=True)
class EvalReport:
    """One row a setting: scores and their errors by task, or why there are none; and the files written."""

    rows: tuple[dict[str, object], ...]
    columns: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def failed(self) -> bool:
        """Whether a setting failed."""
        return FAILED in self.columns


def run_eval(
    spec: EvalSpec, checkpoints: Sequence[Checkpoint] = (), *, output: Path, means: Means = HERE
) -> EvalReport:
    """Evaluate each model in every setting that has no record yet.

    Of several settings or models, one that fails leaves a row that says why, and no record. Under `spec.fail_fast`,
    and where there is but one cell, its error ends the run; so does the first error where every setting of the only
    model fails.

    Args:
        spec: tasks, thresholds and limits, and the model where no checkpoints are given.
        checkpoints: several models, each dense and under the record whose thresholds go with it (`thresholds_of`).
        output: gets lm-eval's results in a folder for each setting, `eval_records/`, and `eval.csv`, `.md`, `.json`.
        means: launcher, progress, and loggers, which get the scores of each setting.

    Raises:
        SparsityLabError: no such model, task or record, thresholds of another model, or a failure that is to end the
            run; results already written stay.
    """
    if spec.tasks:
        extras.require("lm_eval", "datasets", who="An evaluation by lm-eval")
    _check(spec)
    asked = _asked(spec, checkpoints)
    alone = sum(len(settings) for _, settings in asked) == 1
    terms = RunTerms(output / RECORDS, command_words(), spec.again, spec.fail_fast or alone)
    with cell_run(terms, means) as run:
        if spec.tasks:
            tasks_at_hand(spec, run.desk.kept)
        preparer = _preparer(spec, elsewhere=run.crew.device)
        files = task_files(spec, output=output)
        wanted: list[tuple[Ready | Lost, EvalRecipe]] = []
        for checkpoint, settings in asked:
            ready = attempted(preparer.prepare, checkpoint, fail_fast=spec.fail_fast or len(asked) == 1)
            about = replace(spec, model=checkpoint.source.model, revision=checkpoint.source.revision)
            wanted += [(ready, EvalRecipe(about, each, tuple(settings), files)) for each in settings]
        cells = [Cell(recipe, each) for each, recipe in wanted if isinstance(each, Ready)]
        means.loggers.start()
        log = partial(_log, means.loggers, {cell.key: cell.prepared for cell in cells})
        answers = iter(run.answers(cells, label="lm-eval settings", tell=log))
    evaluated = [
        (each.checkpoint, recipe.setting.name, each.error if isinstance(each, Lost) else next(answers))
        for each, recipe in wanted
    ]
    report = _written(spec, evaluated, output=output, several=len(asked) > 1)
    errors = [answer for _, _, answer in evaluated if isinstance(answer, SparsityLabError)]
    if len(asked) == 1 and len(errors) == len(evaluated):
        raise errors[0]  # of one model nothing was found out
    return report


def _preparer(spec: EvalSpec, *, elsewhere: str | None) -> ModelPreparer:
    """What prepares models, on the text where there is one."""
    if spec.text is not None:
        return Preparer(text_reading(spec.text, spec), elsewhere=elsewhere)
    return ModelPreparer(spec.of_model(), elsewhere=elsewhere)


def _asked(
    spec: EvalSpec, checkpoints: Sequence[Checkpoint]
) -> list[tuple[Checkpoint, list[EvaluationSetting]]]:
    """Each model with its settings: of one all records, of several the record that goes with each.

    Raises:
        SparsityLabError: no such model or record, or a folder of records that holds none of a model.
    """
    if not checkpoints:
        source = Source.of(spec.model, spec.revision, tokenizer=spec.tokenizer)
        return [(Checkpoint(source, Path(source.model).name), read_settings(spec))]
    records_of: list[tuple[Path, ...]] = [()] * len(checkpoints)
    if spec.thresholds:
        records_of = [(record,) for record in record_of_each(spec.thresholds, checkpoints, spec)]
    return [
        (checkpoint, read_settings(replace(spec, thresholds=chosen)))
        for checkpoint, chosen in zip(checkpoints, records_of, strict=True)
    ]


def _log(loggers: Loggers, ready: Mapping[str, Ready], record: dict[str, Any]) -> None:
    """A point of one setting's scores; `ready` are the models by content key."""
    prepared, label = ready[record["content_key"]], f"lm-eval {record['setting']}"
    loggers.values(prepared.checkpoint.series, label, scores_of(record), step=prepared.trained_tokens)


def _written(
    spec: EvalSpec,
    evaluated: Sequence[tuple[Checkpoint, str, dict[str, Any] | SparsityLabError]],
    *,
    output: Path,
    several: bool,
) -> EvalReport:
    """Write the table of all settings, of each model where there are several."""
    rows: list[dict[str, Any]] = []
    files, failed = [], []
    notes: dict[str, None] = {}  # of the tokenizer, each once
    for checkpoint, setting, answer in evaluated:
        model = {"model": checkpoint.name} if several else {}
        if isinstance(answer, SparsityLabError):
            rows.append({**model, "setting": setting, FAILED: answer.paragraph()})
            called = f"{checkpoint.name}, {setting}" if several else setting
            failed.append({**rows[-1], "model": called, "revision": None, "commit": None})
            continue
        rows.append({**model, **answer["row"]})
        files += [output / name for name in answer["files"]]
        notes |= dict.fromkeys(answer["notes"])
    columns = tuple(dict.fromkeys(key for row in rows for key in row if key != FAILED))
    columns = (*columns, FAILED) if failed else columns
    write_table(output / "eval", rows, columns)
    write_json(
        output / "eval.json", {"rows": rows, "provenance": provenance(seed=spec.seed, tokenizer=list(notes))}
    )
    done = [row for row in rows if FAILED not in row]
    failures.tell([*failed, *done], total=len(rows), table="eval.csv", what="settings")
    return EvalReport(tuple(rows), columns, (*files, *(output / f"eval.{k}" for k in ("csv", "md", "json"))))


def read_settings(spec: EvalSpec) -> list[EvaluationSetting]:
    """The dense setting, if wanted, and one for each record.

    Raises:
        SparsityLabError: a record cannot be read, has no thresholds, or nothing is left to run.
    """
    settings = [EvaluationSetting(DENSE)] if spec.dense else []
    for path in spec.thresholds:
        calibration, record = read_calibration(path), read_record(path)
        settings.append(EvaluationSetting(setting_name(record), record, path, calibration))
    if not settings:
        raise SparsityLabError("Nothing to evaluate", fix="Give --thresholds, or leave --no-dense out")
    _refuse_one_name(settings)
    return settings


def _check(spec: EvalSpec) -> None:
    """Refuse options that lm-eval would choke on, before it is loaded."""
    ranges.check_fields(spec)
    if not spec.tasks and spec.text is None:
        raise SparsityLabError(
            "--tasks names no task", fix="Write lm-eval tasks with commas between, or a --text or --dataset"
        )
    if spec.batch_size != "auto" and not (spec.batch_size.isdecimal() and int(spec.batch_size) > 0):
        raise SparsityLabError(
            f"--batch-size {spec.batch_size} is neither auto nor a positive number", fix="Write auto, or 8"
        )
    check_dtype(spec.dtype)


def _refuse_one_name(settings: Sequence[EvaluationSetting]) -> None:
    """Two settings of one name would write to one folder."""
    named: dict[str, EvaluationSetting] = {}
    for setting in settings:
        other = named.setdefault(setting.name, setting)
        if other is not setting:
            raise SparsityLabError(
                f"{setting.path} and {other.path} are both called {setting.name}",
                fix="Evaluate them in two runs, each with its own --output",
            )


def setting_name(record: dict[str, Any]) -> str:
    """How a record's thresholds are called in tables: the quality they were set at, or the knob.

    A criterion other than cett is named as well.
    """
    target, criterion = record.get("ppl_increase_target"), str(record["criterion"])
    if target is not None:
        return f"{'' if criterion == 'cett' else f'{criterion} '}PPL-{100 * float(target):g}%"
    return f"{criterion} {record['knob']:g}"
