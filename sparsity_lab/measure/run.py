"""Measures checkpoints cell by cell, each cell's record written as it completes, then the table of them all."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import records, registry, tables
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.loggers import NO_LOGGERS, Loggers
from sparsity_lab.measure import engine
from sparsity_lab.measure.auto_tokens import grown
from sparsity_lab.measure.calibration import read_calibration
from sparsity_lab.measure.cells import Bench, Prepared
from sparsity_lab.measure.compat import check_compat
from sparsity_lab.measure.gather import Cell, Tell, gather
from sparsity_lab.measure.launchers import ALONE, Options, check_options
from sparsity_lab.measure.series import series_knobs
from sparsity_lab.measure.settings import at, setting_of
from sparsity_lab.measure.shards import check_shards
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.tasks import Crew
from sparsity_lab.mirrors import Mirror
from sparsity_lab.progress import SILENT, Progress

logger = logging.getLogger(__name__)

CSV_COLUMNS = (
    "series", "model", "revision", "architecture", "activation_function", "gated", "criterion", "rule", "knob",
    "compat", "ppl_increase_target", "activation_ratio_target", "activation_ratio", "activation_ratio_se",
    "activated_share", "ppl_dense", "ppl_sparse",
    "ppl_ratio", "loss_dense_nats", "loss_sparse_nats", "loss_delta_se_nats", "nonzero_ratio", "flags", "tokens",
    "window", "bos", "trained_tokens", "params_total", "params_nonembedding", "hidden_size", "intermediate_size",
    "layers", "width_depth_ratio", "text_sha256", "seed", "calibrated_on", "content_key",
)  # fmt: skip
READER_COLUMNS = {
    "name": "checkpoint",
    "trained_tokens": "trained tokens",
    "rule": "rule",
    "knob": "knob",
    "activation_ratio": "activation ratio",
    "activation_ratio_se": "± se",
    "ppl_dense": "PPL dense",
    "ppl_ratio": "PPL ratio",
    "loss_delta_se_nats": "se of loss rise (nats)",
    "flags": "flags",
}


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        prepared: checkpoints, ready but for their weights.
        done: how many of their first cells have records already.
    """

    prepared: tuple[Prepared, ...]
    done: int


def check_spec(spec: MeasureSpec) -> None:
    """Refuse settings that no model could be measured with.

    Raises:
        SparsityLabError: an unknown criterion, a knob out of range, p or a count that is not positive.
    """
    knob = registry.load("criteria", spec.criterion).KNOB
    if spec.knob is not None:
        knob.check(spec.knob, criterion=spec.criterion)
        if spec.stabilise_last is not None:
            raise SparsityLabError(
                "The series rule finds the knob itself", fix="Leave --knob or --stabilise out"
            )
    engine.check_increase(spec.ppl_increase)
    if spec.compat is not None:
        check_compat(
            spec.compat,
            criterion=spec.criterion,
            ratio=spec.activation_ratio is not None,
            thresholds=spec.thresholds is not None,
            stabilise=spec.stabilise_last is not None,
            batch_size=spec.batch_size,
        )
    if spec.activation_ratio is not None:
        engine.check_ratio(spec.activation_ratio)
        if spec.stabilise_last is not None:
            raise SparsityLabError(
                "The series rule asks for equal perplexity, not for an activation ratio",
                fix="Leave --activation-ratio or --stabilise out",
            )
    for name, value in (
        ("tokens", spec.tokens),
        ("batch-size", spec.batch_size),
        ("text-shards", spec.text_shards),
        ("stabilise", spec.stabilise_last),
        ("tokens-per-step", spec.tokens_per_step),
    ):
        if value is not None and value < 1:
            raise SparsityLabError(
                f"--{name} is {value}, not a positive number",
                fix=f"Write --{name} 1 or more, or leave it out",
            )
    if spec.error_share is not None and not 0 < spec.error_share <= 1:
        raise SparsityLabError(
            f"An error of {spec.error_share:g} times the rise is not between 0 and 1", fix="Write auto:10%"
        )
    if spec.thresholds is not None:
        _check_thresholds(spec, spec.thresholds)
    if spec.text_shards > 1:
        whole = spec.stabilise_last is not None
        check_shards(setting_of(spec), criterion=spec.criterion, compat="series" if whole else spec.compat)


def _check_thresholds(spec: MeasureSpec, path: Path) -> None:
    criterion = read_calibration(path).criterion
    if criterion != spec.criterion:
        raise SparsityLabError(
            f"The thresholds of {path} are of {criterion}, not of {spec.criterion}",
            fix="Leave --criterion out",
        )
    for option, value in (
        ("--knob", spec.knob),
        ("--activation-ratio", spec.activation_ratio),
        ("--stabilise", spec.stabilise_last),
    ):
        if value is not None:
            raise SparsityLabError(
                f"{option} does nothing beside --thresholds",
                why="They are applied as they are",
                fix="Leave one of them out",
            )


def plan(
    spec: MeasureSpec, checkpoints: Sequence[Checkpoint], *, output: Path, mirror: Mirror | None = None
) -> Plan:
    """What there is to do; loads no weights and writes nothing."""
    check_spec(spec)
    bench = Bench(spec, folder=output / "records", mirror=mirror)
    prepared = tuple(bench.prepare_all(checkpoints))
    return Plan(prepared, sum(bench.done(one, setting_of(spec)) is not None for one in prepared))


def measure_checkpoints(
    spec: MeasureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    output: Path,
    per_checkpoint: bool = False,
    progress: Progress = SILENT,
    launcher: str = "inline",
    options: Options = ALONE,
    loggers: Loggers = NO_LOGGERS,
    mirror: Mirror | None = None,
) -> list[dict[str, Any]]:
    """Measure every checkpoint; cells with a record are not measured again.

    Args:
        spec: the settings; with `stabilise_last` the series rule is applied to each series.
        checkpoints: in the order of their training, series by series.
        output: gets `records/`, `config.json`, `table.csv` and `table.md`.
        per_checkpoint: with the series rule, also measure each checkpoint at its own knob.
        progress: where to report.
        launcher: id of the launcher that hands cells to processes.
        options: what it is told; the numbers do not depend on it.
        loggers: get a point of each record as it is there; under `error_share`, which measures on growing text, at
            the end.
        mirror: of `output`, where that stands for a URL.

    Returns:
        The records of the table, in its order.

    Raises:
        SparsityLabError: bad settings or checkpoints; records already written stay.
    """
    check_spec(spec)
    check_options(launcher, options)
    if mirror is not None and spec.text_shards > 1:
        raise SparsityLabError(
            "--text-shards needs an output that all workers see as a folder", fix="Give a folder as --output"
        )
    with records.no_empty_folders(output / "records"):
        records.prepare_output(output)
        folder = records.prepare_output(output / "records")
        measured: set[str] = set()
        tell = loggers.record if loggers.guards and spec.error_share is None else None

        with registry.load("launchers", launcher).crew(options) as crew:

            def measure(one: MeasureSpec) -> list[dict[str, Any]]:
                bench = Bench(one, folder=folder, progress=progress, elsewhere=crew.device, mirror=mirror)
                bench.measured = measured
                prepared = bench.prepare_all(checkpoints)
                loggers.start()
                return _measure_all(bench, prepared, per_checkpoint=per_checkpoint, crew=crew, tell=tell)

            rows = grown(spec, measure)
    records.write_json(output / "config.json", _config(spec, checkpoints))
    write_table(output, rows)
    for row in rows if tell is None else ():
        loggers.record(row)
    logger.info("%d cell(s) measured in this run, %d row(s) in the table", len(measured), len(rows))
    return rows


def write_table(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `table.csv` with every number and `table.md` for readers."""
    flat = [
        {
            **row,
            "flags": " ".join(row["flags"]),
            "calibrated_on": (row.get("calibrated_on") or {}).get("content_key"),
        }
        for row in rows
    ]
    records.write_text(output / "table.csv", tables.to_csv(flat, CSV_COLUMNS))
    for row in flat:
        row["ppl_ratio"] = f"{row['ppl_ratio']:.5f}"
        row["name"] = row["series"] if row["series"] == Path(row["model"]).name else _short(row)
    records.write_text(output / "table.md", tables.to_markdown(flat, READER_COLUMNS))


def _measure_all(
    bench: Bench, prepared: Sequence[Prepared], *, per_checkpoint: bool, crew: Crew, tell: Tell | None
) -> list[dict[str, Any]]:
    setting, last = setting_of(bench.spec), bench.spec.stabilise_last
    if last is None:
        return gather(bench, [(one, setting) for one in prepared], crew=crew, label=setting.rule, tell=tell)
    series = [list(group) for _, group in itertools.groupby(prepared, key=lambda one: one.checkpoint.series)]
    for group in series:
        if len(group) < last:
            raise SparsityLabError(
                f"The series {group[0].checkpoint.series} has {len(group)} checkpoint(s), "
                f"the rule asks for the last {last}",
                fix=f"Give more checkpoints, or --stabilise last:{len(group)}",
            )
    knobs = series_knobs(bench, [group[-last:] for group in series], setting, crew=crew)
    cells: list[Cell] = []
    for group, knob in zip(series, knobs, strict=True):
        cells += [(one, at(setting, knob)) for one in group]
        cells += [(one, setting) for one in group if per_checkpoint]
    return gather(bench, cells, crew=crew, label="all checkpoints", tell=tell)


def _short(row: dict[str, Any]) -> str:
    return f"{row['series']}/{row['revision'] or Path(row['model']).name}"


def _config(spec: MeasureSpec, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return {**settings_of(spec), "checkpoints": [str(checkpoint.source) for checkpoint in checkpoints]}


def settings_of(spec: MeasureSpec) -> dict[str, Any]:
    """A spec as JSON takes it."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(spec).items()}
