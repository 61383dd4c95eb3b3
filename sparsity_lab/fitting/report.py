"""Writes what fits found: fits.json (everything), fits.csv (one line a fit), fits.md (for readers), plots."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from pathlib import Path

from sparsity_lab.fitting.data.names import figure_name
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.figures import attempted
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.reproduce import families_report, published
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.provenance import provenance
from sparsity_lab.store.records import write_json, write_text
from sparsity_lab.store.tables import interval, number, to_csv, to_markdown


def write(results: Sequence[FitResult], folder: Path, *, source: Path) -> None:
    """Write all files of a batch of fits into `folder`.

    fits.json, fits.csv, fits.md and the plots are the same bytes for the same input and seed; what differs
    from run to run (time, versions, command) is in provenance.json.
    """
    write_json(folder / "fits.json", [result.to_json() for result in results])
    rows = [_row(result) for result in results]
    write_text(folder / "fits.csv", to_csv(rows, list(dict.fromkeys(key for row in rows for key in row))))
    families_report.write(results, folder)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    write_json(folder / "provenance.json", provenance(table=source.name, table_sha256=digest))
    drawn = _draw(results, folder / "plots")
    write_text(folder / "fits.md", markdown(results, drawn=drawn))


def _draw(results: Sequence[FitResult], folder: Path) -> set[str]:
    """Draw the figures; the series that have one."""
    drawn = set()
    for result in results:
        with attempted(stem := folder / figure_name(result.series.name)):
            from sparsity_lab.fitting.plots import fits as plots

            plots.sheet(result, stem)
            drawn.add(result.series.name)
    with attempted(folder / "all"):
        from sparsity_lab.fitting.plots import fits as plots

        plots.overview(results, folder / "all")
    return drawn


def markdown(results: Sequence[FitResult], *, drawn: Collection[str] = ()) -> str:
    """The report for readers: a summary table, then the checklist of every fit.

    Args:
        results: of a batch.
        drawn: the series that have a figure beside the report.
    """
    laws = {result.law.name: result.law for result in results}
    lines = ["# Fits", ""]
    for law in laws.values():
        x = law.inputs[0]
        lines.append(f"- `{law.name}`: {law.formula}, {x.symbol} in {x.unit} ({law.source})")
    lines += ["", _summary(results), *_published(results)]
    for result in results:
        lines += ["", *_section(result, is_drawn=result.series.name in drawn)]
    return "\n".join(lines) + "\n"


def _summary(results: Sequence[FitResult]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result.coefficients))
    rows = []
    for result in results:
        row: dict[str, object] = {
            "series": result.series.name, "law": result.law.name, "verdict": result.verdict.word,
            "points": len(result.series.y), "dropped": result.series.dropped,
        }  # fmt: skip
        row |= {name: interval(c.value, c.low, c.high) for name, c in result.coefficients.items()}
        rows.append({**row, "bound": result.verdict.bound or ""})
    return to_markdown(rows, ["series", "law", "verdict", "points", "dropped", *names, "bound"])


def _published(results: Sequence[FitResult]) -> list[str]:
    """The comparison with published coefficients, where the series are the published ones."""
    rows = published.agreements(results)
    if not rows:
        return []
    table = to_markdown(
        [vars(row) for row in rows],
        ["series", "coefficient", "published", "fitted", "tolerance", "within"],
    )
    return [
        "", "## Against the published coefficients", "",
        "The tolerance is what three printed digits of all coefficients imply for each.", "", table,
    ]  # fmt: skip


def _section(result: FitResult, *, is_drawn: bool) -> list[str]:
    word, name = result.verdict, result.series.name
    bound = f" All the data say: {word.bound}." if word.bound else ""
    return [
        f"## {name}",
        "",
        f"**{word.word}**: {word.reason}.{bound}",
        "",
        *([f"![{name}](plots/{figure_name(name)}.png)", ""] if is_drawn else []),
        *_evidence(result),
    ]


def _evidence(result: FitResult) -> list[str]:
    """What a verdict rests on; the rivals first where the law cannot describe the points."""
    rivals, checks = _rivals(result.comparison), _checklist(result)
    if not result.describes:
        return [*rivals, "", *checks]
    return [*checks, "", *rivals, "", "Coefficients against leading points dropped:", "", _drops(result)]


def _checklist(result: FitResult) -> list[str]:
    series, boot = result.series, result.bootstrap
    edge = "at its edge" if result.at_edge else "inside"
    lines = [
        f"- Law: {result.law.formula} ({result.law_rule})",
        f"- Points: {len(series.y)} used, {series.dropped} leading ones dropped ({result.drop_rule}), "
        f"{result.decades:.2f} decades of {series.x_variable.meaning}",
        *_reading(series),
        f"- Objective: {result.objective} = {result.sse:.4g}; mean absolute residual {result.mae:.3g}",
    ]
    if not result.describes:
        return [*lines, f"- Data sha256: `{series.sha256}`"]
    lines += [
        f"- Starts: {result.starts_at_best} of {result.starts} reached it within 1 %",
        f"- Search: {edge} the range of the search; scaled condition number {result.condition:.3g}",
        f"- Residuals: lag-1 correlation {result.lag1:.2f}; "
        f"intervals widened by {result.variance_inflation:.2f} in variance",
        f"- Bootstrap: {boot['draws']} draws in blocks of {boot['block']}"
        if boot["draws"]
        else "- No bootstrap",
    ]
    for name, ends in boot["intervals"].items():
        lines.append(f"  - {name}: {interval(result.values[name], *ends)}")
    if math.isfinite(result.chi2_per_freedom):
        lines.append(f"- Errors: chi squared {result.chi2_per_freedom:.3g} per degree of freedom")
    lines += [f"- {sentence}" for sentence in result.verdict.checks.sentences(result.law)]
    if math.isfinite(result.extrapolation_ratio):
        ratio = number(result.extrapolation_ratio, 3)
        lines.append(f"- The limit lies {ratio} ranges of the data beyond the last point")
    return [*lines, *_reaches(result), f"- Data sha256: `{series.sha256}`"]


def _reading(series: Series) -> list[str]:
    """In which units the table was read, and which of its rows were not."""
    read = "; ".join(f"{column} in {unit}" for column, unit in series.units.items())
    left = f"- Rows left out: {series.left_out} without {series.x_variable.meaning}, or with 0"
    return [*([f"- Units: {read}"] if read else []), *([left] if series.left_out else [])]


def _reaches(result: FitResult) -> list[str]:
    unit = result.series.x_variable.unit
    return [
        f"- Reaches {number(one.y)} at {_x(one.x)} [{_x(one.low)}, {_x(one.high)}] {unit}"
        for one in result.reaches
    ]


def _x(value: float) -> str:
    return "unknown" if math.isnan(value) else "not reached" if math.isinf(value) else number(value, 3)


def _rivals(comparison: Comparison) -> list[str]:
    rows = [
        {
            "law": r.law,
            "AICc gap": _finite(round(r.aicc_gap, 1)),
            "rolling-origin RMSE": _finite(r.rolling_rmse),
            "RMSE after 70 %": _finite(r.held_out_rmse),
            "sum of squares": r.sse,
        }
        for r in comparison.rivals
    ]
    table = to_markdown(rows, ["law", "AICc gap", "rolling-origin RMSE", "RMSE after 70 %", "sum of squares"])
    ties = f", a tie with {', '.join(comparison.aicc_ties)}" if comparison.aicc_ties else ""
    words = f"Rivals: best by AICc is {comparison.best_by_aicc}{ties}"
    if comparison.best_by_extrapolation:
        words += f"; best by extrapolation is {comparison.best_by_extrapolation}"
        tied = ", ".join(comparison.extrapolation_ties)
        words += f", a tie with {tied}" if tied else ""
    return [words + ".", "", table]


def _finite(value: float) -> float | None:
    """The number, or an empty cell where the points do not suffice for one."""
    return value if math.isfinite(value) else None


def _drops(result: FitResult) -> str:
    rows = [
        {"dropped": r.dropped, "points": r.points, **r.coefficients, "mean square": r.mean_square}
        for r in result.drop_sensitivity
    ]
    return to_markdown(rows, ["dropped", "points", *result.coefficients, "mean square"])


def _row(result: FitResult) -> dict[str, object]:
    """One line of fits.csv."""
    row: dict[str, object] = {
        "series": result.series.name, "law": result.law.name, "verdict": result.verdict.word,
        "reason": result.verdict.reason, "bound": result.verdict.bound, "points": len(result.series.y),
        "dropped_points": result.series.dropped,
    }  # fmt: skip
    for name, one in result.coefficients.items():
        ends = {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
        row |= {key: value if math.isfinite(value) else None for key, value in ends.items()}
    keys = ("sse", "mae", "aicc", "lag1", "condition", "decades", "starts", "starts_at_best")
    numbers = {key: _finite(getattr(result, key)) for key in keys}
    return {**row, **numbers, "data_sha256": result.series.sha256}
