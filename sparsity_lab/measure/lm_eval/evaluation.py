"""Runs lm-eval in this process on a live model, dense and under threshold files.

The scores of one model dense, at PPL-1 %, at PPL-5 % side by side are table 1 of Sparsing Law (arXiv
2411.02335). The results are those lm-eval itself would write, with a note `sparsity_lab` that says which
thresholds were applied; logged samples carry the log-likelihoods that densities are read from.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsity_lab import extras, ranges
from sparsity_lab.errors import REPORT_FIX, SparsityLabError
from sparsity_lab.measure.api import sparsified
from sparsity_lab.measure.checkpoint.devices import check_dtype, choose_device, choose_dtype
from sparsity_lab.measure.checkpoint.loading import load_config, load_model, load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import Source, pinned
from sparsity_lab.measure.lm_eval.bridge import explained, folder_name, quiet, save, task_manager
from sparsity_lab.measure.lm_eval.model import lm_eval_model
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.settings import EvalSettings
from sparsity_lab.store.records import no_empty_folders, prepare_output, read_record, write_json
from sparsity_lab.store.tables import write_table

log = logging.getLogger(__name__)

NOTE_KEY = "sparsity_lab"
DENSE = "dense"
BOOTSTRAP_DRAWS = 1000
CPU_BATCH = 8
METRIC_ORDER = ("acc", "exact_match", "pass@1", "acc_norm", "f1")


@dataclass(frozen=True)
class EvalSpec(EvalSettings):
    """What to evaluate.

    Attributes:
        model: directory, Hub id or ID@REVISION; `revision` of an id.
        tasks: names of lm-eval tasks.
        thresholds: records of `measure` whose thresholds are applied, one run each.
        tokenizer: a directory or Hub id whose tokenizer is used instead of the model's own, or None.
    The others are those of `EvalSettings`.
    """

    model: str
    tasks: tuple[str, ...]
    revision: str | None = None
    thresholds: tuple[Path, ...] = ()
    tokenizer: str | None = None


@dataclass(frozen=True)
class EvaluationSetting:
    """Dense, or the thresholds of one record."""

    name: str
    record: dict[str, Any] | None = None
    path: Path | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class EvalReport:
    """One row a setting: scores and their errors by task; and the files written."""

    rows: tuple[dict[str, object], ...]
    columns: tuple[str, ...]
    files: tuple[Path, ...]


def run_eval(spec: EvalSpec, *, output: Path, progress: Progress = SILENT) -> EvalReport:
    """Load a model, evaluate it in every setting and write lm-eval's results and a table to `output`.

    Raises:
        SparsityLabError: no such model, task or record, or thresholds of another model.
    """
    extras.require("lm_eval", "datasets", who="An evaluation by lm-eval")
    _check(spec)
    source = Source.of(spec.model, spec.revision, tokenizer=spec.tokenizer)
    spec = replace(spec, model=source.model, revision=source.revision)
    settings = read_settings(spec)
    with no_empty_folders(output):
        prepare_output(output)
        manager = task_manager(spec.tasks, spec.include_path)
        source = pinned(source)
        config = load_config(source, architecture_file=spec.architecture_file)
        device = choose_device(spec.device)
        dtype, _ = choose_dtype(spec.dtype, config=config, device=device)
        tokenizer = load_text_tokenizer(source)
        model = load_model(source, dtype=dtype, device=device)
        return evaluate(
            model, tokenizer, spec, settings=settings, manager=manager, output=output, progress=progress
        )


def evaluate(
    model: Any, tokenizer: Any, spec: EvalSpec, *, settings: Sequence[EvaluationSetting], output: Path,
    manager: Any = None, progress: Progress = SILENT,
) -> EvalReport:  # fmt: skip
    """Evaluate a live model in every setting; thresholds are hooked in and removed again.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer, a `TextTokenizer` or one of transformers.
        spec: tasks and limits; `spec.model` names the model in the results.
        settings: from `read_settings`.
        output: where lm-eval's results and the table go.
        manager: lm-eval's task manager; None makes one from `spec`.
        progress: told of each setting.
    """
    for setting in settings:  # thresholds of another model are refused now, not after hours of the first run
        with _applied(model, setting, spec):
            pass
    rows, files = [], []
    notes: dict[str, None] = {}  # of the tokenizer, each once
    with progress.track("lm-eval settings", len(settings)) as advance:
        for setting in settings:
            results = _results(
                model, tokenizer, spec, setting, notes=notes,
                manager=manager or task_manager(spec.tasks, spec.include_path),
            )  # fmt: skip
            files += save(results, model=spec.model, goal=output / folder_name(setting.name))
            rows.append(_row(results, setting))
            advance(1)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    write_table(output / "eval", rows, columns)
    write_json(
        output / "eval.json", {"rows": rows, "provenance": provenance(seed=spec.seed, tokenizer=list(notes))}
    )
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
    if not spec.tasks:
        raise SparsityLabError("--tasks names no task", fix="Write lm-eval tasks with commas between")
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

    A criterion other than cett is named beside the quality.
    """
    target, criterion = record.get("ppl_increase_target"), str(record["criterion"])
    if target is not None:
        return f"{'' if criterion == 'cett' else f'{criterion} '}PPL-{100 * float(target):g}%"
    return f"{criterion} {record['knob']:g}"


def _results(
    model: Any,
    tokenizer: Any,
    spec: EvalSpec,
    setting: EvaluationSetting,
    *,
    notes: dict[str, None],
    manager: Any,
) -> dict[str, Any]:
    from lm_eval import simple_evaluate

    known = set(notes)
    with quiet(), _applied(model, setting, spec), explained(spec.tasks):
        live = lm_eval_model(model, tokenizer, batch_size=_batch_size(spec, model), notes=notes)
        found = simple_evaluate(
            model=live,
            model_args={"pretrained": spec.model} | ({"revision": spec.revision} if spec.revision else {}),
            tasks=list(spec.tasks),
            task_manager=manager,
            num_fewshot=spec.num_fewshot,
            limit=spec.limit,
            bootstrap_iters=BOOTSTRAP_DRAWS,
            random_seed=spec.seed,
            numpy_random_seed=spec.seed,
            torch_random_seed=spec.seed,
            fewshot_random_seed=spec.seed,
        )
    for note in notes:
        if note not in known:
            log.warning("%s", note)
    if found is None:
        raise SparsityLabError(f"lm-eval gave no results for {spec.model}", fix=REPORT_FIX)
    found[NOTE_KEY] = {**_note(setting), **({"tokenizer": list(notes)} if notes else {})}
    return found


def _applied(model: Any, setting: EvaluationSetting, spec: EvalSpec) -> AbstractContextManager[object]:
    if setting.calibration is None:
        return nullcontext()
    return sparsified(model, setting.calibration, architecture_file=spec.architecture_file)


def _batch_size(spec: EvalSpec, model: Any) -> int | str:
    """lm-eval's own search on a GPU; on a CPU its trial batches cost more than they save."""
    if spec.batch_size == "auto":
        chosen: int | str = CPU_BATCH if model.device.type == "cpu" else "auto"
        log.info("batch size %s: the model is on %s", chosen, model.device.type)
        return chosen
    return int(spec.batch_size)


def _note(setting: EvaluationSetting) -> dict[str, object]:
    record = setting.record
    if record is None:
        return {"setting": None}
    keys = ("criterion", "knob", "ppl_increase_target", "activation_ratio", "ppl_ratio", "content_key")
    return {"setting": setting.name, "record": str(setting.path), **{key: record.get(key) for key in keys}}


def _row(results: dict[str, Any], setting: EvaluationSetting) -> dict[str, object]:
    record = setting.record or {}
    row: dict[str, object] = {
        "setting": setting.name,
        "activation_ratio": record.get("activation_ratio"),
        "ppl_ratio": record.get("ppl_ratio"),
    }
    scores = []
    for task, values in sorted(results["results"].items()):
        for name in METRIC_ORDER:
            key = next((k for k in values if k.split(",")[0] == name), None)
            if key is not None:
                error = values.get(key.replace(",", "_stderr,", 1))
                row[f"{task} ({name})"] = float(values[key])
                row[f"{task} ± se"] = float(error) if isinstance(error, (int, float)) else None
                scores.append(float(values[key]))
                break
    row["mean"] = sum(scores) / len(scores) if scores else None
    return row
