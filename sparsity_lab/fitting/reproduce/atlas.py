"""The atlas: every bundled table refitted as its publication did, in one index: ours beside what was printed.

`index` reads the fits that `sparsity-lab fit --data NAME` left in a folder each, and what was published of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.reproduce.printed_digits import least_within
from sparsity_lab.fitting.reproduce.published import PublishedRow, PublishedTable
from sparsity_lab.fitting.solved import problem_of
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.store.tables import to_markdown

FIX = "Fit that table again: sparsity-lab fit --data NAME"
Row = dict[str, object]
Entry = Mapping[str, Any]
SERIES = {
    "table": "table", "series": "series", "law": "law", "points": "points", "verdict": "verdict",
    "digits": "objective within printed digits, over the least", "held": "held out: RMSE (bias)",
    "band": "held-out points in the 95 % band",
}  # fmt: skip
NUMBERS = {
    "table": "table", "series": "series", "number": "number", "printed": "published", "ours": "ours",
    "low": "from", "high": "to",
}  # fmt: skip


def index(folder: Path) -> str:
    """The atlas as Markdown: a row for each series, and one for each published number.

    Args:
        folder: holds a folder for each table; those that were studied on their own lie next to it.
    """
    series: list[Row] = []
    numbers: list[Row] = []
    for name, table in published.tables().items():
        place = next(
            (each for each in (folder / name, folder.parent / name) if (each / "fits.json").is_file()), None
        )
        if place is None:
            continue
        points = {each.name: each for each in table.series()}
        link = f"[{name}]({'' if place.parent == folder else '../'}{name}/fits.md)"
        for entry in read_json(place / "fits.json", fix=FIX):
            row = table.rows.get(entry["series"])
            series.append(_series(link, entry, _digits(table, row, points, entry)))
            numbers += _numbers(name, entry, row)
    return "\n".join(
        [
            "## Fits",
            "",
            to_markdown(series, SERIES),
            "",
            "## Published numbers",
            "",
            to_markdown(numbers, NUMBERS),
        ]
    )


def _series(link: str, entry: Entry, digits: float) -> Row:
    held = (entry.get("holdout") or {}).get("predictions", [{}])[0]
    last = next(each for each in entry["rivals"]["rivals"] if each["law"] == entry["law"])["held_out_rmse"]
    error = (
        f"{held['rmse']:.3g} ({held['bias']:+.3g})"
        if held
        else None
        if last is None
        else f"{last:.3g}, last 30 %"
    )
    return {
        "table": link, "series": entry["series"], "law": entry["law"].partition(";")[0], "points": entry["points"],
        "verdict": entry["verdict"], "digits": None if math.isnan(digits) else f"{digits:.6g}", "held": error,
        "band": f"{100 * held['coverage']:.0f} %" if held else None,
    }  # fmt: skip


def _digits(
    table: PublishedTable, row: PublishedRow | None, points: Mapping[str, Any], entry: Entry
) -> float:
    """The least objective within the printed digits over the least of all; NaN where not all are printed."""
    law = load_law(entry["law"])
    if row is None or {parameter.name for parameter in law.parameters} != set(row.printed):
        return math.nan
    names = {field.name for field in fields(FitSpec)}
    spec = FitSpec(**{name: value for name, value in table.settings.items() if name in names})
    problem = problem_of(law, points[entry["series"]].without_leading(row.dropped), spec)
    return least_within(problem, row.printed) / float(entry["objective_value"])


def _numbers(name: str, entry: Entry, row: PublishedRow | None) -> Iterator[Row]:
    """Coefficients and predictions that were published, with ours; ours have intervals where those are closed."""
    if row is None:
        return
    for coefficient, printed in row.printed.items():
        ours = entry["coefficients"].get(coefficient, {})
        yield {
            "table": name, "series": entry["series"], "number": coefficient, "printed": printed,
            **{key: _short(ours.get(value)) for key, value in (("ours", "value"), ("low", "low"), ("high", "high"))},
        }  # fmt: skip
    values = {key: each["value"] for key, each in entry["coefficients"].items()}
    law = load_law(entry["law"])
    for x, printed in row.predicted:
        at = ", ".join(
            f"{variable.symbol} = {value:.4g}" for variable, value in zip(law.inputs, x, strict=True)
        )
        predicted = float(law.predict(values, np.array([x]))[0]) if values else None
        yield {
            "table": name, "series": entry["series"], "number": f"at {at}", "printed": printed,
            "ours": _short(predicted), "low": None, "high": None,
        }  # fmt: skip


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
