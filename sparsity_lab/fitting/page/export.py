"""The tables of a report as Markdown, or as LaTeX with booktabs, each with its caption and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sparsity_lab.fitting.page.blocks import Report, Section, Table, tables_of
from sparsity_lab.fitting.page.cells import shown
from sparsity_lab.store import tables
from sparsity_lab.store.columns import Column
from sparsity_lab.store.tables import is_number

LINE_LETTERS, COLUMN_GAP, TEXT_LETTERS = (
    90,
    2,
    24,
)  # of a small line, between columns, of a text before it breaks
NO_WIDER = r"\ifdim\width>\linewidth\linewidth\else\width\fi"
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
%   \usepackage[T1]{fontenc}, \usepackage{booktabs}, \usepackage{longtable}, \usepackage{array}, \usepackage{graphicx}
"""


def markdown(report: Report) -> str:
    """Every table under its section, with its note."""
    parts = [f"# {_plain(report.title)}\n"]
    for section in report.sections:
        section_tables = list(_tables(section))
        parts += [f"## {_plain(section.title)}\n"] if section_tables else []
        parts += [_markdown_table(table) for table in section_tables]
    return "\n".join(parts)


def _tables(section: Section) -> Iterator[Table]:
    """Tables with rows, less what only a page can draw."""
    for table in tables_of(section.blocks):
        if table.rows:
            yield replace(table, columns=tuple(c for c in table.columns if c.format != "strip"))


def _markdown_table(table: Table) -> str:
    headings = {column.key: _plain(column.heading) for column in table.columns}
    rows = [{c.key: _clean(row.get(c.key), c.format) for c in table.columns} for row in table.rows]
    title = f"**{_plain(table.title)}**\n\n" if table.title else ""
    note = f"\n{_plain(table.notes)}\n" if table.notes else ""
    return f"{title}{tables.to_markdown(rows, headings)}{note}"


def _clean(value: object, kind: str) -> object:
    """A value as Markdown allows it: numbers as they are, text without markup of its own."""
    if kind == "ratio":
        return shown(value, kind)
    if value is None or isinstance(value, bool) or is_number(value):
        return value
    return _plain(shown(value))


def _plain(text: str) -> str:
    """Markup of HTML is shown, not understood; a line stays a line."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def latex(report: Report) -> str:
    """Every table as LaTeX; sections as comments."""
    parts = [TEX_HEAD]
    number = 0
    for section in report.sections:
        section_tables = list(_tables(section))
        parts += [f"% {tex(section.title)}\n"] if section_tables else []
        for table in section_tables:
            number += 1
            parts.append(_latex_table(table, label=f"tab:sparsity-lab-{number}"))
    return "\n".join(parts)


def _latex_table(table: Table, *, label: str) -> str:
    head = " & ".join(tex(column.heading) for column in table.columns) + r" \\"
    body = "\n".join(" & ".join(_tex_cell(row, c) for c in table.columns) + r" \\" for row in table.rows)
    caption = tex(f"{table.title}. {table.notes}".replace("`", "").strip())
    named = f"\\caption{{{caption}}}\\label{{{label}}}"
    if len(table.rows) > LONG_ROWS:
        return _long(table, head, body, named=named)
    inside = f"\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule"
    inner = f"\\begin{{tabular}}{{{_kinds(table)}}}\n{inside}\n\\end{{tabular}}"
    return (
        f"\\begin{{table}}[htbp]\n\\centering\\small\n{named}\n"
        f"\\resizebox{{{NO_WIDER}}}{{!}}{{%\n{inner}}}\n\\end{{table}}\n"
    )


def _long(table: Table, head: str, body: str, *, named: str) -> str:
    """A table over several pages, its head on each; where it is wide its columns share the line."""
    letters = [_letters(table, column) for column in table.columns]
    wide = sum(letters) + COLUMN_GAP * len(letters) > LINE_LETTERS
    size = r"\tiny\setlength{\tabcolsep}{2pt}" if wide else r"\small"
    kinds = _shares(table, letters) if wide else _kinds(table)
    return (
        f"{{{size}\n\\begin{{longtable}}{{{kinds}}}\n{named}\\\\\n"
        f"\\toprule\n{head}\n\\midrule\n\\endfirsthead\n\\toprule\n{head}\n\\midrule\n\\endhead\n"
        f"\\midrule\n\\multicolumn{{{len(letters)}}}{{r}}{{continued}}\\\\\n\\endfoot\n\\bottomrule\n\\endlastfoot\n"
        f"{body}\n\\end{{longtable}}}}\n"
    )


def _kinds(table: Table) -> str:
    return "".join("r" if _numeric(table, column) else "l" for column in table.columns)


def _letters(table: Table, column: Column) -> int:
    """Letters a column needs in one line; long texts and headings may be broken."""
    values = max(len(shown(row.get(column.key), column.format)) for row in table.rows)
    return max(min(values, TEXT_LETTERS), *map(len, column.heading.split() or [""]), 2)


def _shares(table: Table, letters: Sequence[int]) -> str:
    """Columns that fill the line, each by its letters."""
    kinds = []
    for column, count in zip(table.columns, letters, strict=True):
        side = "raggedleft" if _numeric(table, column) else "raggedright"
        width = f"\\dimexpr{count / sum(letters):.4f}\\linewidth-2\\tabcolsep\\relax"
        kinds.append(f">{{\\{side}\\arraybackslash}}p{{{width}}}")
    return "".join(kinds)


def _numeric(table: Table, column: Column) -> bool:
    return all(row.get(column.key) is None or is_number(row.get(column.key)) for row in table.rows)


def _tex_cell(row: Mapping[str, object], column: Column) -> str:
    value = row.get(column.key)
    plain = shown(value, column.format).replace("`", "")
    text = tex(plain)
    if len(plain) > TEXT_LETTERS:
        text = re.sub(r"(;|/|,|\\_)", r"\1\\allowbreak{}", text)
    if is_number(value) and text.startswith("-"):
        return f"${text}$"
    return "{" + text + "}" if text.startswith("[") else text  # \\ would take a bracket for its argument


def tex(text: str) -> str:
    """Text as LaTeX shows it: nothing of it is a command."""
    return "".join(SPECIAL.get(character, character) for character in _line(text))


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029\s]+", " ", text)
