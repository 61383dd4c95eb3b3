"""What lm-eval reads through us, against sums by hand: one BOS at most, whatever the tokenizer puts around a text."""

import json
import math
import shutil

import pytest
import torch

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_text_tokenizer
from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
from sparsity_lab.measure.lm_eval.model import lm_eval_model

pytest.importorskip("lm_eval")
BOS, EOS = "Ā", "<|endoftext|>"  # the letter of byte 0, which no text here holds
# What tokenizer.json puts around a text, the bos_token of tokenizer_config.json -> tokens before a context, and before
# a rolling document, which has to begin with something.
KINDS = {
    "adds a BOS": ([BOS, "$A"], BOS, BOS, BOS),
    "adds two": ([BOS, BOS, "$A"], BOS, BOS, BOS),
    "adds a BOS and an end": ([BOS, "$A", EOS], BOS, BOS, BOS),
    "adds an end": (["$A", EOS], BOS, None, BOS),
    "adds a BOS without naming it": ([BOS, "$A"], None, BOS, BOS),
    "has a BOS and adds none": (["$A"], BOS, None, BOS),
    "has none": (["$A"], None, None, EOS),
}
DOCUMENTS = (
    "def loads(s):\n    return s",
    "import json\n",
    "A header and its value: x",
    "class Parser:\n    pass\n",
)
ALONE = "an answer without a question"


def checkpoint(trained, folder, single, bos_token, **changes):
    """The trained model with a template in its tokenizer.json."""
    shutil.copytree(trained, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    ids = {BOS: vocabulary[BOS], EOS: vocabulary[EOS]}
    content["added_tokens"].append({**content["added_tokens"][0], "id": ids[BOS], "content": BOS})
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}}
            if name == "$A"
            else {"SpecialToken": {"id": name, "type_id": 0}}
            for name in single
        ],
        "pair": [],
        "special_tokens": {
            name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ids.items()
        },
    }
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS, "bos_token": bos_token}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return Source(str(folder)), ids


def log_likelihood(model, before, ids):
    """Of `ids` after `before`, nats, by one forward pass."""
    inputs = torch.tensor([[*before, *ids]])
    with torch.no_grad():
        scores = model(input_ids=inputs).logits[0].log_softmax(-1)
    places = torch.arange(len(before) - 1, len(before) + len(ids) - 1)
    return float(scores[places, torch.tensor(ids)].sum())


def instances(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, words, index) for index, words in enumerate(arguments)]


@pytest.mark.parametrize("kind", KINDS)
def test_lm_eval_reads_one_bos(kind, trained, tmp_path):
    single, bos_token, context_start, rolling_start = KINDS[kind]
    source, ids = checkpoint(trained, tmp_path / "m", single, bos_token)
    model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
    live = lm_eval_model(model, reader, batch_size=2, notes={})

    def plain(text):
        return tokenization.encoded(reader.alone, text).ids

    found = live.loglikelihood_rolling(instances("loglikelihood_rolling", *((one,) for one in DOCUMENTS)))
    wanted = [log_likelihood(model, [ids[rolling_start]], plain(one)) for one in DOCUMENTS]
    assert found == pytest.approx(wanted, rel=1e-5)

    pairs = [(one[:9], one[9:]) for one in DOCUMENTS]
    found = live.loglikelihood(instances("loglikelihood", *pairs, ("", ALONE)))
    start = [] if context_start is None else [ids[context_start]]
    wanted = []
    for question, answer in pairs:
        before = plain(question.rstrip())
        wanted.append(log_likelihood(model, [*start, *before], plain(question + answer)[len(before) :]))
    wanted.append(log_likelihood(model, [ids[rolling_start]], plain(ALONE)))
    assert [one[0] for one in found] == pytest.approx(wanted, rel=1e-5)


def test_questions_longer_than_the_model_takes_are_noted(trained, tmp_path):
    source, _ = checkpoint(trained, tmp_path / "m", [BOS, "$A"], BOS)
    model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
    long, short = "an example and " * 40, "a question "
    notes = {}
    live = lm_eval_model(model, reader, batch_size=1, notes=notes)
    live.loglikelihood(instances("loglikelihood", (short, "yes"), (short, "no")))
    live.loglikelihood_rolling(instances("loglikelihood_rolling", (long,)))
    assert not notes, "a rolling document is read in pieces, all of it"
    live.loglikelihood(instances("loglikelihood", (short, "yes"), (long, "yes"), (long, "no")))
    assert [one for one in notes if one.startswith("2 times a question") and str(live.max_length + 1) in one]
    notes.clear()
    stop = {"until": ["."], "max_gen_toks": 4}
    live.generate_until(instances("generate_until", (short, stop), (long, stop)))
    assert [one for one in notes if one.startswith("1 time a prompt")]


def test_a_document_that_begins_with_a_bos_gets_no_second(trained, tmp_path):
    source, _ = checkpoint(trained, tmp_path / "m", [BOS, "$A"], BOS)
    model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
    live = lm_eval_model(model, reader, batch_size=2, notes={})
    found = live.loglikelihood_rolling(
        instances("loglikelihood_rolling", (BOS + DOCUMENTS[0],), (DOCUMENTS[0],))
    )
    assert found[0] == found[1]


def test_generation_goes_on_from_one_bos_and_no_end(trained, tmp_path):
    texts = []
    for name, single in {"one": [BOS, "$A"], "more": [BOS, BOS, "$A", EOS]}.items():
        source, _ = checkpoint(trained, tmp_path / name, single, BOS)
        model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
        live = lm_eval_model(model, reader, batch_size=1, notes={})
        options = {"until": ["\n\n\n\n"], "max_gen_toks": 12, "do_sample": False}
        texts.append(live.generate_until(instances("generate_until", *((one, options) for one in DOCUMENTS))))
    assert texts[0] == texts[1]


def test_what_lm_eval_reads_is_checked_and_noted(trained, tmp_path):
    source, _ = checkpoint(trained, tmp_path / "m", [BOS, BOS, "$A"], BOS, normalizer={"type": "Lowercase"})
    model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
    notes = {}
    live = lm_eval_model(model, reader, batch_size=2, notes=notes)
    live.loglikelihood(instances("loglikelihood", ("The Parser of", " Python")))
    said = " ".join(notes)
    assert "2 times in front" in said
    assert "does not give the text back: 3 of 20 characters" in said


def test_a_tokenizer_without_a_beginning_is_refused(trained, tmp_path):
    source, _ = checkpoint(trained, tmp_path / "m", ["$A"], None)
    path = tmp_path / "m" / "tokenizer_config.json"
    path.write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    model = load_model(source, dtype=torch.float32, device="cpu")
    with pytest.raises(SparsityLabError, match="neither a BOS nor an end-of-text"):
        lm_eval_model(model, load_text_tokenizer(source), batch_size=2, notes={})


def test_bits_per_byte_of_a_rolling_task(trained, tmp_path, monkeypatch):
    """The whole way through `eval`, from a task file to lm-eval's own results."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    source, ids = checkpoint(trained, tmp_path / "m", [BOS, "$A"], BOS)
    data = tmp_path / "rolling.jsonl"
    data.write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS), encoding="utf-8")
    task = {
        "task": "rolling", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
        "output_type": "loglikelihood_rolling", "test_split": "test", "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}], "metadata": {"version": 1},
    }  # fmt: skip
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "rolling.yaml").write_text(json.dumps(task), encoding="utf-8")
    spec = EvalSpec(source.model, ("rolling",), include_path=tmp_path / "tasks", device="cpu")
    run_eval(spec, output=tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(path.read_text(encoding="utf-8"))["results"]["rolling"]["bits_per_byte,none"]
    model, reader = load_model(source, dtype=torch.float32, device="cpu"), load_text_tokenizer(source)
    nats = -sum(
        log_likelihood(model, [ids[BOS]], tokenization.encoded(reader.alone, one).ids) for one in DOCUMENTS
    )
    assert found == pytest.approx(nats / sum(len(one.encode()) for one in DOCUMENTS) / math.log(2), rel=1e-5)
