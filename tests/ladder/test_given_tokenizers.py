"""Tokenizers given to `train`: ids beyond the vocabulary, files that cut or override, special tokens, lost text."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.corpus.data import prepare_data
from sparsity_lab.ladder.corpus.epochs import corpus_size
from sparsity_lab.ladder.corpus.tokens import TokenWriter, read_tokens


@pytest.fixture
def given(tiny, tiny_data, tmp_path):
    """A copy of the trained tokenizer with its file changed, and the tokenizer section that names it."""

    def make(change, *, vocabulary=300, config=None):
        folder = tmp_path / "given"
        shutil.copytree(tiny_data.tokenizer, folder)
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        if config is not None:
            settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            (folder / "tokenizer_config.json").write_text(
                json.dumps({**settings, **config}), encoding="utf-8"
            )
        return replace(tiny.tokenizer, path=str(folder), vocabulary=vocabulary)

    return make


def moved(largest):
    """Give the last merge an id far away: ids with a gap."""

    def change(content):
        vocabulary = content["model"]["vocab"]
        vocabulary[max(vocabulary, key=vocabulary.get)] = largest

    return change


@pytest.mark.parametrize("largest", [300, 500, 70_000])
def test_an_id_beyond_the_vocabulary_is_refused_before_work_begins(largest, tiny, given, tmp_path):
    spec = given(moved(largest))
    with pytest.raises(
        SparsityLabError, match=f"has 300 ids, the largest is {largest:,}.*set to 300.*{largest + 1}"
    ):
        prepare_data(tiny.data, tokenizer=spec, output=tmp_path / "data", seed=tiny.seed)
    assert not (tmp_path / "data" / "train.bin").exists()
    with pytest.raises(SparsityLabError, match="the largest is"):
        corpus_size(replace(tiny, tokenizer=spec), prepared=tmp_path / "none")


@pytest.mark.long
def test_ids_with_a_gap_keep_their_values(tiny, tiny_data, given, tmp_path):
    spec = given(moved(70_000), vocabulary=70_001)
    data = prepare_data(tiny.data, tokenizer=spec, output=tmp_path / "data", seed=tiny.seed)
    ids, plain = read_tokens(data.train), read_tokens(tiny_data.train)
    assert np.array_equal(np.where(ids == 70_000, 299, ids), plain)
    assert (ids == 70_000).any()


def cuts(content):
    content["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                          "pad_type_id": 0, "pad_token": "!"}  # fmt: skip


def puts_around(content):
    special = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing", "single": [special, {"Sequence": {"id": "A", "type_id": 0}}, special], "pair": [],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (cuts, None, "truncation to 16 tokens and padding to 64 tokens: switched off"),
        (puts_around, None, "puts special tokens around a text"),
        (
            puts_around,
            {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>"},
            "special tokens around",
        ),
        (lambda content: None, {"add_bos_token": True, "bos_token": "<|endoftext|>"}, ""),
    ],
)
@pytest.mark.long
def test_training_reads_text_alone_and_so_does_its_tokenizer(
    change, config, said, tiny, tiny_data, given, tmp_path, caplog
):
    spec = given(change, config=config)
    data = prepare_data(tiny.data, tokenizer=spec, output=tmp_path / "data", seed=tiny.seed)
    assert data.train.read_bytes() == tiny_data.train.read_bytes()
    assert said in " ".join(data.manifest["tokenizer_notes"])
    assert bool(said) == bool(data.manifest["tokenizer_notes"])
    assert said in caplog.text
    assert tokenization.around(AutoTokenizer.from_pretrained(data.tokenizer)) == ([], [])
    estimate = corpus_size(replace(tiny, tokenizer=spec), prepared=tmp_path / "none").train_tokens
    assert estimate == pytest.approx(tiny_data.train_tokens, rel=0.02)


@pytest.mark.long
def test_a_class_does_not_override_tokenizer_json(tiny, given, tmp_path):
    def change(content):
        content["normalizer"] = {"type": "Lowercase"}

    spec = given(change, config={"tokenizer_class": "GPT2Tokenizer"})
    data = prepare_data(tiny.data, tokenizer=spec, output=tmp_path / "data", seed=tiny.seed)
    text = Tokenizer.from_file(f"{spec.path}/tokenizer.json").decode(read_tokens(data.train)[:2000].tolist())
    assert text == text.lower()
    assert "does not give the text back" in " ".join(data.manifest["tokenizer_notes"])


def test_a_corpus_that_a_tokenizer_cannot_write_is_refused(tiny, given, tmp_path):
    def change(content):
        content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[a-m]"}, "content": ""}

    with pytest.raises(SparsityLabError, match="cannot write this text"):
        prepare_data(tiny.data, tokenizer=given(change), output=tmp_path / "data", seed=tiny.seed)


def test_ends_of_text_inside_documents_are_counted(tiny_data, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_data.tokenizer)
    with TokenWriter(tmp_path / "t.bin", tokenizer=tokenizer) as writer:
        writer.add("one<|endoftext|>two<|endoftext|>")
        writer.add("three")
    assert writer.about()["end_of_text_inside_documents"] == 2
