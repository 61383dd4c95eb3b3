"""Prepared data are their text, whatever it is called; another text under the same name is refused."""

import json
import logging
import os
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.ladder_config import parse_config
from sparsity_lab.ladder.config.spec import DataSpec, TokenizerSpec
from sparsity_lab.ladder.corpus import data as prepared_data
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.tokens import read_tokens
from sparsity_lab.ladder.ladder import train_ladder

TOKENIZER = TokenizerSpec(vocabulary=270, train_bytes=50_000)


@pytest.fixture
def texts(text_files, tmp_path):
    """Two text files and a local dataset of the user's own, which a test may change."""
    folder = tmp_path / "texts"
    (folder / "rows").mkdir(parents=True)
    paths = sorted(text_files.glob("email-*.txt"), key=lambda path: path.stat().st_size)[-2:]
    for name, path in zip(("a.txt", "b.txt"), paths, strict=True):
        shutil.copy(path, folder / name)
    rows = [{"text": part} for path in paths for part in path.read_text(encoding="utf-8").split("\n\n")]
    pd.DataFrame(rows).to_json(folder / "rows" / "train.jsonl", orient="records", lines=True)
    pd.DataFrame({**pd.DataFrame(rows), "other": pd.DataFrame(rows)["text"].str.upper()}).to_parquet(
        folder / "rows.parquet"
    )
    return folder


def of_files(texts, *names, **changed):
    return DataSpec(files=tuple(str(texts / name) for name in names), validation_share=0.3, **changed)


def prepare(data, output, **options):
    return prepare_data(data, tokenizer=options.pop("tokenizer", TOKENIZER), output=output, **options)


def append(path):
    path.write_bytes(path.read_bytes() + b"\n\none more paragraph\n")


def change_a_bit(path):
    """The same size and time of change: only the hash tells."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_the_other(path):
    shutil.copy(path.with_name("b.txt"), path)


@pytest.mark.parametrize("change", [append, change_a_bit, replace_by_the_other])
@pytest.mark.parametrize("names", [("a.txt",), ("a.txt", "b.txt"), ("*.txt",)])
@pytest.mark.long
def test_a_text_that_changed_under_its_name_is_refused(texts, tmp_path, change, names):
    prepare(of_files(texts, *names), tmp_path / "data")
    change(texts / "a.txt")
    with pytest.raises(SparsityLabError) as caught:
        prepare(of_files(texts, *names), tmp_path / "data")
    assert "a.txt" in caught.value.paragraph()
    assert caught.value.fix
    with pytest.raises(SparsityLabError):
        prepare(of_files(texts, *names), tmp_path / "data", replace=True)


@pytest.mark.parametrize("change", ["added", "removed", "renamed into another order"])
def test_a_pattern_that_names_other_files_now_is_refused(texts, tmp_path, change):
    prepare(of_files(texts, "*.txt"), tmp_path / "data")
    if change == "added":
        (texts / "c.txt").write_text("a third text", encoding="utf-8")
    elif change == "removed":
        (texts / "b.txt").unlink()
    else:
        (texts / "a.txt").rename(texts / "z.txt")
    with pytest.raises(SparsityLabError):
        prepare(of_files(texts, "*.txt"), tmp_path / "data")


def test_a_local_dataset_that_changed_is_refused(texts, tmp_path):
    data = DataSpec(dataset=str(texts / "rows"), validation_share=0.3)
    prepare(data, tmp_path / "data")
    prepare(data, tmp_path / "data")
    append(texts / "rows" / "train.jsonl")
    with pytest.raises(SparsityLabError, match=r"train\.jsonl"):
        prepare(data, tmp_path / "data")


def test_a_dataset_of_the_hub_is_its_commit(texts, tmp_path, monkeypatch):
    """The commit is looked up at each run; a local dataset stands in for the text."""
    commits = iter(["1" * 40, "1" * 40, None, "2" * 40])
    monkeypatch.setattr(
        "sparsity_lab.ladder.corpus.sources._dataset", lambda name: {"commit": next(commits), "dataset": name}
    )
    data = DataSpec(dataset=str(texts / "rows"), validation_share=0.3)
    for _ in range(3):
        prepare(data, tmp_path / "data")
    with pytest.raises(SparsityLabError, match="commit 111111111111, now it is at 222222222222"):
        prepare(data, tmp_path / "data")


@pytest.mark.parametrize(
    "changed", [{"max_epochs": 7.0}, {"license_note": "mine"}, {"text_column": "unused in text files"}]
)
def test_what_does_not_change_the_data_is_no_part_of_their_identity(texts, tmp_path, changed):
    first = prepare(of_files(texts, "*.txt"), tmp_path / "data")
    again = prepare(of_files(texts, "*.txt", **changed), tmp_path / "data")
    assert again.train_sha256 == first.train_sha256


def test_the_same_text_under_another_name_is_the_same_data(texts, tmp_path):
    first = prepare(of_files(texts, "a.txt"), tmp_path / "data")
    (texts / "a.txt").rename(texts / "moved.txt")
    assert prepare(of_files(texts, "moved.txt"), tmp_path / "data").train_sha256 == first.train_sha256


@pytest.mark.parametrize(
    ("changed", "options"),
    [({"max_bytes": 30_000}, {}), ({"validation_share": 0.4}, {}), ({}, {"seed": 1}),
     ({}, {"tokenizer": TokenizerSpec(vocabulary=280, train_bytes=50_000)}),
     ({}, {"tokenizer": TokenizerSpec(vocabulary=270, train_bytes=9_000)})],
)  # fmt: skip
@pytest.mark.long
def test_what_changes_the_data_is_refused_by_name_and_prepared_again_where_nothing_was_trained(
    texts, tmp_path, changed, options
):
    data = of_files(texts, "a.txt")
    first = prepare(data, tmp_path / "data")
    other = replace(data, **changed)
    with pytest.raises(SparsityLabError) as caught:
        prepare(other, tmp_path / "data", **options)
    assert next(iter(changed or options)) in caught.value.why
    again = prepare(other, tmp_path / "data", replace=True, **options)
    alone = prepare(other, tmp_path / "alone", **options)
    assert again.manifest == alone.manifest != first.manifest


def test_the_column_is_part_of_tables(texts, tmp_path):
    prepare(of_files(texts, "rows.parquet"), tmp_path / "data")
    with pytest.raises(SparsityLabError, match="text_column"):
        prepare(of_files(texts, "rows.parquet", text_column="other"), tmp_path / "data")


def test_text_that_is_gone_is_said_and_the_data_are_used(texts, tmp_path, caplog):
    first = prepare(of_files(texts, "a.txt"), tmp_path / "data")
    (texts / "a.txt").unlink()
    assert prepare(of_files(texts, "a.txt"), tmp_path / "data").train_sha256 == first.train_sha256
    assert "a.txt" in caplog.text
    with pytest.raises(SparsityLabError):
        prepare(of_files(texts, "other.txt"), tmp_path / "data")


def test_a_changed_environment_of_python_is_said(tmp_path, monkeypatch, caplog):
    roots = tmp_path / "lib"
    roots.mkdir()
    for i in range(30):
        (roots / f"m{i}.py").write_text(f"# module {i}\n" + f"value_{i} = {i}\n" * 60, encoding="utf-8")
    monkeypatch.setattr("sparsity_lab.ladder.corpus.corpus.environment_roots", lambda: (roots,))
    data = DataSpec(corpus="python", validation_share=0.3)
    first = prepare(data, tmp_path / "data")
    prepare(data, tmp_path / "data")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    append(roots / "m3.py")
    assert prepare(data, tmp_path / "data").train_sha256 == first.train_sha256
    assert "Python sources" in caplog.text


def test_a_given_tokenizer_that_changed_is_refused(texts, tmp_path, caplog):
    given = prepare(of_files(texts, "a.txt"), tmp_path / "first").tokenizer
    folder = shutil.copytree(given, tmp_path / "tokenizer")
    spec = TokenizerSpec(path=str(folder), vocabulary=300)
    data = of_files(texts, "b.txt")
    prepare(data, tmp_path / "data", tokenizer=spec)
    prepare(data, tmp_path / "data", tokenizer=replace(spec, vocabulary=310))
    with pytest.raises(SparsityLabError, match="has 270 ids"):
        prepare(data, tmp_path / "data", tokenizer=replace(spec, vocabulary=269))
    other = prepare(of_files(texts, "b.txt"), tmp_path / "second").tokenizer
    shutil.copy(other / "tokenizer.json", folder / "tokenizer.json")
    with pytest.raises(SparsityLabError, match="is not the one"):
        prepare(data, tmp_path / "data", tokenizer=spec)


@pytest.mark.parametrize(
    "name", ["train.bin", "validation.bin", "validation.txt", "tokenizer/tokenizer.json"]
)
def test_prepared_files_that_changed_are_refused(texts, tmp_path, name):
    prepare(of_files(texts, "a.txt"), tmp_path / "data")
    change_a_bit(tmp_path / "data" / name)
    with pytest.raises(SparsityLabError, match=name):
        prepare(of_files(texts, "a.txt"), tmp_path / "data")


@pytest.mark.parametrize("content", ["[]", "{}", '{"train": {"tokens": "x", "sha256": 1}}'])
def test_a_manifest_in_another_shape_is_refused(texts, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(
        SparsityLabError, match=r"(Cannot read .*manifest\.json|manifest\.json is damaged).*Remove "
    ):
        prepare(of_files(texts, "a.txt"), tmp_path)


@pytest.mark.parametrize("content", ["3", '{"dtype": [1], "tokens": 4}', '{"dtype": "<u2", "tokens": "x"}'])
def test_a_token_file_s_description_in_another_shape_is_refused(tmp_path, content):
    (tmp_path / "train.bin").write_bytes(b"\0" * 8)
    (tmp_path / "train.json").write_text(content, encoding="utf-8")
    with pytest.raises(SparsityLabError, match="Cannot read"):
        read_tokens(tmp_path / "train.bin")


def test_data_of_a_version_without_hashes_are_taken_with_a_word(texts, tmp_path, caplog):
    data = of_files(texts, "a.txt")
    prepare(data, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for key in ("settings", "text", "prepared"):
        del manifest[key]
    path.write_text(json.dumps({**manifest, "seed": 0}), encoding="utf-8")
    prepare(replace(data, max_epochs=3.0), tmp_path / "data")
    assert "earlier version" in caplog.text
    with pytest.raises(SparsityLabError, match="max_bytes"):
        prepare(replace(data, max_bytes=30_000), tmp_path / "data")
    change_a_bit(tmp_path / "data" / "train.bin")
    with pytest.raises(SparsityLabError, match=r"train\.bin"):
        prepare(data, tmp_path / "data")


@pytest.mark.parametrize("advice", [{"max_epochs": 9}, {"max_bytes": 60_000}])
@pytest.mark.long
def test_the_advice_on_too_little_text_can_be_followed(texts, tmp_path, content, advice):
    asked = {
        **content,
        "data": {"files": [str(texts / "*.txt")], "max_bytes": 10_000, "validation_share": 0.3},
        "tokenizer": {"vocabulary": 260, "train_bytes": 10_000},
        "training": {**content["training"], "tokens": 16_000},
    }
    with pytest.raises(SparsityLabError) as caught:
        train_ladder(parse_config(asked), output=tmp_path / "out")
    assert next(iter(advice)) in caught.value.fix
    followed = {**asked, "data": {**asked["data"], **advice}}
    assert train_ladder(parse_config(followed), output=tmp_path / "out").runs[0].checkpoints
    unlike = {**asked, "data": {**asked["data"], "max_epochs": 9, "max_bytes": 20_000}}
    with pytest.raises(SparsityLabError, match="another configuration"):
        train_ladder(parse_config(unlike), output=tmp_path / "out")


def test_other_ranks_wait_until_data_of_other_settings_are_prepared_again(texts, tmp_path, monkeypatch):
    data = of_files(texts, "a.txt")
    prepare(data, tmp_path / "data")
    other, waits = replace(data, max_bytes=30_000), []
    monkeypatch.setattr(prepared_data.ranks, "is_main", lambda: bool(waits))

    def wait_for(path):
        waits.append(path)

    monkeypatch.setattr(prepared_data.ranks, "wait_for", wait_for)
    prepare(other, tmp_path / "data", replace=True)
    assert waits == [tmp_path / "data" / "manifest.json"]
