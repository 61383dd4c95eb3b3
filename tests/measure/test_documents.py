"""Texts that are lists of documents: windows keep to one, which is the unit of errors; packed they are one text."""

import itertools
import json

import numpy as np
import pytest

from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.reading.texts.passages import Position
from sparsity_lab.settings import HEAD, SPREAD, Sampling
from tests.at_hand import at_hand


@pytest.fixture(scope="module")
def reader(trained):
    return load_text_tokenizer(Source(str(trained)))


@pytest.fixture(scope="module")
def documents():
    """Documents of several lengths, in none of which stands what stands in another."""
    generator = np.random.default_rng(0)
    return [
        f"document {n} “begins”\n" + " ".join(f"{n}x{k}" for k in range(generator.integers(5, 400)))
        for n in range(80)
    ]


def as_lines(path, documents, *, key="text"):
    path.write_text("".join(json.dumps({"id": n, key: one}) + "\n" for n, one in enumerate(documents)))
    return path


def as_folder(path, documents):
    for number, one in enumerate(documents):
        (path / f"{number // 10}").mkdir(parents=True, exist_ok=True)
        (path / f"{number // 10}" / f"{number:03}.txt").write_text(one, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[as_lines, as_folder])
def text(request, tmp_path_factory, documents):
    return open_text(request.param(tmp_path_factory.mktemp("documents") / "text.jsonl", documents))


def homes(reader, windows, documents):
    """Which document each window is a part of."""
    found = []
    for row in windows.ids.tolist():
        words = reader.encoder.decode(row)
        of = [n for n, one in enumerate(documents) if words.strip("\ufffd") in one]
        assert of, words
        found.append(of[0])
    return found


@pytest.mark.parametrize("sample", [SPREAD, HEAD])
@pytest.mark.parametrize(("tokens", "window"), [(512, 32), (2048, 64), (10**6, 64)])
@pytest.mark.long
def test_no_window_goes_over_the_border_between_two_documents(
    reader, text, documents, sample, tokens, window
):
    windows = sampled(reader, text, Sampling(tokens, window, sample))
    found = homes(reader, windows, documents)
    assert found == sorted(found)
    assert windows.units is not None
    assert [a == b for a, b in itertools.pairwise(found)] == [
        a == b for a, b in itertools.pairwise(windows.units)
    ]
    if sample == SPREAD and tokens == 512:
        assert found[-1] > 60
        assert windows.count == 16
    draws = noise.replicates(np.arange(windows.count), sample=sample, documents=windows.units)
    assert draws.units == (len(set(found)) if sample == SPREAD else 4)


def test_short_documents_are_left_out_and_counted(reader, text, documents):
    windows = sampled(reader, text, Sampling(10**6, 1024))
    lengths = [len(reader.encoder.encode(one, add_special_tokens=False).ids) for one in documents]
    short = sum(length < 1024 for length in lengths)
    assert any(f"{short} of 80 documents looked at hold no window" in note for note in windows.notes)
    assert windows.count == sum(length // 1024 for length in lengths)


@pytest.mark.long
def test_packed_documents_are_one_text(reader, tmp_path, documents):
    lines = open_text(as_lines(tmp_path / "text.jsonl", documents), pack=True)
    folder = open_text(as_folder(tmp_path / "folder", documents), pack=True)
    plain = tmp_path / "plain.txt"
    plain.write_text("\n\n".join(documents), encoding="utf-8")
    for sample in (HEAD, SPREAD):
        asked = Sampling(10**6, 64, sample)
        assert (
            sampled(reader, lines, asked).sha256
            == sampled(reader, folder, asked).sha256
            == sampled(reader, open_text(plain), asked).sha256
        )
    joined = plain.read_text(encoding="utf-8")
    for text in (lines, folder):
        windows = sampled(reader, text, Sampling(1024, 64))
        assert windows.units is None
        assert all(reader.encoder.decode(row).strip("\ufffd") in joined for row in windows.ids.tolist())


def test_a_place_in_packed_lines_is_a_document_and_a_byte_of_its_text(tmp_path):
    """Lines hold other things than text, some more than others: these have no say in where a character is."""
    path = tmp_path / "text.jsonl"
    rows = [{"text": f"line {n} “of” some words", "source": "x" * 900 * n} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    passage = open_text(path, pack=True).passage_at(Position(1, 3), before=0, after=1000)
    assert passage.ends
    for number, row in enumerate(rows[1:], start=1):
        character = passage.text.index(f"{number} “of”") + 5
        byte = len(row["text"][: row["text"].index("“of”") + 3].encode())
        assert passage.place_of(character, Position(1, 3)) == (number, byte)


def test_the_articles_of_a_corpus(reader, tmp_path):
    """WikiText-2 as the list of its articles: windows from all over it, none over a border."""
    words = at_hand("text/wikitext2.valid.txt").read_text(encoding="utf-8")
    articles, begun = [], ""
    for line in words.splitlines(keepends=True):
        if line.startswith(" = ") and not line.startswith(" = = ") and line.rstrip().endswith("=") and begun:
            articles, begun = [*articles, begun], ""
        begun += line
    articles = [one for one in [*articles, begun] if one.strip()]
    assert 55 < len(articles) < 65
    text = open_text(as_lines(tmp_path / "articles.jsonl", articles))
    windows = sampled(reader, text, Sampling(8192, 128))
    assert (windows.count, windows.sample) == (64, SPREAD)
    found = homes(reader, windows, articles)
    assert len(set(found)) > 40
    assert len(set(windows.units)) == len(set(found))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('{"text": "a"}\nnot json\n' * 9, "is no JSON"),
        ('{"body": "a"}\n' * 9, "no text under 'text'"),
        ('["text"]\n' * 9, "no text under 'text'"),
        ('{"text": null}\n' * 9, "no text under 'text'"),
        ("\n\n", "empty"),
    ],
)
def test_lines_that_hold_no_text_are_refused(reader, tmp_path, lines, told):
    path = tmp_path / "text.jsonl"
    path.write_text(lines)
    with pytest.raises(SparsityLabError, match=told):
        sampled(reader, open_text(path), Sampling(64, 8))


def test_a_column_by_another_name(reader, tmp_path, documents):
    path = as_lines(tmp_path / "text.jsonl", documents, key="content")
    assert sampled(reader, open_text(path, column="content"), Sampling(512, 32)).count == 16


def test_a_folder_without_texts_is_refused(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(SparsityLabError, match="holds no text files"):
        open_text(tmp_path)


def test_files_of_other_kinds_in_a_folder_are_told(tmp_path, documents, caplog):
    folder = as_folder(tmp_path / "folder", documents)
    (folder / "picture.png").write_bytes(b"x")
    (folder / "0" / "more.jsonl").write_text("{}")
    (folder / "loop").symlink_to(folder)
    assert len(open_text(folder).files) == len(documents)
    assert "2 files of other kinds" in caplog.text
    assert ".jsonl, .png" in caplog.text


def test_windows_of_three_documents_are_too_few(reader, tmp_path):
    path = as_lines(tmp_path / "text.jsonl", [" ".join(f"{n}x{k}" for k in range(900)) for n in range(3)])
    with pytest.raises(RunError, match="from 3 document"):
        sampled(reader, open_text(path), Sampling(1024, 64))
