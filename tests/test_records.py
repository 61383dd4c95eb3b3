"""Records are whole or not there, and a changed one is noticed."""

import hashlib
import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store import records

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def record(**changed):
    """A record with every documented key, its values of no meaning."""
    body = dict.fromkeys(records.RECORD_KEYS, 1.5)
    return body | {"content_key": "00ff", "model": "a", "flags": [], "score_weights_sha256": None} | changed


@given(JSON_VALUES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_one_value_has_one_canonical_text(value):
    text = records.canonical_json(value)
    assert records.canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.sampled_from(string.ascii_letters), JSON_VALUES, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_content_key_depends_on_values_and_not_on_their_order(values):
    key = records.content_key(values)
    assert records.content_key(dict(reversed(values.items()))) == key
    assert len(key) == 20
    assert set(key) <= set(string.hexdigits.lower())
    name = next(iter(values))
    assert records.content_key({**values, name: [values[name]]}) != key


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        records.canonical_json({"a": value})
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(tmp_path / "a.json", {"a": value})
    assert not list(tmp_path.iterdir())


def test_a_record_and_its_arrays_are_replaced_together_whenever_a_kill_comes(tmp_path):
    """Before the new record, the old pair is there; behind it, the new one."""
    for data in (b"old", b"new"):
        kept = records.find_record(tmp_path, "00ff")
        told = record(score_weights_sha256=records.write_weights(tmp_path, "00ff", data))
        assert records.find_record(tmp_path, "00ff") == kept
        records.write_json(tmp_path / "00ff.json", records.seal(told))  # killed before another step
        assert records.find_record(tmp_path, "00ff") == records.seal(told)
        assert (tmp_path / "00ff.safetensors").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00ff.json", "00ff.safetensors"]


def test_a_record_without_the_file_it_speaks_of_is_set_aside(tmp_path):
    data = b"weights"
    records.write_record(tmp_path, record(score_weights_sha256=hashlib.sha256(data).hexdigest()))
    (tmp_path / "00ff.safetensors").write_bytes(data)
    assert records.find_record(tmp_path, "00ff") is not None
    (tmp_path / "00ff.safetensors").write_bytes(b"other")
    assert records.find_record(tmp_path, "00ff") is None
    assert (tmp_path / "00ff.damaged").exists()


def test_a_written_record_reads_back_as_it_was(tmp_path):
    path = records.write_record(tmp_path, record(knob=0.1, revision=None, model="süß"))
    assert path.name == "00ff.json"
    read = records.read_record(path)
    assert list(read) == list(records.RECORD_KEYS)
    assert read == records.seal(record(knob=0.1, revision=None, model="süß"))
    assert records.find_record(tmp_path, "00ff") == read
    assert list(records.iter_records(tmp_path)) == [read]
    assert os.listdir(tmp_path) == ["00ff.json"]


@pytest.mark.parametrize(
    "odd", [{"surprise": 1}, pytest.param(None, id="one missing")], ids=lambda odd: str(odd)
)
def test_a_record_with_other_keys_is_refused(tmp_path, odd):
    body = record(**odd) if odd else {k: v for k, v in record().items() if k != "knob"}
    with pytest.raises(SparsityLabError, match="surprise" if odd else "knob"):
        records.write_record(tmp_path, body)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"knob": 1.5', '"knob": 1.6'),
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"record_sha256"', '"record_sha512"'),
    ],
)
def test_damage_is_noticed_and_set_aside(tmp_path, damage):
    path = records.write_record(tmp_path, record())
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    damaged = path.read_bytes()
    with pytest.raises(SparsityLabError):
        records.read_record(path)
    with pytest.raises(SparsityLabError):
        list(records.iter_records(tmp_path))
    assert records.find_record(tmp_path, "00ff") is None
    assert os.listdir(tmp_path) == ["00ff.damaged"]
    assert (tmp_path / "00ff.damaged").read_bytes() == damaged


def test_bytes_that_are_no_text_are_damage_too(tmp_path):
    path = records.write_record(tmp_path, record())
    path.write_bytes(b"\xff\xfe\x00" * 50)
    assert records.find_record(tmp_path, "00ff") is None


def test_a_record_under_another_key_is_not_found(tmp_path):
    records.write_record(tmp_path, record())
    (tmp_path / "00ff.json").rename(tmp_path / "0aaa.json")
    assert records.find_record(tmp_path, "0aaa") is None, "the record is another cell's"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    records.write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SparsityLabError, match="No space left"):
        records.write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_output_folder_is_made_and_left_empty(tmp_path):
    assert records.prepare_output(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not list((tmp_path / "a" / "b").iterdir())


@pytest.mark.parametrize("url", ["s3://bucket/runs", "memory://runs", "file:///tmp/runs", "s3:runs"])
def test_a_url_is_no_output_folder(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SparsityLabError, match="is a URL"):
        records.prepare_output(Path(url))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["lr:0.1", "C:", "run:a/b", "a/s3:b"])
def test_a_folder_with_a_colon_in_its_name_is_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert records.prepare_output(Path(name)).is_dir()


def test_a_file_is_no_output_folder(tmp_path):
    (tmp_path / "taken").write_text("x", encoding="utf-8")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(SparsityLabError, match="Cannot write to the output directory"):
            records.prepare_output(folder)
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "x"


def begin_and_fail(output, *, kept=None):
    with records.no_empty_folders(output / "records"):
        if kept is not None:
            records.write_text(output / kept, "x")
        records.prepare_output(output / "records")
        raise KeyboardInterrupt


def test_work_that_fails_before_it_wrote_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin_and_fail(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["there", "a/b"])
def test_work_that_fails_after_it_wrote_keeps_what_it_wrote(tmp_path, folder):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        begin_and_fail(tmp_path / folder, kept="kept.txt")
    assert os.listdir(tmp_path / folder) == ["kept.txt"]


def test_a_link_to_itself_is_no_source(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    records.refuse_over_input(tmp_path / "table.csv", tmp_path / "loop.csv")
    with pytest.raises(SparsityLabError):
        records.refuse_over_input(tmp_path / "loop.csv", tmp_path / "loop.csv")
