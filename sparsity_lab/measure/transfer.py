"""Thresholds from one text on another: every text calibrates, and each one's thresholds are applied to all.

A threshold is set on a calibration text and used on others. How much sparsity and perplexity that costs is a
matrix: calibrated on (rows) by measured on (columns). The diagonal is measured under its own thresholds once
more, so that all errors of the matrix mean the same: at those thresholds, over windows of the text measured on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import called
from sparsity_lab.measure.checkpoint.prepared import Prepared, name_of
from sparsity_lab.measure.checks import check_spec
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.model.windows import refuse_same_tokens
from sparsity_lab.measure.search.settings import Setting, given, setting_of
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec, as_json
from sparsity_lab.measure.thresholds.stored import Calibration, read_calibration
from sparsity_lab.measure.work import failures
from sparsity_lab.measure.work.cells import Bench
from sparsity_lab.measure.work.failures import FAILED, Lost, failed_row, together
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records, tables

logger = logging.getLogger(__name__)

COLUMNS = (
    "series", "model", "revision", "criterion", "rule", "knob", "ppl_increase_target", "activation_ratio_target",
    "calibrated_on", "measured_on", "activation_ratio", "activation_ratio_se", "ppl_ratio", "ppl_ratio_se",
    "loss_dense_nats", "loss_sparse_nats", "loss_delta_se_nats", "flags", "calibration_flags", "tokens", "window",
    "calibration_key", "content_key", FAILED,
)  # fmt: skip
MATRICES = {
    "activation ratio ± standard error": ("activation_ratio", "activation_ratio_se", 4),
    "perplexity ratio ± standard error": ("ppl_ratio", "ppl_ratio_se", 5),
}
CORNER = "calibrated on \\ measured on"


@dataclass(frozen=True)
class NamedText:
    """A text and what the table calls it."""

    name: str
    path: Path


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer would do.

    Attributes:
        prepared: every checkpoint on every text, in the texts' order.
        cells: how many there are, calibrations and applications.
        done: how many of them have records already.
        lost: checkpoints that cannot be measured.
    """

    prepared: tuple[Prepared, ...]
    cells: int
    done: int
    lost: tuple[Lost, ...] = ()


def named_texts(first: Path, others: Sequence[str]) -> list[NamedText]:
    """Texts of a transfer: the first by its file's stem, the others as NAME=FILE or by their stem.

    Raises:
        SparsityLabError: an empty name or file, or one name for two texts.
    """
    option = "--transfer"
    texts = [NamedText(first.stem, first), *(named_text(word, option=option) for word in others)]
    return distinct_texts(texts, option=option)


def named_text(word: str, *, option: str) -> NamedText:
    """A text given as NAME=FILE, or as a file that is called by its stem.

    Raises:
        SparsityLabError: an empty name or file; `option` is named.
    """
    name, equals, file = word.partition("=")
    if not equals or Path(word).is_file():
        name, file = Path(word).stem, word
    if not name.strip() or not file.strip():
        raise SparsityLabError(f"{option} {word} is not understood", fix="Write NAME=FILE, or a file")
    return NamedText(name.strip(), Path(file.strip()))


def distinct_texts(texts: list[NamedText], *, option: str) -> list[NamedText]:
    """The texts, none called like another.

    Raises:
        SparsityLabError: one name for two texts; `option` is named.
    """
    seen: dict[str, Path] = {}
    for text in texts:
        if text.name in seen:
            raise SparsityLabError(
                f"Two texts are called {text.name!r}: {seen[text.name]} and {text.path}",
                fix=f"Write {option} NAME=FILE to name one",
            )
        seen[text.name] = text.path
    return texts


def measure_transfer(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    texts: Sequence[NamedText],
    output: Path,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Calibrate on every text and apply each one's thresholds to all; cells with a record are not measured again.

    Of several checkpoints, one that fails leaves one row that says why, as in `measure_checkpoints`, and no matrix.

    Args:
        spec: the settings; its text does not matter.
        checkpoints: which models.
        texts: two or more, from `named_texts`.
        output: gets `records/`, `config.json`, `transfer.csv` and `transfer.md`.
        progress: where to report.

    Returns:
        One row for each checkpoint, text calibrated on and text measured on; `failures.failed_row`s among them.

    Raises:
        SparsityLabError: bad settings, checkpoints or texts, or a criterion without thresholds.
    """
    check_transfer(spec, texts)
    asked = spec
    spec, checkpoints = together(spec, checkpoints)
    records.refuse_model_folder(output)
    with records.no_empty_folders(output / "records"):
        folder = records.prepare_output(records.prepare_output(output) / "records")
        benches = _benches(spec, texts, folder=folder, progress=progress)
        found = [_prepare(benches, checkpoint, spec) for checkpoint in checkpoints]
        ready = [one for one in found if not isinstance(one, Lost)]
        rows = []
        with progress.track("transfer", _cells(ready, benches)) as advance:
            for one in found:
                rows += _rows(benches, one, spec, advance=advance)
    records.write_json(output / "config.json", _config(asked, checkpoints, texts))
    records.write_text(output / "transfer.csv", tables.to_csv(rows, COLUMNS))
    records.write_text(output / "transfer.md", to_markdown(rows, [text.name for text in texts]))
    count = sum(len(bench.measured) for bench in benches.values())
    logger.info("%d cell(s) measured in this run, calibrations among them; %d in the table", count, len(rows))
    failures.tell(rows, total=len(checkpoints), table="transfer.csv")
    return rows


def plan_transfer(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, texts: Sequence[NamedText], output: Path
) -> TransferPlan:
    """What there is to do; loads no weights and writes nothing."""
    check_transfer(spec, texts)
    spec, checkpoints = together(spec, checkpoints)
    folder = output / "records"
    benches = _benches(spec, texts, folder=folder, progress=SILENT)
    tried = [_prepare(benches, checkpoint, spec) for checkpoint in checkpoints]
    ready = [one for one in tried if not isinstance(one, Lost)]
    done = 0
    for prepared in ready:
        for name, bench in benches.items():
            found = bench.done(prepared[name], setting_of(spec))
            if found is not None:
                setting = given(_calibration(folder, found))
                done += 1 + sum(benches[on].done(prepared[on], setting) is not None for on in benches)
    shown = tuple(one for prepared in ready for one in prepared.values())
    lost = tuple(one for one in tried if isinstance(one, Lost))
    return TransferPlan(shown, _cells(ready, benches), done, lost)


def check_transfer(spec: MeasureSpec, texts: Sequence[NamedText]) -> None:
    """Refuse settings and texts that make no matrix.

    Raises:
        SparsityLabError: one text alone, a criterion without thresholds, or a rule that finds no thresholds of its
            own.
    """
    check_spec(spec)
    if len(texts) < 2:
        raise SparsityLabError(
            "A transfer needs two texts or more", fix="Add --transfer NAME=FILE, once for each"
        )
    if not hasattr(registry.load("criteria", spec.criterion), "threshold_score"):
        raise SparsityLabError(
            f"{spec.criterion} has no thresholds that could be carried to another text",
            why="It decides token by token, from that token's own scores",
            fix="Measure it at one --knob on each text",
        )
    for option, value in (
        ("--thresholds", spec.thresholds),
        ("--stabilise", spec.stabilise_last),
        ("--compat", spec.compat),
        ("--tokens auto", spec.error_share),
        ("A second value", spec.further or None),
    ):
        if value is not None:
            raise SparsityLabError(
                f"{option} does not go together with --transfer", fix="Leave one of them out"
            )


def to_markdown(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The matrices of every checkpoint: rows calibrated on, columns measured on."""
    parts, sound = [], failures.measured(rows)
    for model in dict.fromkeys((row["model"], row["revision"]) for row in sound):
        own = [row for row in sound if (row["model"], row["revision"]) == model]
        parts.append(f"## {_name(own[0])}: {_quality(own[0])}\n")
        for heading, (key, error, digits) in MATRICES.items():
            parts += [f"{heading}\n", _table(own, names, key=key, error=error, digits=digits)]
        parts += _findings(own)
    for name, why in failures.reasons(rows).items():
        parts += [f"## {name}: failed\n", f"{' '.join(why)}\n"]
    return "\n".join(parts)


def _findings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line on flagged calibrations and one on noisy cells, where there are such."""
    flagged = {row["calibrated_on"]: row["calibration_flags"] for row in rows if row["calibration_flags"]}
    noisy = [f"{row['calibrated_on']} on {row['measured_on']}" for row in rows if row["flags"]]
    lines = []
    if flagged:
        lines.append(
            f"flagged calibrations: {', '.join(f'{name} ({word})' for name, word in flagged.items())}\n"
        )
    if noisy:
        lines.append(f"noisy, for want of --tokens: {', '.join(noisy)}\n")
    return lines


def _benches(
    spec: MeasureSpec, texts: Sequence[NamedText], *, folder: Path, progress: Progress
) -> dict[str, Bench]:
    """A bench for each text; they share one loaded model."""
    shelf = Shelf(spec.architecture_file)
    return {
        text.name: Bench(replace(spec, text=text.path), folder=folder, progress=progress, shelf=shelf)
        for text in texts
    }


def _prepare(
    benches: dict[str, Bench], checkpoint: Checkpoint, spec: MeasureSpec
) -> dict[str, Prepared] | Lost:
    """The checkpoint on every text, or why it cannot be measured."""
    try:
        checkpoint = checkpoint.pinned()
        prepared = {name: bench.prepare(checkpoint) for name, bench in benches.items()}
    except Exception as error:
        return Lost(checkpoint, failures.failure(error, checkpoint, fail_fast=spec.fail_fast))
    refuse_same_tokens({name: one.windows for name, one in prepared.items()})
    return prepared


def _rows(
    benches: dict[str, Bench],
    found: dict[str, Prepared] | Lost,
    spec: MeasureSpec,
    *,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """The rows of one checkpoint, or the one that says why there are none."""
    rows: list[dict[str, Any]] = []
    if not isinstance(found, Lost):
        checkpoint = next(iter(found.values())).checkpoint
        try:
            for row in _matrix(benches, found, setting_of(spec)):
                rows += [] if row is None else [row]
                advance(1)
            return rows
        except Exception as error:
            found = Lost(checkpoint, failures.failure(error, checkpoint, fail_fast=spec.fail_fast))
    row = failed_row(name_of(found.checkpoint), found.error, setting=setting_of(spec), spec=spec)
    return [{**row, "flags": ""}]


def _matrix(
    benches: dict[str, Bench], prepared: dict[str, Prepared], setting: Setting
) -> Iterator[dict[str, Any] | None]:
    """The rows of one checkpoint; None after each calibration."""
    for name, bench in benches.items():
        found = bench.record(prepared[name], setting)
        yield None
        calibration = _calibration(bench.folder, found)
        for on, other in benches.items():
            applied = other.record(prepared[on], given(calibration))
            yield {
                **applied,
                "rule": found["rule"],
                "activation_ratio_target": found["activation_ratio_target"],
                "calibrated_on": name,
                "measured_on": on,
                "ppl_ratio_se": applied["ppl_ratio"] * applied["loss_delta_se_nats"],
                "flags": " ".join(applied["flags"]),
                "calibration_flags": " ".join(found["flags"]),
                "calibration_key": found["content_key"],
            }


def _cells(ready: Sequence[object], benches: dict[str, Bench]) -> int:
    """Calibrations and applications of all checkpoints."""
    return len(ready) * len(benches) * (1 + len(benches))


def _calibration(folder: Path, record: dict[str, Any]) -> Calibration:
    return read_calibration(folder / f"{record['content_key']}.json")


def _table(rows: Sequence[dict[str, Any]], names: Sequence[str], *, key: str, error: str, digits: int) -> str:
    cells = {
        (row["calibrated_on"], row["measured_on"]): f"{row[key]:.{digits}f} ± {row[error]:.{digits}f}"
        for row in rows
    }
    lines = [{CORNER: name, **{on: cells[name, on] for on in names}} for name in names]
    return tables.to_markdown(lines, [CORNER, *names])


def _name(row: dict[str, Any]) -> str:
    return called(row["model"], row["revision"], series=row["series"], on_hub=row.get("commit") is not None)


def _quality(row: dict[str, Any]) -> str:
    criterion = row["criterion"]
    if row["ppl_increase_target"] is not None:
        return f"{criterion} at PPL-{100 * row['ppl_increase_target']:g}%"
    if row["activation_ratio_target"] is not None:
        return f"{criterion} at the activation ratio {row['activation_ratio_target']:g}"
    return f"{criterion} at {registry.load('criteria', criterion).KNOB.symbol} = {row['knob']:g}"


def _config(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], texts: Sequence[NamedText]
) -> dict[str, Any]:
    return {
        **{key: value for key, value in as_json(spec).items() if key != "text"},
        "texts": {text.name: str(text.path) for text in texts},
        "checkpoints": [str(checkpoint.source) for checkpoint in checkpoints],
    }
