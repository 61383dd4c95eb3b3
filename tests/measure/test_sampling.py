"""Where in a text the windows lie: spread over all of it, read no further than needed, the same for every command."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.measure.api import measure, text_windows
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.model.windows import tokenize
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.settings import HEAD, SPREAD, WHOLE, Sampling


@pytest.fixture(scope="module")
def reader(trained):
    return load_text_tokenizer(Source(str(trained)))


def text_of(tmp_path, words, *, name="text.txt", newline="\n"):
    path = tmp_path / name
    path.write_bytes(words.replace("\n", newline).encode())
    return open_text(path)


@pytest.fixture(scope="module")
def long_text(tmp_path_factory, source_text):
    """Lines that differ, many times what any test measures."""
    words = sorted(set(source_text.read_text(encoding="utf-8").split()))
    drawn = np.random.default_rng(0).choice(words, size=(2200, 20))
    place = tmp_path_factory.mktemp("long")
    return text_of(place, "\n".join(f"{n} naïve – {' '.join(line)}" for n, line in enumerate(drawn)))


@pytest.fixture(scope="module")
def ids(reader, long_text):
    return tokenize(reader, long_text.whole(), tokens=None, say=False).ids


def places_of(windows, ids):
    """Where in a stream of ids each window begins."""
    stream = ids.numpy().astype("<u4").tobytes()
    found = []
    for row in windows.ids.numpy().astype("<u4"):
        place = stream.find(row.tobytes())
        while place % 4:
            place = stream.find(row.tobytes(), place + 1)
        assert place >= 0, "not a stretch of the text's own ids"
        found.append(place // 4)
    return np.array(found)


@pytest.mark.parametrize(("tokens", "window"), [(1024, 64), (4096, 128), (16_384, 256)])
def test_windows_are_stretches_of_the_text_one_from_each_part_of_it(reader, long_text, ids, tokens, window):
    windows = sampled(reader, long_text, Sampling(tokens, window))
    assert (windows.sample, windows.count, windows.window) == (SPREAD, tokens // window, window)
    places = places_of(windows, ids)
    assert (np.diff(places) >= window).all(), "in order, and none over another"
    stretch = ids.numel() / windows.count
    assert (np.abs(places / stretch - np.arange(windows.count) - 0.5) < 0.75).all()


def test_the_seed_draws_the_places(reader, long_text):
    one, same, other = (sampled(reader, long_text, Sampling(2048, 64, seed=seed)) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256


def test_places_are_as_likely_anywhere_in_their_part(reader, long_text, ids):
    stretch = ids.numel() / 8
    shares = [
        places_of(sampled(reader, long_text, Sampling(512, 64, seed=seed)), ids) / stretch - np.arange(8)
        for seed in range(40)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)
    assert np.std(shares) == pytest.approx(12**-0.5, abs=0.04)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_large_file_costs_what_its_windows_cost(reader, tmp_path, source_text, monkeypatch, newline):
    words = source_text.read_text(encoding="utf-8")
    text = text_of(tmp_path, words * (20_000_000 // len(words)), newline=newline)
    read = []
    passage = TextFile.passage
    monkeypatch.setattr(
        TextFile,
        "passage",
        lambda self, place, **around: read.append(sum(around.values())) or passage(self, place, **around),
    )
    monkeypatch.setattr(TextFile, "whole", lambda self, most_bytes=None: pytest.fail("read as a whole"))
    windows = sampled(reader, text, Sampling(4096, 128))
    assert windows.count == 32
    assert sum(read) < 32 * 128 * 20
    said = any("line ends CR LF" in note for note in windows.notes)
    assert said == (newline == "\r\n")
    assert "\r" not in reader.encoder.decode(windows.ids.flatten().tolist())


@pytest.mark.long
def test_a_text_with_no_more_tokens_is_taken_whole_and_one_with_few_more_is_spread(reader, long_text, ids):
    length = ids.numel()
    whole = sampled(reader, long_text, Sampling(length + 50, 64))
    assert (whole.sample, whole.count) == (WHOLE, length // 64)
    assert whole.sha256 == sampled(reader, long_text, Sampling(length + 50, 64, HEAD)).sha256
    assert sampled(reader, long_text, Sampling(length + 50, 64, HEAD)).sample == WHOLE
    part = sampled(reader, long_text, Sampling(length // 2, 2048))
    assert (part.sample, part.count) == (SPREAD, length // 2 // 2048)
    assert (np.diff(places_of(part, ids)) >= 2048).all()


def test_the_head_is_the_first_tokens(reader, long_text, ids):
    head = sampled(reader, long_text, Sampling(1024, 64, HEAD))
    assert head.sample == HEAD
    assert head.ids.flatten().tolist() == ids[:1024].tolist()
    assert head.sampling()["errors_hold_for"] == "this text"
    assert sampled(reader, long_text, Sampling(1024, 64)).sampling()["errors_hold_for"] == "the corpus"


def test_three_windows_are_too_few_to_be_spread(reader, long_text):
    with pytest.raises(RunError, match="3 window"):
        sampled(reader, long_text, Sampling(200, 64))
    assert sampled(reader, long_text, Sampling(200, 64, HEAD)).count == 3


def test_bytes_that_are_no_text_are_refused_with_their_line(reader, tmp_path, source_text):
    words = source_text.read_text(encoding="utf-8").encode()
    path = tmp_path / "broken.txt"
    path.write_bytes(words * 40 + b"\n\xff\xfe broken \xff\n" * 100_000 + words * 40)
    with pytest.raises(RunError, match=r"Line [0-9,]+ has a byte"):
        sampled(reader, TextFile(path), Sampling(4096, 128))


def test_a_passage_begins_and_ends_between_letters(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("aé–😀\n" * 40, encoding="utf-8")
    text, whole = TextFile(path), "aé–😀\n" * 40
    for place in range(text.size):
        passage = text.passage(place, before=9, after=23)
        behind = passage.text[passage.at :]
        begun = whole.encode()[:place].decode(errors="ignore")
        at = len(begun) + (len(begun.encode()) != place)
        assert whole[at:].startswith(behind)
        assert whole[:at].endswith(passage.text[: passage.at])
        assert len(behind.encode()) >= 23 - 6 or passage.ends


def test_a_line_end_is_never_cut_in_two(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"ab\r\ncd\r\n" * 10)
    text = TextFile(path)
    for place in range(text.size):
        passage = text.passage(place, before=6, after=6)
        assert "\n\n" not in passage.text
        assert "\r" not in passage.text


def test_a_live_model_is_measured_on_windows_as_its_checkpoint_is(trained, reader, long_text, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32)
    windows = text_windows(reader, long_text.path, Sampling(2048, 64, seed=3))
    found = measure(model, windows, knob=0.1)
    spec = MeasureSpec(text=long_text.path, knob=0.1, tokens=2048, window=64, seed=3, dtype="float32")
    (row,) = measure_checkpoints(spec, expand([str(trained)]), output=tmp_path)
    assert row["activation_ratio"] == found.activation_ratio
    assert row["activation_ratio_se"] == found.errors.activation_ratio
    assert (row["sample"], row["errors_hold_for"], row["error_units"]) == (SPREAD, "the corpus", 32)
    assert (row["text_sha256"], row["flags"]) == (windows.sha256, [])
    with pytest.raises(SparsityLabError, match="in windows already"):
        measure(model, windows, window=64)


@pytest.mark.long
def test_the_sampling_is_in_the_key_and_a_head_has_the_key_it_had(trained, long_text, tmp_path):
    def row(sample, **more):
        spec = MeasureSpec(text=long_text.path, knob=0.1, tokens=1024, window=64, sample=sample, **more)
        return measure_checkpoints(spec, expand([str(trained)]), output=tmp_path)[0]

    head, spread = row(HEAD), row(None)
    assert head["content_key"] != spread["content_key"]
    assert (head["error_units"], spread["error_units"]) == (4, 16)
    assert row(SPREAD) == spread
    assert "this text" in (tmp_path / "table.md").read_text(encoding="utf-8") or row(HEAD) == head
    assert row(None, seed=1)["text_sha256"] != spread["text_sha256"]
