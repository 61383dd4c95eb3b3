"""The tables of a report as Markdown, or as LaTeX with booktabs, each with its caption and notes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sparsity_lab import tables
from sparsity_lab.fitting.page.blocks import Column, Report, Table, tables_of
from sparsity_lab.fitting.page.values import is_number, shown

LINE_LETTERS, COLUMN_GAP = 90, 2  # of a small line
LONG_ROWS = 40  # more than fit on a page: the table may break
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "–": "--", "—": "---",
    "…": r"\dots{}", "→": r"$\to$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "ρ": r"$\rho$",
    "σ": r"$\sigma$", "²": r"$^2$", "³": r"$^3$", "⁹": r"$^9$", "↵": r"$\hookleftarrow$", "−": "$-$", "∪": r"$\cup$",
    "∩": r"$\cap$", "’": "'", "“": "``", "”": "''", "Δ": r"$\Delta$",
}  # fmt: skip
TEX_HEAD = r"""% Tables of a sparsity-lab report; \input this file in a document that loads
%   \usepackage[T1]{fontenc}, \usepackage{booktabs}, \usepackage{longtable}, \usepackage{graphicx}
"""


def markdown(report: Report) -> str:
    """Every table under its section, with its note."""
    parts = [f"# {_plain(report.title)}\n"]
    for section in report.sections:
        found = [one for one in tables_of(section.blocks) if one.rows]
        parts += [f"## {_plain(section.title)}\n"] if found else []
        parts += [_markdown_table(one) for one in found]
    return "\n".join(parts)


def _markdown_table(one: Table) -> str:
    headings = {column.key: _plain(column.heading) for column in one.columns}
    rows = [{c.key: _clean(row.get(c.key), c.kind) for c in one.columns} for row in one.rows]
    title = f"**{_plain(one.title)}**\n\n" if one.title else ""
    note = f"\n{_plain(_note(one))}\n" if _note(one) else ""
    return f"{title}{tables.to_markdown(rows, headings)}{note}"


def _clean(value: object, kind: str) -> object:
    """A value as it may stand in Markdown: numbers as they are, text without markup of its own."""
    if kind == "ratio":
        return shown(value, kind)
    if value is None or isinstance(value, bool) or is_number(value):
        return value
    return _plain(shown(value))


def _plain(text: str) -> str:
    """Markup of HTML is shown, not understood; a line stays a line."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def _note(one: Table) -> str:
    return " ".join(part for part in (one.note, f"Source: {one.source}." if one.source else "") if part)


def latex(report: Report) -> str:
    """Every table as LaTeX; sections as comments."""
    parts = [TEX_HEAD]
    number = 0
    for section in report.sections:
        found = [one for one in tables_of(section.blocks) if one.rows]
        parts += [f"% {tex(section.title)}\n"] if found else []
        for one in found:
            number += 1
            parts.append(_latex_table(one, label=f"tab:sparsity-lab-{number}"))
    return "\n".join(parts)


def _latex_table(one: Table, *, label: str) -> str:
    kinds = "".join("r" if _numeric(one, column) else "l" for column in one.columns)
    head = " & ".join(f"{tex(column.heading)}" for column in one.columns) + r" \\"
    rows = [" & ".join(_tex_cell(row, column) for column in one.columns) + r" \\" for row in one.rows]
    caption = tex(one.title.replace("`", "")) + "." + (f" {tex(_note(one))}" if _note(one) else "")
    body = "\n".join(rows)
    if len(rows) > LONG_ROWS:
        return _long(kinds, head, body, caption=caption, label=label, wide=_is_wide(one))
    inner = (
        f"\\begin{{tabular}}{{{kinds}}}\n\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}"
    )
    if _is_wide(one):
        inner = f"\\resizebox{{\\linewidth}}{{!}}{{%\n{inner}}}"
    top = f"\\begin{{table}}[htbp]\n\\centering\\small\n\\caption{{{caption}}}\n\\label{{{label}}}\n"
    return f"{top}{inner}\n\\end{{table}}\n"


def _long(kinds: str, head: str, body: str, *, caption: str, label: str, wide: bool) -> str:
    """A table over several pages, its head on each."""
    size = r"\tiny\setlength{\tabcolsep}{2pt}" if wide else r"\small"
    columns = kinds.count("r") + kinds.count("l")
    return (
        f"{{{size}\n\\begin{{longtable}}{{{kinds}}}\n\\caption{{{caption}}}\\label{{{label}}}\\\\\n"
        f"\\toprule\n{head}\n\\midrule\n\\endfirsthead\n\\toprule\n{head}\n\\midrule\n\\endhead\n"
        f"\\midrule\n\\multicolumn{{{columns}}}{{r}}{{continued}}\\\\\n\\endfoot\n\\bottomrule\n\\endlastfoot\n"
        f"{body}\n\\end{{longtable}}}}\n"
    )


def _is_wide(one: Table) -> bool:
    """Whether a table is wider than a line of text."""
    longest = (
        max(len(column.heading), *(len(shown(row.get(column.key))) for row in one.rows)) + COLUMN_GAP
        for column in one.columns
    )
    return sum(longest) > LINE_LETTERS


def _numeric(one: Table, column: Column) -> bool:
    return all(row.get(column.key) is None or is_number(row.get(column.key)) for row in one.rows)


def _tex_cell(row: Mapping[str, object], column: Column) -> str:
    value = row.get(column.key)
    text = tex(shown(value, column.kind).replace("`", ""))
    if is_number(value) and text.startswith("-"):
        return f"${text}$"
    return "{" + text + "}" if text.startswith("[") else text  # \\ would take a bracket for its argument


def tex(text: str) -> str:
    """Text as LaTeX shows it: nothing of it is a command."""
    return "".join(SPECIAL.get(character, character) for character in _line(text))


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029\s]+", " ", text)
