"""Text to token ids: one rule for every tokenizer file, class and command, and nothing lost in silence."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.answer_loss import tokenizer_of
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer, load_tokenizer
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model.windows import tokenize
from sparsity_lab.measure.spec import MeasureSpec, expand

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
SPLIT = r"\p{L}|\p{N}{1,3}|[^\s\p{L}\p{N}]+|\s+"
CLASSES = ("GPT2Tokenizer", "Qwen2Tokenizer", "GPTNeoXTokenizer", "PreTrainedTokenizerFast", "LlamaTokenizer")


def bytes_bpe(text, **model):
    """A byte-level BPE, which can write every text."""
    return learnt(
        models.BPE(**model), text, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    )


def learnt(model, text, pre_tokenizer, decoder, *, trainer=None, normalizer=None):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    whole = {"initial_alphabet": BYTES} if "ByteLevel" in str(type(decoder)) else {}
    bpe = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False, **whole)
    tokenizer.train_from_iterator([text], bpe if trainer is None else trainer)
    return tokenizer


def saved(tokenizer, folder, **config):
    """A folder with tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return Source(str(folder))


def template(single):
    return processors.TemplateProcessing(
        single=single, pair=f"{single} $B", special_tokens=[("<unk>", 0), ("<s>", 1), ("</s>", 2)]
    )


@pytest.fixture(scope="module")
def text(source_text):
    return source_text.read_text(encoding="utf-8")[:20_000]


def disturb(tokenizer, kind):
    if kind == "truncation":
        tokenizer.enable_truncation(16)
    elif kind == "left truncation":
        tokenizer.enable_truncation(16, direction="left")
    elif kind == "fixed padding":
        tokenizer.enable_padding(length=1 << 14)
    elif kind == "multiple of padding":
        tokenizer.enable_padding(pad_to_multiple_of=4096)
    elif kind == "dropout":
        tokenizer.model.dropout = 0.5
    return tokenizer


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind", ["truncation", "left truncation", "fixed padding", "multiple of padding", "dropout"]
)
def test_truncation_padding_and_dropout_are_off_wherever_text_becomes_ids(kind, text, tmp_path):
    wanted = bytes_bpe(text).encode(text, add_special_tokens=False).ids
    source = saved(disturb(bytes_bpe(text), kind), tmp_path / "t")
    read = tokenize(load_text_tokenizer(source), text, tokens=None)
    assert read.ids.tolist() == wanted
    assert len(read.notes) == 1
    assert "switched off" in read.notes[0]
    live = AutoTokenizer.from_pretrained(source.model)
    disturb(live.backend_tokenizer, kind)
    before = live.backend_tokenizer.to_str()
    assert tokenize(live, text, tokens=None).ids.tolist() == wanted
    assert tokenization.encoded_batch(live, [text, text]) == [wanted, wanted]  # as `train` does
    assert live.backend_tokenizer.to_str() == before
    assert load_tokenizer(source)(text, add_special_tokens=False)["input_ids"] == wanted
    count = tokenizer_of(Path(source.model))
    assert count("", text) == len(wanted)
    assert count(text[:1000], text[1000:]) == len(wanted) - len(
        tokenization.encoded(live, text[:1000].rstrip()).ids
    )


@pytest.mark.thorough
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_never_overrides_tokenizer_json(name, text, tmp_path):
    tokenizer = bytes_bpe(text)
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.normalizer = normalizers.Replace("\t", "    ")
    wanted = tokenizer.encode(text, add_special_tokens=False).ids
    source = saved(tokenizer, tmp_path / "t", tokenizer_class=name)
    built = AutoTokenizer.from_pretrained(source.model)(text, add_special_tokens=False)["input_ids"]
    read = tokenize(load_text_tokenizer(source), text, tokens=None)
    assert read.ids.tolist() == wanted
    assert load_tokenizer(source)(text, add_special_tokens=False)["input_ids"] == wanted
    assert tokenizer_of(Path(source.model))("", text) == len(wanted)
    counts = [note for note in read.notes if f"{len(built):,} ids" in note and f"{len(wanted):,}" in note]
    assert len(counts) == (built != wanted), read.notes


@pytest.mark.parametrize("name", ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"])
def test_a_class_that_cannot_read_the_text_decides_nothing(name, text, tmp_path):
    """Its unknown token and its BOS are not in the vocabulary; the ids that it has for them are of something else."""
    tokenizer = bytes_bpe(text)
    read = tokenize(
        load_text_tokenizer(saved(tokenizer, tmp_path / "t", tokenizer_class=name)), text, tokens=None
    )
    assert read.ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids
    assert read.bos_id is None
    assert any("cannot read the text" in note for note in read.notes)


def test_a_text_without_ids_is_refused_in_a_paragraph(text, tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"the": 0}, unk_token="<unk>"))
    source = saved(tokenizer, tmp_path / "t")
    with pytest.raises(SparsityLabError, match="cannot read this text"):
        tokenize(load_text_tokenizer(source), text, tokens=None)


def test_some_class_does_override_it(text, tmp_path):
    """Else the test above shows nothing."""
    tokenizer = bytes_bpe(text)
    tokenizer.normalizer = normalizers.Lowercase()
    source = saved(tokenizer, tmp_path / "t", tokenizer_class="GPT2Tokenizer")
    built = AutoTokenizer.from_pretrained(source.model)(text, add_special_tokens=False)["input_ids"]
    if built == tokenizer.encode(text, add_special_tokens=False).ids:
        pytest.skip("this version of transformers reads tokenizer.json as it is")


def normalised(normalizer):
    """A byte-level BPE behind a normalizer."""
    pre_tokenizer, decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return lambda text: learnt(models.BPE(), text, pre_tokenizer, decoder, normalizer=normalizer)


def pieces(model, trainer=None):
    """A tokenizer of words with a mark at their beginning, without bytes: it cannot write every letter."""
    return lambda text: learnt(model, text, pre_tokenizers.Metaspace(), decoders.Metaspace(), trainer=trainer)


def word_pieces(text):
    trainer = trainers.WordPieceTrainer(vocab_size=300, show_progress=False, special_tokens=["[UNK]", "</s>"])
    return learnt(
        models.WordPiece(unk_token="[UNK]"), text, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(),
        trainer=trainer, normalizer=normalizers.BertNormalizer(),
    )  # fmt: skip


LOSSLESS = {
    "bytes": bytes_bpe,
    "trimmed spans": lambda text: _trimmed(bytes_bpe(text)),
    "prefix space": lambda text: learnt(models.BPE(), text, pre_tokenizers.ByteLevel(), decoders.ByteLevel()),
    "no decoder": lambda text: _without_decoder(bytes_bpe(text)),
    "byte fallback": lambda text: _byte_fallback(text),
    "composed": normalised(normalizers.NFC()),
}
UNIGRAM = trainers.UnigramTrainer(
    vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
)
FOREIGN = "many letters and Ж here"
LOSSY = {
    "lower case": (normalised(normalizers.Lowercase()), "The Tie", "'T' 2"),
    "compatibility": (normalised(normalizers.NFKC()), "m² and ½", "'²' 1"),
    "a digit": (normalised(normalizers.Replace("1", "0")), "11 of two hundred", "'1' 2"),
    "unknown": (pieces(models.BPE(unk_token="<unk>")), FOREIGN, "1 of "),
    "dropped": (pieces(models.BPE()), FOREIGN, "'Ж' 1"),
    "unigram": (pieces(models.Unigram(), UNIGRAM), FOREIGN, "1 of "),
    "word pieces": (word_pieces, "the\nnames", "'\\n' 1"),
}


def _trimmed(tokenizer):
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def _without_decoder(tokenizer):
    tokenizer.decoder = None
    return tokenizer


def _byte_fallback(text):
    pieces = {
        name: number
        for number, name in enumerate([*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"])
    }
    for letter in sorted(set(text) - {" "}):
        pieces.setdefault(letter, len(pieces))
    tokenizer = Tokenizer(
        models.BPE(vocab=pieces, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


@pytest.mark.thorough(3)
@pytest.mark.parametrize("kind", sorted(LOSSLESS))
@pytest.mark.long
def test_what_gives_the_text_back_says_nothing(kind, text, tmp_path):
    reader = load_text_tokenizer(saved(LOSSLESS[kind](text), tmp_path / "t"))
    generator = random.Random(0)
    for sample in (text, "Москва, 東京, naïve 🙂 and tabs\t\n\n" * 20, " leading blank", "\nleading line"):
        for tokens in (
            None,
            *(generator.randrange(1, len(sample)) for _ in range(16)),
        ):  # cut inside a letter, too
            read = tokenize(reader, sample, tokens=tokens)
            assert read.notes == (), (sample[:20], tokens)


@pytest.mark.parametrize("kind", sorted(LOSSY))
def test_what_loses_text_is_said_with_an_example_and_counts(kind, text, tmp_path, caplog):
    make, sample, example = LOSSY[kind]
    reader = load_text_tokenizer(saved(make(text), tmp_path / "t"))
    read = tokenize(reader, sample, tokens=None)
    (note,) = read.notes
    assert note in caplog.text
    assert example in note
    assert "comes back as" in note
    assert f"of {len(sample)} characters" in note


@pytest.mark.parametrize("kind", ["unknown", "dropped", "unigram", "word pieces"])
def test_what_destroys_text_is_refused(kind, text, tmp_path):
    reader = load_text_tokenizer(saved(LOSSY[kind][0](text), tmp_path / "t"))
    with pytest.raises(SparsityLabError, match=r"cannot write this text: \d+% of its visible characters"):
        tokenize(reader, "Москва и Санкт-Петербург, 東京と京都. " * 40, tokens=500)


BOS = {  # template -> add_bos_token -> BOS used, words of the note
    "$A": {None: (None, ""), True: (None, "add_bos_token: true"), False: (None, "")},
    "<s> $A": {None: (1, ""), True: (1, ""), False: (1, "add_bos_token: false")},
    "<s> <s> $A": {None: (1, "2 times")},
    "<s> $A </s>": {None: (1, "")},
    "$A </s>": {None: (None, "")},
}


@pytest.mark.thorough(6)
@pytest.mark.parametrize("bos_token", ["<s>", None])
@pytest.mark.parametrize(
    ("single", "flag"), [(single, flag) for single, flags in BOS.items() for flag in flags]
)
def test_there_is_one_bos_at_most(single, flag, bos_token, text, tmp_path):
    tokenizer = bytes_bpe(text)
    tokenizer.post_processor = template(single)
    config = {} if flag is None else {"add_bos_token": flag}
    reader = load_text_tokenizer(saved(tokenizer, tmp_path / "t", bos_token=bos_token, **config))
    wanted, words = BOS[single][flag]
    read = tokenize(reader, text, tokens=300)
    assert read.bos_id == wanted
    assert bool(read.notes) == bool(words)
    assert words in " ".join(read.notes)
    assert tokenize(reader, text, tokens=300, bos=False).bos_id is None
    first = tokenize(reader, f"<s>{text}", tokens=300)  # the text begins with one already
    begun = [first.bos_id, *first.ids.tolist()] if wanted is not None else first.ids.tolist()
    assert begun[0] == 1
    assert begun[1] != 1


def test_several_tokens_in_front_are_refused(text, tmp_path):
    tokenizer = bytes_bpe(text)
    tokenizer.post_processor = template("<unk> <s> $A")
    reader = load_text_tokenizer(saved(tokenizer, tmp_path / "t"))
    with pytest.raises(SparsityLabError, match="2 tokens in front of a text: <unk> <s>"):
        tokenize(reader, text, tokens=300)
    assert tokenize(reader, text, tokens=300, bos=False).bos_id is None


@pytest.mark.parametrize("split", [False, True])
def test_special_tokens_in_a_text_are_said_and_the_same_everywhere(split, text, tmp_path):
    source = saved(bytes_bpe(text), tmp_path / "t", split_special_tokens=split)
    sample = f"{text[:500]}</s>{text[500:900]}</s>"
    reader = load_text_tokenizer(source)
    read = tokenize(reader, sample, tokens=None)
    assert read.ids.tolist().count(2) == (0 if split else 2)
    assert any("</s> 2 times" in note for note in read.notes)
    assert tokenization.encoded_batch(reader.hf, [sample]) == [read.ids.tolist()]
    assert tokenizer_of(Path(source.model))("", sample) == len(read.ids)


def records_of(folder, text, output, **spec):
    checkpoints = expand([str(folder)])
    measured = measure_checkpoints(
        MeasureSpec(text=text, tokens=512, window=64, knob=0.1, **spec), checkpoints, output=output
    )
    return measured


def copied(trained, folder, change):
    shutil.copytree(trained, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(name, content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_numbers_are_of_the_plain_tokenizer_and_the_record_says_what_was_switched_off(
    trained, source_text, tmp_path
):
    def change(name, content):
        if name == "tokenizer.json":
            content["truncation"] = {
                "direction": "Right",
                "max_length": 8,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        else:
            content["tokenizer_class"] = "GPT2Tokenizer"

    other = copied(trained, tmp_path / "other", change)
    plain = records_of(trained, source_text, tmp_path / "plain")
    found = records_of(other, source_text, tmp_path / "found")
    one, two = (_only_record(tmp_path / name) for name in ("plain", "found"))
    assert len(plain) == len(found) == 1
    for key in ("text_sha256", "activation_ratio", "loss_dense_nats", "tokens"):
        assert one[key] == two[key]
    assert one["provenance"]["tokenizer"] == []
    assert "truncation to 8 tokens" in " ".join(two["provenance"]["tokenizer"])


def _only_record(output):
    (path,) = (output / "records").glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_bos_beyond_the_vocabulary_is_refused_before_weights_are_loaded(trained, source_text, tmp_path):
    def change(name, content):
        if name == "tokenizer.json":
            content["added_tokens"].append({**content["added_tokens"][0], "id": 900, "content": "<far>"})
            content["model"]["vocab"]["<far>"] = 900
            content["post_processor"] = {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<far>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [],
                "special_tokens": {"<far>": {"id": "<far>", "ids": [900], "tokens": ["<far>"]}},
            }

    other = copied(trained, tmp_path / "far", change)
    (other / "model.safetensors").write_bytes(b"")  # loading them would fail otherwise
    with pytest.raises(SparsityLabError, match="gives token 900, the model knows 300"):
        records_of(other, source_text, tmp_path / "out")


def test_slow_tokenizers_are_read_alike(text):
    """One without a backend of the `tokenizers` library: bytes are its ids."""

    class Slow:
        unk_token_id = None

        def __call__(self, text, *, add_special_tokens, truncation, padding, **_):
            ids = list(text.encode())
            ids = ids[:4] if truncation else ids
            return {"input_ids": [256, *ids] if add_special_tokens else ids}

        def decode(self, ids, **_):
            return bytes(ids).decode(errors="replace")

        def convert_ids_to_tokens(self, token):
            return f"<{token}>"

    read = tokenize(Slow(), text, tokens=100)
    assert torch.equal(read.ids, torch.tensor(list(text.encode())[:100]))
    assert (read.bos_id, read.notes, read.spans) == (256, (), None)
