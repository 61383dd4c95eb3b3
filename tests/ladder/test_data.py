"""Token files hold exactly the documents; windows are a permutation per epoch, the same for the same seed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoTokenizer

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.corpus.corpus import held_out
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.sources import open_corpus
from sparsity_lab.ladder.corpus.tokenizer import train_tokenizer
from sparsity_lab.ladder.corpus.tokens import TrainingWindows, read_tokens
from sparsity_lab.ladder.train.checkpoints import read_about


@pytest.fixture(scope="module")
def documents(tiny):
    return list(open_corpus(tiny.data).documents(max_bytes=tiny.data.max_bytes))


def test_the_token_files_decode_to_the_documents(tiny, tiny_data, documents):
    tokenizer = AutoTokenizer.from_pretrained(tiny_data.tokenizer)
    for path, held in ((tiny_data.train, False), (tiny_data.folder / "validation.bin", True)):
        wanted = [
            t for t in documents if held_out(t, share=tiny.data.validation_share, seed=tiny.seed) is held
        ]
        decoded = tokenizer.decode(read_tokens(path).tolist())
        assert decoded == "".join(text + tokenizer.eos_token for text in wanted)


def test_the_parts_share_no_document(tiny_data, documents):
    held = tiny_data.validation_text.read_text(encoding="utf-8")
    train = AutoTokenizer.from_pretrained(tiny_data.tokenizer).decode(read_tokens(tiny_data.train).tolist())
    assert not [text for text in documents if text in held and text in train]
    assert {text in held for text in documents} == {True, False}


def test_the_tokenizer_is_of_the_asked_size_and_writes_any_text(tiny, tiny_data):
    tokenizer = AutoTokenizer.from_pretrained(tiny_data.tokenizer)
    assert len(tokenizer) == tiny.tokenizer.vocabulary
    text = "naïve 雪\t\r\n\x00 \U0001f600  x"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.bos_token is None


def test_the_same_text_gives_the_same_files(tiny, tiny_data, tmp_path):
    again = prepare_data(tiny.data, tokenizer=tiny.tokenizer, output=tmp_path, seed=tiny.seed)
    assert again.manifest == tiny_data.manifest
    for name in ("train.bin", "validation.bin", "validation.txt", "tokenizer/tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (tiny_data.folder / name).read_bytes()


def test_other_data_in_the_folder_is_refused(tiny, tiny_data):
    with pytest.raises(SparsityLabError, match="another configuration"):
        prepare_data(tiny.data, tokenizer=tiny.tokenizer, output=tiny_data.folder, seed=tiny.seed + 1)


@pytest.mark.parametrize(
    "said", ["[]", "{}", '{"train": 3, "data": {}}', '{"train": {"tokens": true}}', "[" * 99_999]
)
def test_a_damaged_manifest_is_named(tiny, tiny_data, tmp_path, said):
    folder = shutil.copytree(tiny_data.folder, tmp_path / "data")
    (folder / "manifest.json").write_text(said)
    with pytest.raises(SparsityLabError, match=r"manifest\.json"):
        prepare_data(tiny.data, tokenizer=tiny.tokenizer, output=folder, seed=tiny.seed)


@pytest.mark.parametrize("said", ["[]", "{}", '{"step": "x", "trained_tokens": 1}', "[" * 99_999])
def test_a_damaged_account_of_a_checkpoint_is_named(tmp_path, said):
    (tmp_path / "sparsity_lab.json").write_text(said)
    with pytest.raises(SparsityLabError, match=r"sparsity_lab\.json"):
        read_about(tmp_path)


def test_an_epoch_walks_every_window_once_and_the_next_in_another_order(tiny_data):
    ids = np.asarray(read_tokens(tiny_data.train))
    per_epoch = len(ids) // 32
    windows = TrainingWindows(tiny_data.train, window=32, count=2 * per_epoch, seed=1)
    cut = ids[: per_epoch * 32].reshape(-1, 32)
    for epoch in (0, 1):
        got = np.stack([windows[epoch * per_epoch + i] for i in range(per_epoch)])
        assert sorted(map(bytes, got.astype("<u2"))) == sorted(map(bytes, cut.astype("<u2")))
    first, second = (np.stack([windows[e * per_epoch + i] for i in range(per_epoch)]) for e in (0, 1))
    assert not np.array_equal(first, second)


def test_the_order_depends_on_the_seed_alone(tiny_data):
    def order(seed, count):
        windows = TrainingWindows(tiny_data.train, window=32, count=count, seed=seed)
        return np.stack([windows[i] for i in range(20)])

    assert np.array_equal(order(1, 20), order(1, 500))
    assert not np.array_equal(order(1, 20), order(2, 20))


def test_a_shortened_token_file_is_noticed(tiny_data, tmp_path):
    about = json.loads(tiny_data.train.with_suffix(".json").read_text())
    (tmp_path / "train.bin").write_bytes(tiny_data.train.read_bytes()[:-2])
    (tmp_path / "train.json").write_text(json.dumps(about))
    with pytest.raises(SparsityLabError, match=r"Its \.json says"):
        read_tokens(tmp_path / "train.bin")


def test_too_little_text_is_said(tiny_data):
    with pytest.raises(SparsityLabError, match="less than one window"):
        TrainingWindows(tiny_data.train, window=10**7, count=1, seed=0)


@pytest.mark.parametrize(("vocabulary", "words"), [(100, "too small"), (5_000, "no more pairs")])
def test_a_vocabulary_that_cannot_be_is_refused(vocabulary, words):
    with pytest.raises(SparsityLabError) as caught:
        train_tokenizer(["abc abc abd"], vocabulary=vocabulary, max_bytes=1_000)
    assert words in caught.value.paragraph()


def test_a_given_tokenizer_is_used_as_it_is(tiny, tiny_data, tmp_path):
    given = replace(tiny.tokenizer, path=str(tiny_data.tokenizer), vocabulary=320)
    data = prepare_data(tiny.data, tokenizer=given, output=tmp_path, seed=tiny.seed)
    assert data.train.read_bytes() == tiny_data.train.read_bytes()
    small = replace(given, vocabulary=299)
    with pytest.raises(SparsityLabError, match="has 300 ids"):
        prepare_data(tiny.data, tokenizer=small, output=tmp_path / "small", seed=tiny.seed)
