"""Tables as CSV (for machines: shortest round-trip floats) and as Markdown (for readers: rounded)."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from sparsity_lab.store.records import write_text

Row = Mapping[str, object]


def to_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """CSV text with a header; None is an empty cell, floats keep every digit, lines end in LF."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_machine(row.get(column)) for column in columns] for row in rows)
    return stream.getvalue()


def to_markdown(rows: Sequence[Row], columns: Mapping[str, str] | Sequence[str]) -> str:
    """A Markdown table; `columns` maps keys to headings, or lists keys that are their own headings."""
    headings = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    body = [[_cell(row.get(key)) for key in headings] for row in rows]
    widths = [max(3, len(head), *(len(line[i]) for line in body)) if body else max(3, len(head))
              for i, head in enumerate(headings.values())]  # fmt: skip
    numeric = [
        bool(rows) and all(row.get(key) is None or is_number(row.get(key)) for row in rows)
        for key in headings
    ]
    lines = [_line(list(headings.values()), widths, numeric)]
    rule = ("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True))
    lines.append("|" + "|".join(rule) + "|")
    lines.extend(_line(line, widths, numeric) for line in body)
    return "\n".join(lines) + "\n"


def to_html(rows: Sequence[Row], columns: Mapping[str, str], *, title: str, notes: Sequence[str] = ()) -> str:
    """A table in HTML under a title and above notes, every text escaped; numbers as `to_markdown` shows them."""
    lines = [list(columns.values()), *([shown(row.get(key)) for key in columns] for row in rows)]
    kinds = ["th", *["td"] * len(rows)]
    body = "".join(
        f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in line)}</tr>"
        for kind, line in zip(kinds, lines, strict=True)
    )
    paragraphs = [f"<p>{html.escape(words)}</p>" for words in (title, *notes)]
    return "".join([paragraphs[0], f"<table>{body}</table>", *paragraphs[1:]])


def write_table(stem: Path, rows: Sequence[Row], columns: Mapping[str, str] | Sequence[str]) -> None:
    """Write `stem.csv` and `stem.md`; keys are the CSV header, headings the Markdown one."""
    write_text(stem.with_suffix(".csv"), to_csv(rows, list(columns)))
    write_text(stem.with_suffix(".md"), to_markdown(rows, columns))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, finite or not; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value as readers see it: numbers rounded, thousands apart, yes or no, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return number(value) if isinstance(value, float) else str(value)


def number(value: float, digits: int = 4) -> str:
    """A float at so many significant digits, without exponents where a reader needs none."""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e" in text and 1e4 <= abs(value) < 1e7 else text


def interval(value: object, low: object, high: object, *, unknown: str = "none") -> str:
    """A value with its interval as readers see it, three digits each; `unknown` where the value is not finite."""
    if not is_number(value) or not math.isfinite(value):
        return unknown
    return f"{number(value, 3)} {bounds(low, high)}"


def bounds(low: object, high: object) -> str:
    """An interval as readers see it; an end that is missing, or not finite, is called open."""
    return f"[{', '.join(number(end, 3) if is_number(end) and math.isfinite(end) else 'open' for end in (low, high))}]"


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
    return "| " + " | ".join(padded) + " |"


def _cell(value: object) -> str:
    return shown(value).replace("|", "\\|").replace("\n", " ")


def _machine(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)
