"""A tokenizer apart from its checkpoint: named by --tokenizer, or in the folder above a Trainer's checkpoints."""

import json
import shutil

import pytest
from tokenizers import processors
from transformers import AutoTokenizer

from sparsity_lab.cli.main import main
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import tokenizer_identity
from sparsity_lab.measure.checkpoint.loading import load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import TOKENIZER_FILES, Source
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.lm_eval.evaluation import EvalSpec, run_eval
from sparsity_lab.measure.neurons.frequency.run import neurons_command
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.watching import watch_checkpoints
from sparsity_lab.measure.sources.named import NamedText
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.token_heat import HeatSpec, write_heat

SMALL = {"tokens": 512, "window": 64}
OURS = set(TOKENIZER_FILES) - {"config.json"}


@pytest.fixture
def bare(trained, tmp_path):
    """A checkpoint of a Trainer's without its tokenizer."""
    folder = tmp_path / "run" / "checkpoint-5"
    shutil.copytree(trained, folder, ignore=lambda _, names: OURS & set(names))
    return folder


def tokenizer_only(trained, folder, *, names=OURS, bos=False):
    """A folder with a tokenizer's files and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (trained / name).is_file():
            shutil.copy(trained / name, folder / name)
    if bos:
        tokenizer = AutoTokenizer.from_pretrained(trained).backend_tokenizer
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def record_of(model, text, output, **named):
    (record,) = measure_checkpoints(
        MeasureSpec(text=text, knob=0.1, **SMALL), expand([str(model)], **named), output=output
    )
    return record


@pytest.mark.thorough(1)
@pytest.mark.parametrize("names", [OURS, {"tokenizer.json"}], ids=["all files", "tokenizer.json alone"])
@pytest.mark.parametrize("bos", [False, True])
def test_the_same_files_give_the_same_key_wherever_they_lie(trained, bare, source_text, tmp_path, names, bos):
    beside = shutil.copytree(bare, tmp_path / "beside" / "checkpoint-5")
    tokenizer_only(trained, beside, names=names, bos=bos)
    given = tokenizer_only(trained, tmp_path / "given", names=names, bos=bos)
    own = record_of(beside, source_text, tmp_path / "a")
    assert own["provenance"]["tokenizer"] == []
    named = record_of(bare, source_text, tmp_path / "b", tokenizer=str(given))
    tokenizer_only(trained, bare.parent, names=names, bos=bos)
    above = record_of(bare, source_text, tmp_path / "c")
    assert own["content_key"] == named["content_key"] == above["content_key"]
    assert own["bos"] is bos
    for other in (named, above):
        assert {
            k: v for k, v in other.items() if k not in ("model", "series", "provenance", "record_sha256")
        } == {k: v for k, v in own.items() if k not in ("model", "series", "provenance", "record_sha256")}
    assert named["provenance"]["tokenizer"] == [f"The tokenizer is that of {given}, as --tokenizer asks"]
    assert above["provenance"]["tokenizer"] == [
        f"The tokenizer is that of {bare.parent}, as the checkpoint's own folder holds none"
    ]
    places = [Source(str(beside)), Source.of(str(bare), tokenizer=str(given)), Source(str(bare))]
    assert len({tokenizer_identity(place) for place in places}) == 1
    given_file = Source.of(str(bare), tokenizer=str(given / "tokenizer.json"))
    assert given_file == places[1]


def test_one_that_is_given_wins_over_the_checkpoints_own(trained, source_text, tmp_path):
    given = tokenizer_only(trained, tmp_path / "given", bos=True)
    assert record_of(trained, source_text, tmp_path / "a")["bos"] is False
    assert record_of(trained, source_text, tmp_path / "b", tokenizer=str(given))["bos"] is True


def test_without_any_the_option_is_named(bare, source_text, tmp_path, capfd):
    words = [
        "measure",
        str(bare),
        "--text",
        str(source_text),
        "--knob",
        "0.1",
        "--output",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capfd.readouterr().err
    assert end.value.code == 2
    assert "--tokenizer" in said
    assert str(bare) in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["{missing}", "{folder}", "{file}", "./no/where", "{gguf}"])
def test_a_tokenizer_that_is_not_there_is_refused(bare, source_text, tmp_path, word):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("x")
    places = {"missing": tmp_path / "missing", "folder": tmp_path / "folder", "file": tmp_path / "file.txt",
              "gguf": tmp_path / "x.gguf"}  # fmt: skip
    with pytest.raises(SparsityLabError, match=r"There is no .*--tokenizer"):
        expand([str(bare)], tokenizer=word.format(**places))
    with pytest.raises(SparsityLabError, match=r"name is empty.*--tokenizer"):
        expand([str(bare)], tokenizer=" ")


@pytest.mark.parametrize("beyond", ["ordinary", "special"])
def test_one_with_more_tokens_than_the_model_is_refused_whatever_the_text_uses(
    trained, bare, source_text, tmp_path, beyond
):
    """An added padding token that no embedding was made for is common and reads no text."""
    given = tokenizer_only(trained, tmp_path / "given")
    content = json.loads((given / "tokenizer.json").read_text(encoding="utf-8"))
    if beyond == "ordinary":
        content["model"]["vocab"]["qqqqqqqq"] = 300
    else:
        content["added_tokens"].append({**content["added_tokens"][0], "id": 300, "content": "[PAD]"})
    (given / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    if beyond == "special":
        assert record_of(bare, source_text, tmp_path / "out", tokenizer=str(given))["tokens"] == 512
        return
    with pytest.raises(SparsityLabError, match=r"token 300, the model knows 300.*as --tokenizer asks"):
        record_of(bare, source_text, tmp_path / "out", tokenizer=str(given))


def test_every_command_that_reads_a_text_takes_it(trained, bare, source_text, tmp_path):
    given = str(tokenizer_only(trained, tmp_path / "given"))
    record_of(bare, source_text, tmp_path / "out", tokenizer=given)
    (record,) = (tmp_path / "out" / "records").glob("*.json")
    (checkpoint,) = expand([str(bare)], tokenizer=given)
    asked = [(checkpoint, record)]
    ((_, heat),) = write_heat(HeatSpec(source_text, tokens=20), asked, output=tmp_path / "heat")
    assert heat["provenance"]["tokenizer"][0].startswith(f"The tokenizer is that of {given}")
    spec = NeuronSpec((NamedText("code", source_text),), written_tokens=0, **SMALL)
    command = neurons_command(spec, [record])
    watch_checkpoints(command, expand([str(bare)], tokenizer=given), output=tmp_path / "neurons")
    (written,) = (tmp_path / "neurons" / "neuron_records").glob("*.json")
    body = json.loads(written.read_text(encoding="utf-8"))
    assert body["provenance"]["tokenizer"][0].startswith(f"The tokenizer is that of {given}")
    assert body["tokenizer"] == tokenizer_identity(Source.of(str(bare), tokenizer=given))


def test_eval_takes_it_and_says_so(trained, bare, tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "data.jsonl").write_text("\n".join('{"a": "import os", "b": " as c"}' for _ in range(4)))
    (tasks / "one.yaml").write_text(
        f"task: one\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {tasks / 'data.jsonl'}\n"
        'output_type: loglikelihood\ntest_split: test\ndoc_to_text: "{{a}}"\ndoc_to_target: "{{b}}"\n'
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\nmetadata:\n  version: 1\n"
    )
    given = str(tokenizer_only(trained, tmp_path / "given"))
    spec = EvalSpec(str(bare), ("one",), include_path=tasks)
    run_eval(EvalSpec(str(bare), ("one",), include_path=tasks, tokenizer=given), output=tmp_path / "eval")
    said = json.loads((tmp_path / "eval" / "eval.json").read_text(encoding="utf-8"))["provenance"][
        "tokenizer"
    ]
    assert said == [f"The tokenizer is that of {given}, as --tokenizer asks"]
    with pytest.raises(SparsityLabError, match="--tokenizer"):
        run_eval(spec, output=tmp_path / "eval")


def test_the_folder_above_is_not_looked_into_where_the_checkpoint_has_its_own(trained, tmp_path):
    run = tmp_path / "run" / "checkpoint-5"
    shutil.copytree(trained, run)
    tokenizer_only(trained, run.parent, bos=True)
    assert load_text_tokenizer(Source(str(run))).origin == ""
