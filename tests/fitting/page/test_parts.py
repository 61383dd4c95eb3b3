"""Cells as values, text as LaTeX."""

import re
import shutil
import subprocess

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page import export
from sparsity_lab.fitting.page.blocks import (
    Report,
    Section,
    Table,
    table,
    without_constants,
)
from sparsity_lab.fitting.page.cells import read_csv, shown
from sparsity_lab.fitting.page.write import write_report
from sparsity_lab.store.columns import Column


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
    columns = tuple(Column(name, heading=name) for name in "abcdefghij")
    rows = tuple({**dict.fromkeys("bcdefghij", 7), "a": i} for i in range(3))
    slim = without_constants(Table("t", columns, rows, note="First."))
    assert [one.key for one in slim.columns] == ["a"]
    assert (
        slim.note == "First. The same in every row: " + "; ".join(f"{name} 7" for name in "bcdefghij") + "."
    )


def test_latex_is_booktabs_and_escapes():
    rows = tuple({"a": "50% & \\x_{1}", "b": -0.5, "c": "[1, 2]"} for _ in range(2))
    columns = tuple(Column(name, heading=name) for name in "abc")
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
    made = export.latex(Report("r", "", (Section("s", (Table("T", (Column("a", heading="a"),), rows),)),)))
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


def test_a_column_without_a_value_is_not_said_to_be_the_same_in_every_row():
    rows = [
        {"row": i, "flags": [], "kind": "cett", **{f"c{j}": i * j for j in range(1, 8)}} for i in range(3)
    ]
    assert without_constants(table("Records", rows)).note == "The same in every row: kind cett."
