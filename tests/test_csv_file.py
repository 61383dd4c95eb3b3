"""Tables as spreadsheets, loggers and pandas write them: read alike, or refused with the row and the change to make."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading import csv_numbers
from sparsity_lab.reading.csv_file import read_csv

PLAIN = "series,tokens,ratio\na,1000000,0.5\na,2000000,0.25\nb,1000000,0.125\n"
HEADER = ["series", "tokens", "ratio"]
ROWS = [["a", "1000000", "0.5"], ["a", "2000000", "0.25"], ["b", "1000000", "0.125"]]


def written(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells_of(path):
    header, rows = read_csv(path)
    return header, [[row[name] for name in header] for _, row in rows]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", "\u00a0, "),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("0.", "0,"),
        PLAIN.replace(",", "\t").replace("0.", "0,"),
        PLAIN.replace(",", ";").replace("0.", "0,").replace("000000", ".000.000"),
        PLAIN.replace("000000", "_000_000"),
        PLAIN.replace("000000", " 000 000"),
        PLAIN.replace("000000", "\u202f000\u202f000"),
        PLAIN.replace("1000000", '"1,000,000"').replace("2000000", '"2,000,000"'),
        PLAIN.replace("0.5", '"0.5"').replace("series", '"series"'),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        "\ufeff".encode("utf-16-be") + PLAIN.encode("utf-16-be"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        "# made by a logger, on Monday\n\n#\n" + PLAIN,
        "\n\n" + PLAIN + "\n,,\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("ratio\n", "ratio,\n"),
        PLAIN + "series,tokens,ratio\n",
        ",series,tokens,ratio\n0,a,1000000,0.5\n1,a,2000000,0.25\n2,b,1000000,0.125\n",
        "series,tokens,ratio,tokens\na,1000000,0.5,1000000\na,2000000,0.25,2000000\nb,1000000,0.125,1000000\n",
    ],
)
def test_one_table_in_many_spellings(tmp_path, content):
    assert cells_of(written(tmp_path, content)) == (HEADER, ROWS)


def test_rows_are_numbered_as_an_editor_numbers_them(tmp_path):
    text = '# comment "with a quote\n\nsep=;\n'
    path = written(tmp_path, text.replace("sep=;\n", "") + 'a,b\n1,"two\nlines"\n\n3,4\n')
    assert [line for line, _ in read_csv(path)[1]] == [5, 7]


def test_pandas_index_columns_stay_columns(tmp_path):
    header, rows = cells_of(written(tmp_path, "Unnamed: 0.1,Unnamed: 0,index,x\n0,0,5,1\n1,1,6,2\n"))
    assert header == ["Unnamed: 0.1", "Unnamed: 0", "index", "x"]
    assert rows == [["0", "0", "5", "1"], ["1", "1", "6", "2"]]


@pytest.mark.parametrize(
    ("content", "named", "change"),
    [
        (PLAIN.replace("b,", "Zürich,").encode("latin-1"), "row 4 has a byte", "UTF-8"),
        (PLAIN.encode("utf-16-le"), "NUL bytes", "UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00", "a workbook", "Save the sheet as CSV"),
        (b"PAR1\x15\x04", "a parquet file", "to_csv"),
        (b"\x1f\x8b\x08\x00", "gzip", "gunzip"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "a pointer of Git LFS",
            "CSV",
        ),
        ("<!DOCTYPE html>\n<html></html>\n", "an HTML page", "CSV"),
        ("1000000,0.5\n2000000,0.25\n", "no column names: its first row is 1000000, 0.5", "first row"),
        ("a,1000000,0.5\na,2000000,0.25\n", "no column names", "first row"),
        ("# step,loss\n1,0.5\n2,0.25\n", "no column names", "without a #"),
        ("step loss\n1 0.5\n2 0.25\n", "separated by blanks", "commas"),
        ("| step | loss |\n| 1 | 0.5 |\n", "separated by bars", "commas"),
        ("a,b;c\n1,2;3\n4,5;6\n", "separator", "quotes"),
        ("x,x\n1,2\n", "column 'x' twice", "Rename"),
        ("x,y\n<<<<<<< HEAD\n1,2\n=======\n1,3\n>>>>>>> theirs\n", "Line 2 begins a conflict", "Resolve it"),
        ("x,y\n1,2\n3\n", "row 3, column 'y'", "separator between all cells"),
        ("x,y\n1,2\n3,4,5\n", "row 3: the row has 3 cells", "separator between all cells"),
        ("x,y,\n1,0,5\n", "row 2: the row has 3 cells", "decimal point"),
        ("made by me\n\nx,y\n1,2\n", "row 3", "Remove what is above the names"),
        ('x,note\n1,"open\n2,b\n', "row 2", "quotation marks"),
        ("x;y\n0,5;1.234\n", "row 2, column 'y': 1.234 may be 1234", "decimal points"),
        ("x,y\n0.5,2\n1.000.000,3\n1.234,3\n", "row 4, column 'x': 1.234 may be 1234", "decimal points"),
    ],
)
def test_what_may_be_two_things_is_refused_with_the_change_to_make(tmp_path, content, named, change):
    with pytest.raises(SparsityLabError) as caught:
        read_csv(written(tmp_path, content))
    assert named in caught.value.paragraph()
    assert change in caught.value.fix


def test_what_is_not_plain_is_said(tmp_path, caplog):
    caplog.set_level("INFO", logger="sparsity_lab")
    read_csv(written(tmp_path, "# note\n" + PLAIN.replace(",", ";").replace("0.", "0,")))
    for words in ("comment line", "semicolons", "0,5 are read as 0.5 (column ratio)"):
        assert words in caplog.text
    caplog.clear()
    read_csv(written(tmp_path, PLAIN))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("cells", "plain"),
    [
        (["0,5", "1,234"], ["0.5", "1.234"]),
        (["1,234", "1,234,567"], ["1234", "1234567"]),
        (["1.234", "1.234.567"], ["1234", "1234567"]),
        (["1.234", "0.5"], ["1.234", "0.5"]),
        (["1,234"], ["1,234"]),
        (["1,234", "0,5", "1,000,000"], ["1,234", "0.5", "1000000"]),
        (["1,234.5", "1.234,5"], ["1234.5", "1234.5"]),
        (["\u22120.5", "1'000"], ["-0.5", "1000"]),
        (["1,5e9", "1,234E+09"], ["1.5e9", "1.234E+09"]),
        (["1,23,456", "1_0", "1..5", "1,", "5,5,5"], ["1,23,456", "1_0", "1..5", "1,", "5,5,5"]),
        (["run 1 000", "1,5", "a", "b"], ["run 1 000", "1,5", "a", "b"]),
    ],
)
def test_spellings_of_numbers(cells, plain):
    assert csv_numbers.CellNumbers(cells).plain() == plain


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("1,234", "Write it as 1234 or as 1.234"),
        ("12.5%", "Write the number alone"),
        ("5B", "tokens (1e9)"),
        ("300 M tokens", "tokens (1e9)"),
        ("2024-05-01", "a date"),
        ("TRUE", "1 and 0"),
        ("n/a", "Correct the cell"),
    ],
)
def test_cells_that_are_no_number_say_what_to_change(cell, words):
    assert words in " ".join(csv_numbers.problem(cell))


NUMBERS = st.lists(st.tuples(st.integers(0, 10**12), st.floats(1e-6, 1e9)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    rows=NUMBERS, point=st.booleans(), mark=st.sampled_from(",;\t"), gaps=st.sampled_from(["", " ", "_", "'"])
)
def test_numbers_survive_each_spelling_or_are_refused(tmp_path_factory, rows, point, mark, gaps):
    stream = io.StringIO()
    table = csv.writer(stream, delimiter=mark)
    table.writerow(["n", "x"])
    for n, x in rows:
        text = repr(x) if point else repr(x).replace(".", ",")
        table.writerow([f"{n:_}".replace("_", gaps), text])
    path = written(tmp_path_factory.mktemp("t"), stream.getvalue())
    try:
        _, found = read_csv(path)
        read = [(int(csv_numbers.number(row["n"])), csv_numbers.number(row["x"])) for _, row in found]
    except (SparsityLabError, ValueError):
        assert not point or "'" in gaps, "plain numbers are always read"
        return
    assert read == rows
