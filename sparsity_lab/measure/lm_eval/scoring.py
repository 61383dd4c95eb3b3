"""One model in one setting as a cell: lm-eval's files, a row of scores, and the record that says they are there."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from sparsity_lab import extras
from sparsity_lab.errors import REPORT_FIX, RunError, SparsityLabError
from sparsity_lab.measure.api import sparsified
from sparsity_lab.measure.checkpoint.loading import load_text_tokenizer
from sparsity_lab.measure.checkpoint.prepared import Prepared, Ready
from sparsity_lab.measure.live.live_model import undisturbed
from sparsity_lab.measure.lm_eval.bridge import explained, folder_name, quiet, save, task_manager
from sparsity_lab.measure.lm_eval.model import lm_eval_model
from sparsity_lab.measure.lm_eval.perplexity import perplexity_row, text_determinants
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.measure.work.cells import Desk, Kept, Recipe, determinants_of
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.settings import EvalSettings
from sparsity_lab.store import records

log = logging.getLogger(__name__)

ALGORITHM = 1  # raised when a change to this room changes scores; part of every content key
NOTE_KEY = "sparsity_lab"
BOOTSTRAP_DRAWS = 1000
CPU_BATCH = 8
TASK_SUFFIXES = (".yaml", ".yml", ".py")
METRIC_ORDER = ("acc", "exact_match", "pass@1", "acc_norm", "f1")
Record = dict[str, Any]


@dataclass(frozen=True)
class EvalSpec(EvalSettings):
    """What to evaluate.

    Attributes:
        model: directory, Hub id or ID@REVISION; `revision` of an id.
        tasks: names of lm-eval tasks; none where a text alone is asked for.
        thresholds: records of `measure` whose thresholds are applied, one run each.
        tokenizer: a directory or Hub id whose tokenizer is used instead of the model's own, or None.
        text: whose perplexity is put beside the scores, or None.
    The others are those of `EvalSettings`.
    """

    model: str
    tasks: tuple[str, ...] = ()
    revision: str | None = None
    thresholds: tuple[Path, ...] = ()
    tokenizer: str | None = None
    text: TextPlace | None = None


@dataclass(frozen=True)
class EvaluationSetting:
    """Dense, or the thresholds of one record."""

    name: str
    record: dict[str, Any] | None = None
    path: Path | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class EvalRecipe(Recipe[Ready, Record]):
    """The scores of a model in one setting.

    Attributes:
        spec: tasks and limits; `spec.model` names the model in the results.
        setting: dense, or the thresholds to apply.
        all_settings: of the run.
        task_files: path, size and time of every file below `include_path`.
    """

    APART: ClassVar[bool] = True

    spec: EvalSpec
    setting: EvaluationSetting
    all_settings: tuple[EvaluationSetting, ...]
    task_files: tuple[tuple[str, int, int], ...]

    @property
    def label(self) -> str:
        """The setting."""
        return self.setting.name

    def key(self, prepared: Ready) -> str:
        """See `Recipe`."""
        spec, calibration = self.spec, self.setting.calibration
        return records.content_key(
            {
                **determinants_of(prepared),
                "eval": ALGORITHM,
                "lm_eval": version("lm_eval") if spec.tasks or extras.is_installed("lm_eval") else None,
                "tasks": list(spec.tasks),
                "task_files": [list(file) for file in self.task_files],
                "num_fewshot": spec.num_fewshot,
                "limit": spec.limit,
                "seed": spec.seed,
                "setting": self.setting.name,
                "calibration": calibration and calibration.identity(),
                **(text_determinants(prepared.windows) if isinstance(prepared, Prepared) else {}),
            }
        )

    def find(self, folder: Path, key: str) -> Record | None:
        """The record, where lm-eval's files that it names are there still."""
        record = records.find_record(folder, key)
        there = record is not None and all((folder.parent / name).is_file() for name in record["files"])
        return record if there else None

    def make(self, prepared: Ready, key: str, desk: Desk) -> Record:
        """Evaluate, and let lm-eval write its files to the output."""
        source, output = prepared.checkpoint.source, desk.terms.folder.parent
        tokenizer = load_text_tokenizer(source)
        loading = desk.kept.shelf(prepared).model(source, dtype=prepared.dtype, device=prepared.device)
        self._refuse_other_models(loading.model)
        notes: dict[str, None] = desk.kept.once("notes of the tokenizer", dict)
        row, files, of_text = _row({"results": {}}, self.setting), list[Path](), dict[str, Any]()
        if self.spec.tasks:
            results = self._results(loading.model, tokenizer, notes=notes, kept=desk.kept)
            if source.commit is not None:
                results["config"]["model_sha"] = source.commit  # which lm-eval does not ask of a live model
            files = save(results, model=self.spec.model, goal=output / folder_name(self.setting.name))
            row = _row(results, self.setting)
        if isinstance(prepared, Prepared):
            row = {**row, **self._perplexity(loading.model, prepared.windows), "mean": row.pop("mean")}
            notes |= dict.fromkeys(prepared.windows.notes)
            of_text = prepared.windows.sampling()
        return records.write_sealed(
            desk.terms.folder,
            {
                "model": source.model,
                "revision": source.revision,
                "commit": source.commit,
                "setting": self.setting.name,
                "row": row,
                "files": [path.relative_to(output).as_posix() for path in files],
                "notes": list(notes),
                **of_text,
                "provenance": prepared.provenance(desk.terms.command, notes=list(notes)),
                "content_key": key,
            },
        )

    def _refuse_other_models(self, model: Any) -> None:
        """End the run where any of its thresholds are of another model, before hours go into the first setting."""
        for setting in self.all_settings:
            try:
                with self._applied(model, setting):
                    pass
            except SparsityLabError as error:
                raise RunError(error.what, why=error.why, fix=error.fix) from error

    def _results(self, model: Any, tokenizer: Any, *, notes: dict[str, None], kept: Kept) -> dict[str, Any]:
        """What lm-eval finds; `notes` gets what is to be said of the tokenizer."""
        from lm_eval import simple_evaluate

        spec, noted = self.spec, set(notes)
        manager = tasks_at_hand(spec, kept)
        with quiet(), self._applied(model, self.setting), explained(spec.tasks):
            live = lm_eval_model(model, tokenizer, batch_size=_batch_size(spec, model), notes=notes)
            results = simple_evaluate(
                model=live,
                model_args={"pretrained": spec.model}
                | ({"revision": spec.revision} if spec.revision else {}),
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
            if note not in noted:
                log.warning("%s", note)
        if results is None:
            raise SparsityLabError(f"lm-eval gave no results for {spec.model}", fix=REPORT_FIX)
        results[NOTE_KEY] = {**_note(self.setting), **({"tokenizer": list(notes)} if notes else {})}
        return dict(results)

    def _perplexity(self, model: Any, windows: Windows) -> dict[str, float]:
        """The columns of the text, in this setting."""
        assert self.spec.text is not None, "it has windows"
        with undisturbed(model), self._applied(model, self.setting):
            return perplexity_row(model, self.spec.text, windows, batch_size=self.spec.batch_size)

    def _applied(self, model: Any, setting: EvaluationSetting) -> AbstractContextManager[object]:
        if setting.calibration is None:
            return nullcontext()
        return sparsified(model, setting.calibration, architecture_file=self.spec.architecture_file)


def tasks_at_hand(spec: EvalSpec, kept: Kept) -> Any:
    """lm-eval's task manager, made once in a process; it reads thousands of files.

    Raises:
        SparsityLabError: an unknown task, or no such folder of task files.
    """
    asked = spec.tasks, spec.include_path
    return kept.once(asked, lambda: task_manager(*asked))


def task_files(spec: EvalSpec, *, output: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of change of the files that tasks of one's own are made of.

    These are all below `include_path`, and what those name elsewhere, such as the `data_files` of a task: without these
    a score would be taken for that of data that have changed. The files of the output are left out.
    """
    if spec.include_path is None:
        return ()
    folder, ours = spec.include_path.resolve(), output.resolve()
    files = _files_below(folder)
    named = {path for file in files if file.suffix in TASK_SUFFIXES for path in _named_in(file, folder)}
    every = [path for path in sorted({*files, *named}) if ours not in path.parents]
    states = [(os.path.relpath(path, folder), path.stat()) for path in every]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def _named_in(file: Path, folder: Path) -> Iterator[Path]:
    """Files outside a folder that words of a task's file name, and for YAML those below folders that it names."""
    for word in set(re.findall(r"[^\s'\"\[\]{},]+", file.read_text(encoding="utf-8", errors="replace"))):
        for place in (Path(word), file.parent / word) if "/" in word or "." in word else ():
            with contextlib.suppress(OSError, ValueError):
                path = place.resolve()
                if path != folder and folder not in path.parents and path not in folder.parents:
                    is_data = path.is_dir() and file.suffix != ".py"
                    yield from _files_below(path) if is_data else [path] if path.is_file() else []


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def scores_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a record by names for loggers."""
    setting, row = record["setting"], record["row"]
    return {
        f"{name}/{setting}": value for name, value in row.items() if name.endswith(")") and value is not None
    }


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
