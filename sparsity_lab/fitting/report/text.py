"""fits.md: what fits found, for readers: a summary table, then the checklist of every fit."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from sparsity_lab.fitting.data.names import figure_name
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.bands import Reach
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.result import Coefficient, FitResult
from sparsity_lab.fitting.solve.diagnostics import MOST_LAG1
from sparsity_lab.laws._law import AS_IN_TABLE
from sparsity_lab.store.results import plain
from sparsity_lab.store.tables import interval, number, to_markdown

TWOFOLD = 2.0  # in width, beyond which two intervals of one number are told apart


def markdown(results: Sequence[FitResult], *, drawn: Collection[str] = ()) -> str:
    """The report for readers: a summary table, then the checklist of every fit.

    Args:
        results: of a batch.
        drawn: the series that have a figure beside the report.
    """
    laws = {result.law.name: result for result in results}
    lines = ["# Fits", "", *(_law(result) for result in laws.values())]
    lines += ["", _summary(results), *_published(results)]
    for result in results:
        lines += ["", *_section(result, is_drawn=result.name in drawn)]
    return "\n".join(lines) + "\n"


def _law(result: FitResult) -> str:
    """A law with what its inputs are in this table."""
    symbols = [variable.symbol for variable in result.law.inputs]
    read = zip(symbols, result.series.x_variables, strict=True)
    inputs = "; ".join(f"{symbol} is {variable.meaning}, {_unit(variable.unit)}" for symbol, variable in read)
    return f"- `{result.law.name}`: {result.law.formula}, where {inputs} ({result.law.source})"


def _unit(unit: str) -> str:
    return unit if unit == AS_IN_TABLE else f"in {unit}"


def _summary(results: Sequence[FitResult]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result.numbers))
    rows = [result.summary for result in results]
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
        "The tolerance is what the printed digits of all coefficients imply for each.", "", table,
    ]  # fmt: skip


def _section(result: FitResult, *, is_drawn: bool) -> list[str]:
    word, name = result.verdict, result.name
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
    rivals, checks, held = _rivals(result.comparison), _checklist(result), _holdout(result)
    if not result.describes:
        return [*rivals, *held, "", *checks]
    return [
        *checks,
        "",
        *rivals,
        *held,
        "",
        "Coefficients against leading points dropped:",
        "",
        _drops(result),
    ]


def _checklist(result: FitResult) -> list[str]:
    series, boot = result.series, result.bootstrap
    edge = "at its edge" if result.solution.at_edge else "inside"
    of_runs = "" if series.runs is None else f" of {len(set(series.runs))} runs"
    decades = " and ".join(variable.meaning for variable in series.x_variables)
    lines = [
        f"- Law: {result.law.formula} ({result.law_rule})",
        f"- Points: {len(series.y)} used{of_runs}, {series.dropped} leading ones dropped ({result.drop_rule}), "
        f"{result.decades:.2f} decades of {decades}{' at least' * (series.inputs > 1)}",
        *_reading(series),
        f"- Objective: {result.objective} = {result.solution.objective:.7g}; "
        f"mean absolute residual {result.mae:.3g}, root mean square {result.rmse:.3g}",
    ]
    if not result.describes:
        return [*lines, f"- Data sha256: `{series.sha256}`"]
    if (noise := result.noise) is not None:
        symbol, k = result.law.output.symbol, interval(noise.power, noise.low, noise.high)
        lines.append(f"- Noise: its variance is taken for a power of the curve, |{symbol}|^(2k), k = {k}")
    if math.isfinite(chi2 := result.chi2_per_freedom):
        lines.append(f"- Scatter against the standard errors: chi squared per degree of freedom {chi2:.3g}")
    correlation = "" if series.runs is not None else f"lag-1 correlation {result.lag1:.2f}; "
    kind = "of whole runs" if series.runs is not None else f"in blocks of {boot['block']}"
    lines += [
        f"- Starts: {result.solution.starts_at_best} of {result.solution.starts} reached it within 1 %",
        f"- Search: {edge} the range of the search; scaled condition number {result.condition:.3g}",
        f"- Residuals: {correlation}{_widened(result)}",
        f"- Bootstrap: {boot['draws']} draws {kind}" if boot["draws"] else "- No bootstrap",
    ]
    for name, ends in boot["intervals"].items():
        lines.append(
            f"  - {name}: {interval(result.values[name], *ends)}{_unlike(result.coefficients[name], ends)}"
        )
    lines += _other_text(result)
    for each in result.law.derived:
        lines.append(f"- {each.name}, the {each.meaning}: {derived_number(result, each.name)}")
    lines += [f"- {sentence}" for sentence in result.verdict.checks.sentences(result.law)]
    if math.isfinite(result.extrapolation_ratio):
        ratio = number(result.extrapolation_ratio, 3)
        lines.append(f"- The limit lies {ratio} ranges of the data beyond the last point")
    return [*lines, *_reaches(result), f"- Data sha256: `{series.sha256}`"]


def _other_text(result: FitResult) -> list[str]:
    """What other text would do to the coefficients; nothing where that is not known."""
    if (other := result.other_text) is None:
        return []
    level = (
        f"- Other text of the corpus moves all points together, the last by ± {number(other.last_point, 2)}"
    )
    told = (
        f"{name} {interval(result.values[name], each.low, each.high)} (± {number(each.se, 2)} by it alone)"
        for name, each in other.coefficients.items()
    )
    return [f"{level}; with that, {', '.join(told)}" if other.coefficients else level]


def derived_number(result: FitResult, name: str) -> str:
    """A number that follows from a coefficient, with its interval and its unit."""
    found = result.derived[name]
    if math.isnan(found.value):
        return "none, since the curve does not grow"
    return (
        f"{interval(found.value, found.low, found.high)}, in the unit of {result.series.x_variable.meaning}"
    )


def _widened(result: FitResult) -> str:
    """What correlation does to the intervals."""
    if result.scale.sandwich is not None:
        return "intervals by the scatter of whole runs"
    widened, most = result.scale.inflation, (1 + MOST_LAG1) / (1 - MOST_LAG1)
    at_most = f", the most there is: the residuals do not rule out that noise is correlated by {MOST_LAG1:g}"
    return f"intervals widened by {widened:.2f} in variance{at_most * (widened > 0.999 * most)}"


def _unlike(coefficient: Coefficient, ends: tuple[float, float]) -> str:
    """A warning where the two kinds of interval differ twofold in width."""
    ratio = (coefficient.high - coefficient.low) / ((ends[1] - ends[0]) or math.nan)
    if not math.isfinite(ratio) or 1.0 / TWOFOLD < ratio < TWOFOLD:
        return ""
    return f": the interval above is {number(ratio, 2)} times as wide"


def _reading(series: Series) -> list[str]:
    """In which units the table was read, and which of its rows were not."""
    read = "; ".join(f"{column} in {unit}" for column, unit in series.units.items())
    places = " or ".join(variable.meaning for variable in series.x_variables)
    left = f"- Rows left out: {series.left_out}, excluded, or without {places} or y, or with 0"
    return [*([f"- Units: {read}"] if read else []), *([left] if series.left_out else [])]


def _reaches(result: FitResult) -> list[str]:
    unit = _unit(result.series.x_variable.unit).removeprefix("in ")
    return [
        f"- Reaches {number(place.y)} at {_x(place.x)}{_ends(place)} {unit}"
        if math.isfinite(place.x)
        else f"- The best curve never reaches {number(place.y)}{_ends(place)}{f' {unit}' * bool(_ends(place))}"
        for place in result.reaches
    ]


def _ends(place: Reach) -> str:
    """The interval of a place; nothing where there is none."""
    if math.isnan(place.low) and math.isnan(place.high):
        return ""
    return f" [{_x(place.low)}, {_x(place.high)}]"


def _x(value: float) -> str:
    return number(value, 3) if math.isfinite(value) else "unknown" if math.isnan(value) else "not reached"


def _rivals(comparison: Comparison) -> list[str]:
    rows = [
        {
            "law": rival.law,
            "AICc gap": plain(round(rival.aicc_gap, 1)),
            "rolling-origin RMSE": plain(rival.rolling_rmse),
            "RMSE after 70 %": plain(rival.held_out_rmse),
            "sum of squares": rival.sse,
        }
        for rival in comparison.rivals
    ]
    table = to_markdown(rows, ["law", "AICc gap", "rolling-origin RMSE", "RMSE after 70 %", "sum of squares"])
    ties = f", a tie with {', '.join(comparison.aicc_ties)}" if comparison.aicc_ties else ""
    words = f"Rivals: best by AICc is {comparison.best_by_aicc}{ties}"
    if comparison.best_by_extrapolation:
        words += f"; best by extrapolation is {comparison.best_by_extrapolation}"
        tied = ", ".join(comparison.extrapolation_ties)
        words += f", a tie with {tied}" if tied else ""
    return [words + ".", "", table]


def _holdout(result: FitResult) -> list[str]:
    """The held-out points and how each law and baseline predicts them."""
    held = result.holdout
    if held is None:
        return []
    rows = [
        {
            "by": each.by,
            "RMSE": each.rmse,
            "mean error": each.bias,
            "in the 95 % band": plain(each.coverage),
        }
        for each in held.predictions
    ]
    words = f"Held out: the {held.points} points from {number(held.least)} on, predicted from the other {held.kept}:"
    return ["", words, "", to_markdown(rows, list(rows[0]))]


def _drops(result: FitResult) -> str:
    rows = [
        {"dropped": row.dropped, "points": row.points, **row.coefficients, "mean square": row.mean_square}
        for row in result.drop_sensitivity
    ]
    return to_markdown(rows, ["dropped", "points", *result.coefficients, "mean square"])
