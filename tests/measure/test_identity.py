"""What tells checkpoints apart: every byte of their files; and what they are called in tables."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import shortest
from sparsity_lab.measure.checkpoint import fingerprints
from sparsity_lab.measure.checkpoint.fingerprints import file_sha256, fingerprint, tokenizer_identity
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.search.settings import setting_of
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.table import names_of
from sparsity_lab.measure.work.cells import Cell
from sparsity_lab.measure.work.measuring import MeasureRecipe, measure_run
from sparsity_lab.measure.work.preparing import Preparer

SIZE = 8 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder with a weight file of some megabytes."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
    return folder


@settings(max_examples=20, deadline=None)
@given(place=st.integers(0, SIZE - 1))
def test_every_byte_of_the_weights_counts(large, place):
    before = fingerprint(Source(str(large)))
    with (large / "model.safetensors").open("r+b") as stream:
        stream.seek(place)
        value = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([value ^ 1]))
    assert fingerprint(Source(str(large))) != before


def test_a_large_file_is_hashed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "MEMORABLE_BYTES", 0)
    monkeypatch.setattr(fingerprints, "SETTLED_S", -1)
    hashed = []
    real = fingerprints._hashed
    monkeypatch.setattr(fingerprints, "_hashed", lambda path: hashed.append(path) or real(path))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"1" * 100)
    first = file_sha256(path)
    assert file_sha256(path) == first
    assert len(hashed) == 1
    stat = path.stat()
    path.write_bytes(b"2" * 100)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_sha256(path) != first
    for broken in (b"{", b"[]", b"\xff", b'{"state": 3}'):
        (memory,) = (tmp_path / "cache").rglob("*.json")
        memory.write_bytes(broken)
        assert file_sha256(path) == real(path)


def test_a_file_that_may_still_change_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "MEMORABLE_BYTES", 0)
    (tmp_path / "model.safetensors").write_bytes(b"1")
    file_sha256(tmp_path / "model.safetensors")
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_links_are_what_they_lead_to(trained, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in trained.iterdir():
        (linked / path.name).symlink_to(path)
    assert fingerprint(Source(str(linked))) == fingerprint(Source(str(trained)))


@pytest.mark.parametrize(
    "name",
    ["special_tokens_map.json", "added_tokens.json", "tokenizer_config.json", "config.json", "vocab.txt"],
)
def test_every_file_of_a_tokenizer_counts(trained, tmp_path, name):
    """A `tokenizer_class` may be in config.json as well."""
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert tokenizer_identity(Source(str(copy))) == tokenizer_identity(Source(str(trained)))
    (copy / name).write_text('{"eos_token": "a"}')
    assert tokenizer_identity(Source(str(copy))) != tokenizer_identity(Source(str(trained)))


def measured(source_text, output, *folders, **more):
    spec = MeasureSpec(text=source_text, knob=0.1, tokens=512, window=64, **more)
    rows = measure_checkpoints(spec, expand([str(folder) for folder in folders]), output=output)
    with (output / "table.csv").open(encoding="utf-8") as stream:
        return rows, list(csv.DictReader(stream)), (output / "table.md").read_text(encoding="utf-8")


def test_equal_checkpoints_keep_their_names_and_say_so(trained, source_text, tmp_path, caplog):
    caplog.set_level("WARNING", logger="sparsity_lab")
    folders = [shutil.copytree(trained, tmp_path / name) for name in ("a/tiny", "b/tiny", "c/other")]
    weights = load_file(folders[2] / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.01
    save_file(weights, folders[2] / "model.safetensors", metadata={"format": "pt"})
    _, rows, table = measured(source_text, tmp_path / "out", *folders)
    assert [row["model"] for row in rows] == list(map(str, folders))
    assert [row["series"] for row in rows] == ["a/tiny", "b/tiny", "other"]
    assert [row["equal_to"] for row in rows] == ["b/tiny", "a/tiny", ""]
    for name in ("| a/tiny ", "| b/tiny ", "| other ", "| equal to "):
        assert name in table
    assert "a/tiny holds the same bytes as b/tiny" in caplog.text
    assert rows[0]["ppl_dense"] == rows[1]["ppl_dense"] != rows[2]["ppl_dense"]


def test_a_record_found_under_another_name_gets_the_name_asked_for(trained, source_text, tmp_path):
    first = shutil.copytree(trained, tmp_path / "first")
    measured(source_text, tmp_path / "out", first)
    moved = first.rename(tmp_path / "moved")
    found, (row,), table = measured(source_text, tmp_path / "out", moved)
    assert len(list((tmp_path / "out" / "records").iterdir())) == 1
    assert (row["model"], row["series"]) == (found[0]["model"], found[0]["series"]) == (str(moved), "moved")
    assert "| moved " in table


def test_weights_replaced_by_others_of_the_same_size_are_measured(trained, source_text, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "tiny")
    path = folder / "model.safetensors"
    stat = path.stat()
    (before,), _, _ = measured(source_text, tmp_path / "out", folder)
    weights = load_file(path)
    save_file({name: value * 1.01 for name, value in weights.items()}, path, metadata={"format": "pt"})
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    (after,), _, _ = measured(source_text, tmp_path / "out", folder)
    assert after["content_key"] != before["content_key"]
    assert after["ppl_dense"] != before["ppl_dense"]


def test_weights_replaced_while_they_are_measured_are_refused(trained, source_text, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "tiny")
    spec = MeasureSpec(text=source_text, knob=0.1, tokens=512, window=64)
    prepared = Preparer(spec).prepare(expand([str(folder)])[0])
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.01
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    cell = Cell(MeasureRecipe(spec, setting_of(spec)), prepared)
    changed = pytest.raises(SparsityLabError, match="changed while they were being measured")
    with changed, measure_run(replace(spec, fail_fast=True), output=tmp_path / "out") as run:
        run.answers([cell], label="changed")
    assert not list(tmp_path.rglob("out/**/*.json"))


def run_of(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    return str(folder)


def test_runs_in_folders_of_one_name_are_two_series(tmp_path):
    first, second = (run_of(tmp_path / name / "run", "step-1", "step-2") for name in "ab")
    alone = run_of(tmp_path / "c" / "other", "step-1")
    found = expand([first, second, alone])
    assert [checkpoint.series for checkpoint in found] == ["a/run"] * 2 + ["b/run"] * 2 + ["other"]
    assert len({checkpoint.name for checkpoint in found}) == 5
    assert [checkpoint.series for checkpoint in expand([first])] == ["run", "run"]


PARTS = st.lists(st.sampled_from(["a", "b", "run", "step-1"]), min_size=1, max_size=4)


@given(paths=st.lists(PARTS.map(lambda parts: PurePosixPath("/", *parts)), min_size=1, max_size=8))
def test_names_are_the_shortest_that_tell_paths_apart(paths):
    names = shortest(paths)
    assert len(set(names.values())) == len(set(paths))
    for path, name in names.items():
        shorter = name.split("/")[1:]
        others = [other for other in names if other != path]
        assert not shorter or any(other.parts[-len(shorter) :] == tuple(shorter) for other in others)


def row(model, revision=None, commit=None):
    return {"model": model, "revision": revision, "commit": commit}


def test_names_of_rows():
    rows = [
        row("acme/tiny", None, "c1"), row("acme/tiny", "step1", "c1"), row("other/tiny", None, "c2"),
        row("runs/tiny"), row("runs/one/step-1"), row("runs/two/step-1"), row("runs/two/step-2"),
    ]  # fmt: skip
    assert list(names_of(rows).values()) == [
        "acme/tiny", "acme/tiny@step1", "other/tiny", "tiny", "one/step-1", "two/step-1", "step-2",
    ]  # fmt: skip


def test_the_config_counts(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 0.1}))
    assert fingerprint(Source(str(copy))) != fingerprint(Source(str(trained)))
    assert torch.equal(*(load_file(f / "model.safetensors")["model.norm.weight"] for f in (copy, trained)))
