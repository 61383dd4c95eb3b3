"""Figures made safe, cells as values, Markdown as blocks, text as LaTeX."""

import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page import export, prose, svg
from sparsity_lab.fitting.page.blocks import (
    Column,
    Figure,
    Heading,
    Prose,
    Report,
    Section,
    Table,
    without_constants,
)
from sparsity_lab.fitting.page.cells import read_csv, shown
from sparsity_lab.fitting.page.write import write_report
from sparsity_lab.fitting.plots.canvas import style

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'


def inline(body, shapes=None, number=1):
    shapes = svg.Shapes() if shapes is None else shapes
    return svg.inline(f"{HEAD}{body}</svg>", name="a.svg", number=number, label="a <b>", shapes=shapes)


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        '<path d="M0 0" onclick="alert(1)"/>',
        '<a href="javascript:alert(1)"><path d="M0 0"/></a>',
        '<use xlink:href="http://example.org/a.svg#b"/>',
        '<image xlink:href="http://example.org/a.png" width="1" height="1"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA" width="1" height="1"/>',
        "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><p>alert</p></body></foreignObject>",
        '<path d="M0 0" style="fill: url(http://example.org/a)"/>',
        '<path d="M0 0" style="background: url(javascript:alert(1))"/>',
        '<path d="M0 0" fill="url(http://example.org)"/>',
        "<style>* { background: url(http://example.org) }</style>",
        '<animate attributeName="href" values="javascript:alert(1)"/>',
        '<set attributeName="onmouseover" to="alert(1)"/>',
        '<path d="M0 0&quot; onload=&quot;alert(1)"/>',
    ],
)
def test_nothing_of_a_figure_runs_or_is_fetched(body):
    made = inline(body)
    assert not re.search(r"alert|example|script|foreign|onclick|onload|onmouseover", made)


@pytest.mark.parametrize("text", ["<svg", "<p></p>", '<!DOCTYPE a [<!ENTITY b "c">]>' + HEAD + "&b;</svg>"])
def test_what_is_no_figure_is_refused(text):
    with pytest.raises(SparsityLabError):
        svg.inline(text, name="a.svg", number=1, label="", shapes=svg.Shapes())


def test_ids_of_two_figures_never_meet_and_shapes_are_shared():
    body = (
        '<defs><path id="letter" d="M 0 0 L 1.23456 2"/><clipPath id="c"><rect x="0" y="0" width="1" height="1"/>'
        '</clipPath></defs><g clip-path="url(#c)"><use xlink:href="#letter"/></g>'
    )
    shapes = svg.Shapes()
    pages = [inline(body, shapes, number) for number in (1, 2)]
    ids = [set(re.findall(r'id="([^"]+)"', page)) for page in pages]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert len(shapes.known) == 1
    (shape,) = shapes.known
    for page, own in zip(pages, ids, strict=True):
        assert f'href="#{shape}"' in page
        assert set(re.findall(r"url\(#([^)]+)\)", page)) <= own
    assert "1.23 2" in shapes.to_html()


def test_a_real_figure_keeps_its_curves_and_follows_light_and_dark(tmp_path):
    with style.styled():
        drawn, (axes,) = style.figure()
        axes.plot([1, 2, 3], [1, 4, 9], "o-", label="a < b")
        axes.legend()
        style.save(drawn, tmp_path / "curve")
    text = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    shapes = svg.Shapes()
    made = svg.inline(text, name="curve.svg", number=1, label="a curve", shapes=shapes)
    ElementTree.fromstring(made)
    ElementTree.fromstring(shapes.to_html())
    assert "#0072b2" in made
    assert not re.search(r"#000000|#ffffff", made)
    assert "var(--figure-ink)" in made
    used = set(re.findall(r'href="#([^"]+)"', made))
    assert used <= set(shapes.known) | set(re.findall(r'id="([^"]+)"', made))
    assert len(made) + len(shapes.to_html()) < 0.75 * len(text)


def test_a_figure_of_coloured_cells_keeps_its_own_light_card(tmp_path):
    with style.styled():
        drawn, (axes,) = style.figure()
        axes.pcolormesh([[1.0, 2.0], [3.0, 4.0]])
        axes.text(0.5, 0.5, "on a cell")
        style.save(drawn, tmp_path / "cells")
    text = (tmp_path / "cells.svg").read_text(encoding="utf-8")
    made = svg.inline(text, name="cells.svg", number=1, label="", shapes=svg.Shapes())
    assert "light-card" in made
    assert "var(--" not in made


def test_cells_are_numbers_only_where_a_whole_column_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "n,mixed,content_key,flag,long\n1,2,12345678901234567890,true,<0.1\n,x,1e5,,0.12345678\n",
        encoding="utf-8",
    )
    _, rows = read_csv(path)
    assert rows[0] == {
        "n": 1,
        "mixed": "2",
        "content_key": "12345678901234567890",
        "flag": True,
        "long": "<0.1",
    }
    assert rows[1] == {"n": None, "mixed": "x", "content_key": "1e5", "flag": None, "long": 0.12345678}


def test_a_row_of_another_length_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(SparsityLabError, match="row 3, column 'b': the row has 1 cells, the header has 2"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (12345, "12,345"), (0.123456, "0.1235"), (float("nan"), "none"),
     ("ab" * 20, "ababababab…"), ({"a": 1}, "a 1"), ([1, 2.5], "1, 2.5")],
)  # fmt: skip
def test_values_for_readers(value, text):
    assert shown(value) == text


def test_columns_that_say_one_thing_become_a_note():
    columns = tuple(Column(name, name) for name in "abcdefghij")
    rows = tuple({**dict.fromkeys("bcdefghij", 7), "a": i} for i in range(3))
    slim = without_constants(Table("t", columns, rows, note="First."))
    assert [one.key for one in slim.columns] == ["a"]
    assert (
        slim.note == "First. The same in every row: " + "; ".join(f"{name} 7" for name in "bcdefghij") + "."
    )


def test_markdown_as_blocks(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.svg").write_text("<svg/>")
    text = (
        "# T\n\nOne\nline, a [link](x.md).\n\n- a\n- b\n  goes on\n\n"
        "| n | w |\n|--:|---|\n| 1,234 | x\\|y |\n\n"
        "![cap](plots/a.png)\n![out](../x.png)\n"
    )
    heading, words, items, table, figure = prose.blocks(text, folder=tmp_path)
    assert heading == Heading("T")
    assert words == Prose(("One line, a `link`.",))
    assert items == Prose(("a", "b goes on"), listed=True)
    assert table.rows == ({"0": 1234, "1": "x|y"},)
    assert figure == Figure(tmp_path / "plots" / "a.svg", "cap")


def test_latex_is_booktabs_and_escapes():
    rows = tuple({"a": "50% & \\x_{1}", "b": -0.5, "c": "[1, 2]"} for _ in range(2))
    columns = tuple(Column(name, name) for name in "abc")
    made = export.latex(Report("r", "", (Section("s", (Table("T_1", columns, rows, note="A note ±."),)),)))
    assert r"\begin{tabular}{lrl}" in made
    for word in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\caption{T\_1. A note $\pm$.}",
        r"$-0.5$",
        "{[1, 2]}",
    ):
        assert word in made
    assert r"50\% \& \textbackslash{}x\_\{1\}" in made


def test_a_long_latex_table_may_break():
    rows = tuple({"a": i} for i in range(60))
    made = export.latex(Report("r", "", (Section("s", (Table("T", (Column("a", "a"),), rows),)),)))
    assert r"\begin{longtable}{r}" in made
    assert r"\endfirsthead" in made


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_and_no_table_leaves_the_page(studied, tmp_path, write_records):
    write_records(tmp_path / "in", 60)
    shutil.copytree(studied, tmp_path / "in" / "study")
    write_report(tmp_path / "in", output=tmp_path / "tables.tex", form="tex")
    packages = "".join(f"\\usepackage{{{name}}}" for name in ("booktabs", "longtable", "array", "graphicx"))
    (tmp_path / "a.tex").write_text(
        f"\\documentclass{{article}}\\usepackage[T1]{{fontenc}}{packages}\n"
        "\\begin{document}\\input{tables.tex}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace"
    )
    assert done.returncode == 0, done.stdout[-2000:]
    # Words that do not fit their column may stick out a little; a table wider than the line does so by far.
    assert [
        float(width) for width in re.findall(r"Overfull .hbox .([0-9.]+)pt", done.stdout) if float(width) > 15
    ] == []
