"""`sparsity-lab measure` as a user meets it: each mistake is one paragraph, exit 2, and nothing left behind."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsity_lab.store.records import read_record
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

PART, KNOB = ("--tokens", 1024, "--window", 64), ("--knob", 0.1)
SMALL = (*PART, *KNOB)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*words):
    return exit_code("measure", *words)


def started(*words, cwd):
    """`sparsity-lab measure` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sparsity_lab", "--quiet", "measure", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd,
    )  # fmt: skip


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def broken(trained, tmp_path):
    """A copy of the trained checkpoint that a test may break."""
    return shutil.copytree(trained, tmp_path / "broken")


def rewrite_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil(weights):
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def without_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def untrained(folder):
    generator = torch.Generator().manual_seed(0)
    rewrite_weights(
        folder, lambda w: w.update({k: torch.randn(v.shape, generator=generator) for k, v in w.items()})
    )


def encoder_only(folder):
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=300, **shape)).save_pretrained(folder)


def other_head(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["LlamaForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def changed_config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")

    return change


def other_vocabulary(folder):
    changed_config(vocab_size=200)(folder)
    key = "model.embed_tokens.weight"
    rewrite_weights(folder, lambda w: w.update({key: w[key][:200].clone()}))


def pickled_only(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


CHECKPOINTS = {
    "no config": (lambda f: (f / "config.json").unlink(), "There is no model in"),
    "config of no JSON": (lambda f: (f / "config.json").write_text("{", encoding="utf-8"), "Cannot load the config"),
    "empty config": (lambda f: (f / "config.json").write_text("{}", encoding="utf-8"), "config"),
    "unknown model type": (changed_config(model_type="lama"), "lama"),
    "no tokenizer": (without_tokenizer, "There is no tokenizer in"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{", encoding="utf-8"), "tokenizer"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "Cannot load the weights"),
    "weights only as pickle": (pickled_only, "Cannot load the weights"),
    "truncated weights": (truncate, "safetensors file is broken or cut short"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "Cannot load the weights"),
    "NaN": (lambda f: rewrite_weights(f, spoil), "hold NaN or infinity, in model.layers.1.mlp.up_proj.weight"),
    "missing tensor": (
        lambda f: rewrite_weights(f, lambda w: w.pop("model.layers.0.mlp.down_proj.weight")),
        "do not fit its config: model.layers.0.mlp.down_proj.weight is missing. Such",
    ),
    "tensor of another shape": (
        changed_config(intermediate_size=50),
        "is stored as [32, 48], the config says [32, 50], and 5 more",
    ),
    "encoder-only": (encoder_only, "not a causal language model"),
    "no language model's head": (other_head, "not a causal language model"),
    "untrained": (untrained, "implausible"),
    "another vocabulary": (other_vocabulary, "the model knows 200. Put the model's own tokenizer"),
}  # fmt: skip


def assert_mistake(code, captured, output, told):
    assert code == 2
    errors = [line for line in captured.err.splitlines() if line.strip()]
    assert errors[-1].startswith("Error: "), captured.err
    assert len(errors) == 1, captured.err
    assert told in errors[0], errors[0]
    assert "Traceback" not in captured.err
    assert not output.exists(), files(output)


@pytest.mark.thorough(6)
@pytest.mark.parametrize("mistake", CHECKPOINTS)
def test_checkpoints_that_cannot_be_measured(broken, source_text, output, capfd, mistake):
    change, told = CHECKPOINTS[mistake]
    change(broken)
    capfd.readouterr()
    code = run(broken, "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "Cannot read the text"),
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        ("Zürich, naïve façade. ".encode("latin-1") * 500, "is not UTF-8"),
        (b"def f(): pass\n", "too short for two windows of 64"),
    ],
)
def test_texts_that_cannot_be_measured_on(trained, tmp_path, output, capfd, content, told):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    code = run(trained, "--text", path, *SMALL, "--output", output)
    said = capfd.readouterr()
    assert_mistake(code, said, output, told)
    assert str(path) in said.err, "one of several texts is named"


def test_a_directory_is_no_text(trained, tmp_path, output, capfd):
    code = run(trained, "--text", tmp_path, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "holds no text files")


@pytest.mark.thorough(12)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--window", 129), "beyond the model's 128 positions. Use --window 128 or less"),
        (("--window", 1), "nothing to predict"),
        (("--criterion", "cet"), "There is no criterion named 'cet'. Did you mean 'cett'?"),
        (("--knob", 1.5), "outside its range 0 to 1"),
        (("--knob", -0.1), "outside its range 0 to 1"),
        (("--knob", "nan"), "outside its range 0 to 1"),
        (("--ppl-increase", "0%"), "not a positive fraction"),
        (("--ppl-increase", "-1%"), "not a positive fraction"),
        (("--ppl-increase", "nan"), "not a positive fraction"),
        (("--ppl-increase", "much"), "Write 1% or 0.01"),
        (("--stabilise", "nonsense"), "Write last:5"),
        (("--stabilise", "last:0"), "Write last:5"),
        (("--stabilise", "first:5"), "Write last:5"),
        (("--stabilise", "last:5"), "The series rule finds the knob itself"),
        (("--activation-ratio", "1.2"), "An activation ratio of 1.2 is not between 0 and 1"),
        (("--activation-ratio", "some"), "Write 1% or 0.01"),
        (("--activation-ratio", "95%"), "of this model's activations are not zero"),
        (("--tokens", "many"), "--tokens many is neither a whole number nor auto"),
        (("--tokens", "64k"), "Write 64000"),
        (("--tokens", "0"), "--tokens is 0. It must be a number from 1"),
        (("--tokens", "auto:0%"), "The share of --tokens auto is 0. It must be a number above 0"),
        (("--tokens", "auto:x"), "'x' is not a share"),
        (("--batch-size", 0), "--batch-size is 0. It must be a number from 1"),
        (("--revisions", "main"), "is local and has no revisions"),
        (("--device", "abacus"), "There is no torch device 'abacus'"),
        (("--device", "mps"), "The device mps cannot be used here"),
        (("--device", "meta"), "The device meta cannot be used here"),
        (("--device", "cuda"), "There is no device cuda: 0 CUDA"),
        (("--launcher", "rai"), "There is no launcher named 'rai'. Did you mean 'ray'?"),
        (("--address", "auto"), "--address does nothing with --launcher inline"),
        (
            ("--task-memory", 2),
            "--task-memory does nothing with --launcher inline. Leave it out; inline heeds --jobs",
        ),
        (("--launcher", "ray", "--slurm", "partition=gpu"), "--slurm does nothing with --launcher ray"),
        (("--slurm", "partition"), "Write KEY=VALUE: partition=gpu"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_settings_that_cannot_be_measured(trained, source_text, output, capfd, words, told):
    if words[-1] in ("cuda", "mps") and torch.accelerator.is_available():
        pytest.skip("there is an accelerator")
    knob = () if {"--ppl-increase", "--activation-ratio"} & {*words} else KNOB
    code = run(trained, "--text", source_text, *PART, *knob, *words, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, told)


def test_a_series_shorter_than_its_rule(trained, source_text, output, capfd):
    words = ("--tokens", 512, "--window", 64, "--stabilise", "last:5", "--output", output)
    code = run(trained, "--text", source_text, *words)
    assert_mistake(code, capfd.readouterr(), output, "has 1 checkpoint, the rule asks for the last 5")


@pytest.mark.parametrize("name", ["nowhere/near/this", "./missing", "/no/such/model", "~/none"])
def test_no_such_model(source_text, output, capfd, name):
    code = run(name, "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "There is no model directory")


def test_globs_and_folders_without_a_checkpoint(source_text, tmp_path, output, capfd):
    code = run(tmp_path / "step-*", "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "No checkpoint matches")
    code = run(tmp_path, "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "There is no model in")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    code = run(tmp_path / "link", "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "is a link to nowhere, not a model directory")
    code = run(source_text, "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "is a file, not a model directory")
    deep = tmp_path / "trained" / "runs" / "relu" / "step-1"
    deep.mkdir(parents=True)
    (deep / "config.json").write_text("{}", encoding="utf-8")
    code = run(tmp_path / "trained", "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "Its models lie deeper: name '")


def test_one_checkpoint_named_twice(trained, source_text, output, capfd):
    code = run(trained, trained, "--text", source_text, *SMALL, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, "is named twice")


def test_an_output_that_is_a_file(trained, source_text, tmp_path, capfd):
    taken = tmp_path / "taken"
    taken.write_text("mine", encoding="utf-8")
    for output in (taken, taken / "below"):
        assert run(trained, "--text", source_text, *SMALL, "--output", output) == 2
        assert capfd.readouterr().err.startswith("Error: Cannot write to the output directory")
    assert taken.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("knobb: 0.1\n", "Did you mean 'knob'?"),
        ("- a\n- b\n", "not a mapping"),
        ("a: [1\n", "Cannot read the config"),
        ("tokens: yes\n", "tokens in"),
        ("dtype: on\n", "in quotes if it is such a word"),
    ],
)
def test_faulty_config_files(trained, source_text, tmp_path, output, capfd, content, told):
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    code = run(trained, "--text", source_text, *SMALL, "--config", path, "--output", output)
    assert code == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("Error: ")
    assert told in captured.err.replace("\n", " ")
    assert not output.exists()


@pytest.mark.thorough(1)
@pytest.mark.parametrize(
    ("words", "told"),
    [(("broken",), "cut short"), (("nobody/no-such-model", "--offline"), "nobody/no-such-model")],
)
@pytest.mark.long
def test_mistakes_in_a_process_of_its_own(broken, source_text, tmp_path, output, words, told):
    """No library writes beside our one paragraph, and --offline holds for the Hub."""
    truncate(broken)
    job = started(*words, "--text", source_text, *SMALL, "--output", output, cwd=tmp_path)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 2, err
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    assert told in err
    assert not output.exists()


def test_flags_win_over_the_config_file(trained, source_text, tmp_path, output):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"text: {source_text}\nknob: 0.3\ntokens: 512\nwindow: 32\nbatch-size: 2\n", encoding="utf-8"
    )
    assert run(trained, "--config", config, "--window", 64, "--output", output) == 0
    (path,) = (output / "records").iterdir()
    record = read_record(path)
    assert (record["knob"], record["tokens"], record["window"]) == (0.3, 512, 64)
