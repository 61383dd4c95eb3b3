"""Fits a law of several inputs to a table of runs, and writes fits.json, fits.csv, fits.md, provenance.json, a lock."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.fitting.data.columns import say_units
from sparsity_lab.fitting.ladders import runs_locks
from sparsity_lab.fitting.ladders.runs import LadderColumns, RunsFit, fit_runs, read_runs
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import toml
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store import bundled, records
from sparsity_lab.store.tables import to_csv, to_markdown

logger = logging.getLogger(__name__)

ROW_KEYS = ["coefficient", "value", "low", "high", "profile low", "profile high", "unit"]


@dataclass(frozen=True)
class LadderSpec:
    """What to fit to a ladder of runs, and how.

    Attributes:
        law: id of a law of several inputs.
        huber: the sum of Huber losses of ln y rather than least squares on y.
        draws: bootstrap refits over runs; 0 for none.
        seed: of the starts and the bootstrap.
    """

    law: str
    huber: bool = False
    draws: int = 200
    seed: int = 0


def fit_ladder_table(
    source: Path | str, columns: LadderColumns, spec: LadderSpec, *, output: Path | str, lock: str | None = None,
    progress: Progress = SILENT,
) -> RunsFit:  # fmt: skip
    """Fit a law of several inputs to a table and write fits.json, fits.csv, fits.md and provenance.json.

    With a reason as `lock`, `locks/TABLE-LAW.toml` is written too, for `sparsity-lab check`.
    """
    path = bundled.path(source) if isinstance(source, str) and source in bundled.names() else Path(source)
    law, folder = load_law(spec.law), Path(output)
    runs = read_runs(path, columns, law=law)
    say_units(runs.units, path)
    records.refuse_over_input(path, folder / "fits.csv")
    if lock is not None:
        table = toml.table_entry(source, folder)
        name = runs_locks.name_of(table, law)
        toml.refuse_others(folder, [name], subject={"table": table, **vars(columns)}, law=law.name)
    with sole_writer(folder):
        result = fit_runs(runs, law, huber=spec.huber, draws=spec.draws, seed=spec.seed, progress=progress)
        _write(result, folder, source=path)
        if lock is not None and not result.verdict.describes:
            logger.warning("%s is not locked: %s.", path.name, result.verdict.reason)
        elif lock is not None:
            made = runs_locks.lock_of(runs, result, table=table, columns=columns, reason=lock)
            runs_locks.write(made, toml.path_of(folder, made.series))
    return result


def _write(result: RunsFit, folder: Path, *, source: Path) -> None:
    """Write the files of a ladder's fit."""
    rows = [_row(result, name) for name in result.coefficients]
    columns = ROW_KEYS
    records.write_json(folder / "fits.json", [result.to_json()])
    records.write_text(folder / "fits.csv", to_csv(rows, columns))
    inputs = ", ".join(f"{v.symbol}: {v.meaning} in {v.unit}" for v in result.law.inputs)
    limits = [
        f"- Condition number: {result.condition:.3g}",
        f"- Intervals: 95 %; low and high by {result.draws} bootstrap refits over runs, profile by the "
        "objective's rise with the coefficient held",
    ]
    lines = [
        "# Fit over a ladder of runs", "", f"- Law: {result.law.formula} ({result.law.source}); {inputs}",
        *([f"- Units: {'; '.join(f'{name} in {one}' for name, one in result.units.items())}"] if result.units else []),
        f"- Points: {result.points} of {result.runs} runs, {result.left_out} left out",
        f"- Objective: {result.objective_name} = {result.objective:.7g}",
        f"- Root mean square error: {result.rmse:.4g}",
        f"- Starts: {result.starts_at_best} of {result.starts} reached it within 1 %",
        f"- Verdict: **{result.verdict.word}**: {result.verdict.reason}",
        *([f"- Bound: {result.verdict.bound}"] if result.verdict.bound else []),
        *(limits if result.verdict.describes else []), f"- Data sha256: `{result.sha256}`",
        "", *([to_markdown(rows, columns)] if rows else []),
    ]  # fmt: skip
    records.write_text(folder / "fits.md", "\n".join(lines))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    records.write_json(folder / "provenance.json", provenance(table=source.name, table_sha256=digest))


def _row(result: RunsFit, name: str) -> dict[str, object]:
    """A coefficient with its two intervals; an open end of a profile is left empty."""
    value, low, high = result.coefficients[name]
    held = result.profiles.get(name)
    return {
        "coefficient": name,
        "value": value,
        "low": _known(low),
        "high": _known(high),
        "profile low": None if held is None or held.open_low else held.low,
        "profile high": None if held is None or held.open_high else held.high,
        "unit": result.law.parameter(name).unit,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
