"""Texts as files: one text whatever its line ends, and all that is no text refused with the command that makes one."""

import gzip
import subprocess
import sys

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.texts.text_file import read_text_file

TEXT = "First line,\nZürich.\n\nLast.\n"


def written(folder, content, name="t.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (TEXT, 0),
        ("\ufeff" + TEXT, 0),
        (TEXT.replace("\n", "\r\n"), 4),
        (TEXT.replace("\n", "\r"), 4),
        ("\ufeff" + TEXT.replace("line,\n", "line,\r\n"), 1),
    ],
)
def test_one_text_whatever_its_line_ends_and_its_mark(tmp_path, content, count):
    found = read_text_file(written(tmp_path, content))
    assert found == TEXT
    assert [note.split(" line ends")[0] for note in found.notes] == (
        [f"The text has {count}"] if count else []
    )


@pytest.mark.parametrize(
    ("name", "content", "what", "change"),
    [
        ("t.jsonl", '{"text": "a"}\n', "documents as JSON lines", "pandas.read_json('{path}', lines=True)['text']"),
        ("T.JSONL", '{"text": "a"}\n', "documents as JSON lines", "name it .txt"),
        ("t.json", '[{"text": "a"}]', "documents as JSON", "pandas.read_json('{path}')['text']"),
        ("t.csv", "text\na\n", "documents as CSV", "pandas.read_csv"),
        ("t.tsv", "text\na\n", "documents as CSV", "sep='\\t'"),
        ("t.parquet", b"PAR1\x15\x04", "documents as parquet", "pandas.read_parquet"),
        ("t.txt", b"PAR1\x15\x04", "a parquet file", "pandas.read_parquet('{path}')['text']"),
        ("t.txt", gzip.compress(TEXT.encode(), mtime=0), "compressed by gzip", "gunzip"),
        ("t.txt.zst", b"\x28\xb5\x2f\xfd\x00", "compressed by zstd", "unzstd"),
        ("t.pdf", b"%PDF-1.7\n", "a PDF", "pdftotext"),
        ("t.docx", b"PK\x03\x04\x14\x00", "zip archive", "plain text"),
        ("t.txt", TEXT.encode("latin-1"), "not UTF-8. Line 2 has a byte", "iconv -f latin1 -t utf-8 {path}"),
        ("t.txt", TEXT.encode("utf-16"), "is UTF-16, not UTF-8", "iconv -f utf-16 -t utf-8 {path}"),
        ("t.txt", TEXT.encode("utf-32"), "is UTF-32, not UTF-8", "iconv -f utf-32 -t utf-8 {path}"),
        ("t.txt", "abc".encode("utf-16-le"), "holds NUL bytes", "iconv -f utf-16le -t utf-8 {path}"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_with_the_change(tmp_path, name, content, what, change):
    path = written(tmp_path, content, name)
    with pytest.raises(SparsityLabError) as caught:
        read_text_file(path, otherwise=", or leave it out")
    assert what in caught.value.paragraph()
    assert str(path) in caught.value.paragraph()
    assert change.replace("{path}", str(path)) in caught.value.fix
    assert caught.value.fix.endswith(", or leave it out")


def test_the_named_command_makes_a_text_of_json_lines(tmp_path):
    path = written(tmp_path, '{"text": "one\\ntwo"}\n{"text": "three"}\n', "t.jsonl")
    with pytest.raises(SparsityLabError) as caught:
        read_text_file(path)
    command = caught.value.fix.split("`")[1].replace("python -c", f"{sys.executable} -c")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read_text_file(tmp_path / "text.txt") == "one\ntwo\nthree\n"


def test_a_long_text_that_is_not_read_to_its_end_is_held_to_utf8_as_well(tmp_path):
    path = written(tmp_path, "ü" * 20)
    assert read_text_file(path, most_bytes=11) == "ü" * 5
    with pytest.raises(SparsityLabError, match="is not UTF-8"):
        read_text_file(written(tmp_path, "ü".encode("latin-1") + b"." * 20), most_bytes=11)
