"""Tables lose no digit for machines and stay tables for readers."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.store import tables

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",), include_characters="\n\t"))


@given(st.lists(st.fixed_dictionaries({"x": FLOATS, "name": TEXTS}), max_size=5))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_csv_keeps_every_digit_and_character(rows):
    read = list(csv.reader(io.StringIO(tables.to_csv(rows, ["x", "name"]), newline="")))
    assert read[0] == ["x", "name"]
    assert [(float(x), name) for x, name in read[1:]] == [(row["x"], row["name"]) for row in rows]


def test_csv_cells():
    rows = [{"a": None, "b": True, "c": 3, "d": 0.1, "e": "x,y"}, {"b": False}]
    assert tables.to_csv(rows, "abcde") == 'a,b,c,d,e\n,true,3,0.1,"x,y"\n,false,,,\n'


@given(
    st.lists(
        st.fixed_dictionaries({"x": FLOATS | st.none(), "name": TEXTS}),
        max_size=5,
    )
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_markdown_has_as_many_lines_and_columns_as_it_should(rows):
    lines = tables.to_markdown(rows, {"x": "the x", "name": "name"}).removesuffix("\n").split("\n")
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3


def test_markdown_aligns_numbers_to_the_right():
    rows = [{"n": 12345, "s": "a|b"}, {"n": None, "s": "c"}]
    assert tables.to_markdown(rows, ["n", "s"]) == (
        "|      n | s    |\n|-------:|------|\n| 12,345 | a\\|b |\n|        | c    |\n"
    )


def test_both_files_are_written(tmp_path):
    tables.write_table(tmp_path / "t", [{"a": 0.123456789}], {"a": "A head"})
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a\n0.123456789\n"
    assert "A head" in (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "0.1235" in (tmp_path / "t.md").read_text(encoding="utf-8")


def test_numbers_for_readers():
    assert tables.number(0.000123456) == "0.0001235"
    assert tables.number(123456.0) == "123,456"
    assert tables.number(1.5e9) == "1.5e+09"
