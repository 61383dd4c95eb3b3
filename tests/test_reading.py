"""Why a file cannot be read, in words a user can act on, and JSON objects of a known shape."""

import json

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import json_or_none, read_json_lines, read_object
from sparsity_lab.reading.unreadable import why_unread

CONFLICT = '{\n"a": 1,\n<<<<<<< HEAD\n"b": 1\n=======\n"b": 2\n>>>>>>> other\n}\n'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CONFLICT.encode(), "Line 3 begins a conflict of git"),
        (POINTER.encode(), "git lfs pull"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"", "empty"),
        (b"\0" * 4096, "empty"),
        (b"[[[", "as it says"),
        (b"a <<<<<<< b\n>>>>>>> c", "as it says"),
    ],
)
def test_why(tmp_path, content, told):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert told in why_unread(path, ValueError("as it says"))


def test_why_of_a_file_that_is_not_there(tmp_path):
    assert why_unread(tmp_path / "none", FileNotFoundError("no such file")) == "no such file"


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({"step": 1, "of": {"tokens": 2}}, None),
        ([], "not a JSON object"),
        ({"of": {"tokens": 2}}, "'step'"),
        ({"step": True, "of": {"tokens": 2}}, "'step'"),
        ({"step": "1", "of": {"tokens": 2}}, "'step'"),
        ({"step": 1, "of": []}, "'of'"),
        ({"step": 1, "of": {"tokens": None}}, "'of.tokens'"),
    ],
)
def test_objects_of_a_shape(tmp_path, found, named):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(found))
    if named is None:
        assert read_object(path, fix="x", shape={"step": int, "of": {"tokens": int}}) == found
        return
    with pytest.raises(SparsityLabError, match=named):
        read_object(path, fix="x", shape={"step": int, "of": {"tokens": int}})


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 50_000])
def test_what_may_be_missing_is_none_where_it_cannot_be_read(tmp_path, content):
    path = tmp_path / "note.json"
    if content is not None:
        path.write_bytes(content)
    assert json_or_none(path) is None
    path.write_text('{"a": NaN}')
    assert list(json_or_none(path)) == ["a"]


def test_json_lines_say_where_they_are(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"a": 1}\n\n[2]\n')
    lines = [(f"{path}, line 1", {"a": 1}), (f"{path}, line 3", [2])]
    assert list(read_json_lines(path, kind="samples", fix="x")) == lines
    path.write_text('{"a": 1}\n{"a": 1\n')
    with pytest.raises(SparsityLabError, match=rf"the samples {path}, line 2"):
        list(read_json_lines(path, kind="samples", fix="x"))
    with pytest.raises(SparsityLabError, match=rf"the samples {tmp_path}/none\."):
        list(read_json_lines(tmp_path / "none", kind="samples", fix="x"))
