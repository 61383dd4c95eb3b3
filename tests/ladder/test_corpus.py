"""Documents come once each, in one order, split by content; files and tables are checked at the door."""

import json
import sysconfig
from pathlib import Path

import pandas as pd
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import DataSpec
from sparsity_lab.ladder.corpus.corpus import environment_roots, held_out, python_corpus
from sparsity_lab.ladder.corpus.sources import file_corpus, open_corpus


@pytest.fixture
def sources(tmp_path):
    for i in range(40):
        package = tmp_path / f"package{i % 4}"
        package.mkdir(exist_ok=True)
        (package / f"m{i}.py").write_text(f"# {i % 30}\n" + "value = 1\n" * 40)
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n" * 200)
    (tmp_path / "__init__.py").write_text("")
    return tmp_path


def test_each_content_comes_once(sources):
    texts = list(python_corpus((sources,)).documents(max_bytes=10**6))
    assert len(texts) == len(set(texts)) == 30


def test_the_order_mixes_packages_and_does_not_change(sources):
    corpus = python_corpus((sources,))
    first = list(corpus.documents(max_bytes=10**6))
    assert first == list(corpus.documents(max_bytes=10**6))
    assert first != sorted(first)


def test_the_cap_stops_within_one_document(sources):
    sizes = [len(text.encode()) for text in python_corpus((sources,)).documents(max_bytes=3_000)]
    assert sum(sizes[:-1]) < 3_000 <= sum(sizes)


@pytest.mark.long
def test_the_environment_has_sources_of_the_library_and_of_packages():
    stdlib, *packages = environment_roots()
    assert stdlib == Path(sysconfig.get_paths()["stdlib"])
    assert packages
    assert (stdlib / "json" / "decoder.py").exists()
    texts = list(python_corpus().documents(max_bytes=200_000))
    assert sum(len(text.encode()) for text in texts) >= 200_000


@pytest.mark.long
def test_the_environment_s_own_site_packages_is_not_read_twice():
    read = [p for root in environment_roots()[:1] for p in root.rglob("*.py") if "site-packages" in p.parts]
    if not read:
        pytest.skip("the standard library holds no site-packages here")
    texts = set(python_corpus(environment_roots()[:1]).read())
    inside = [p.read_text(encoding="utf-8") for p in read[:50] if 256 <= p.stat().st_size <= 200_000]
    assert sum(text in texts for text in inside) <= len(inside) // 10


def test_the_split_is_by_content_and_near_its_share():
    texts = [f"document {i}" for i in range(4_000)]
    held = [text for text in texts if held_out(text, share=0.1, seed=0)]
    assert 320 < len(held) < 480
    assert held == [text for text in reversed(texts) if held_out(text, share=0.1, seed=0)][::-1]
    assert held != [text for text in texts if held_out(text, share=0.1, seed=1)]


def test_a_text_file_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Paragraph {i} " + "x" * 500 for i in range(100)))
    texts = list(file_corpus((str(path),), text_column="text", license_note="").read())
    assert len(texts) > 3
    assert "\n\n".join(texts) == path.read_text()


def test_a_path_is_tried_before_a_pattern_and_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "data [v2].txt").write_text("of this name", encoding="utf-8")
    (tmp_path / "data v.txt").write_text("of the pattern", encoding="utf-8")
    read = file_corpus((str(tmp_path / "data [v2].txt"),), text_column="text", license_note="").read
    assert list(read()) == ["of this name"]
    (tmp_path / "gone.txt").symlink_to("nowhere")
    with pytest.raises(SparsityLabError, match="gone"):
        list(file_corpus((str(tmp_path / "*.txt"),), text_column="text", license_note="").read())


def test_parquet_rows_are_documents(tmp_path):
    pd.DataFrame({"text": ["one", "two", None, "two"], "n": range(4)}).to_parquet(tmp_path / "rows.parquet")
    corpus = open_corpus(DataSpec(files=(str(tmp_path / "*.parquet"),)))
    assert list(corpus.documents(max_bytes=100)) == ["one", "two"]


def test_a_local_dataset_is_read_by_the_datasets_library(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"body": f"row {i}"}) + "\n" for i in range(5)))
    corpus = open_corpus(DataSpec(dataset=str(tmp_path), text_column="body"))
    assert list(corpus.documents(max_bytes=1_000)) == [f"row {i}" for i in range(5)]


def _write_rows(folder):
    pd.DataFrame({"body": ["one"], "n": [1]}).to_parquet(folder / "rows.parquet")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "broken.parquet").write_bytes(b"PAR1 nothing")
    (folder / "a.docx").write_bytes(b"")
    (folder / "gzip.txt").write_bytes(b"\x1f\x8b\x08")


def test_a_text_is_the_same_whatever_its_line_ends_mark_and_capitals(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\n\ntwo\n")
    (tmp_path / "b.TXT").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\r\n")
    read = [list(file_corpus((str(tmp_path / name),), text_column="text", license_note="").read())
            for name in ("a.txt", "b.TXT")]  # fmt: skip
    assert read == [["one\n\ntwo\n"]] * 2


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("rows.parquet", "text", "has no column 'text'. Its columns are body, n"),
        ("rows.parquet", "n", "holds int, not text"),
        ("latin.txt", "text", "is not UTF-8. Line 1 has a byte"),
        ("broken.parquet", "text", "Cannot read"),
        ("a.docx", "text", "neither text"),
        (
            "gzip.txt",
            "text",
            "compressed by gzip, not UTF-8 text. Decompress it with `gunzip`, or leave it out",
        ),
        ("nothing.txt", "text", "No file is named"),
    ],
)
def test_bad_files_are_named(tmp_path, name, column, words):
    _write_rows(tmp_path)
    with pytest.raises(SparsityLabError) as caught:
        list(file_corpus((str(tmp_path / name),), text_column=column, license_note="").read())
    assert words in caught.value.paragraph()
    assert name in caught.value.paragraph()


def test_half_of_a_character_is_refused(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a\\ud800"}\n', encoding="utf-8")
    corpus = open_corpus(DataSpec(dataset=str(tmp_path)))
    with pytest.raises(SparsityLabError):
        list(corpus.documents(max_bytes=1_000))
