"""Files of the user's own: right ones are taken, wrong ones are refused with the reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.at_hand import at_hand
from tests.command import run

sys.path.insert(0, str(Path(__file__).parent))
from tiny import CONFIGS, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.api import measure, sparsified
from sparsity_lab.measure.checkpoint.loading import Source, load_config
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.spec import MeasureSpec, expand

STORIES, TEXT = at_hand("models/stories260K"), at_hand("text/stories260K_selfgen.txt")
ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

RIGHT = """
from sparsity_lab.measure.sites import FfnSite

MODEL_TYPES = ("{model_type}",)

def sites(model):
    blocks = list(model.model.layers)
    return [
        FfnSite(layer=i, name=f"model.layers.{{i}}.mlp", down=block.mlp.down_proj,
                activation=block.mlp.act_fn, up=block.mlp.up_proj, gated=True)
        for i, block in enumerate(blocks)
    ]
"""
WITHOUT_A_FILE = "helium"


def write(folder, *changes, model_type="llama", name="mine.py"):
    text = RIGHT.format(model_type=model_type)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def refusal(call, *arguments, **options):
    with pytest.raises(SparsityLabError) as caught:
        call(*arguments, **options)
    return caught.value.paragraph()


@pytest.fixture(scope="module")
def helium(tmp_path_factory):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(WITHOUT_A_FILE, **CONFIGS["llama"], head_dim=8)
    model = AutoModelForCausalLM.from_config(config).eval()
    folder = tmp_path_factory.mktemp("helium")
    model.save_pretrained(folder)
    return model, folder


def test_a_type_that_is_no_causal_model_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "vocab_size": 97}')
    message = refusal(load_config, Source(str(tmp_path)))
    assert "'t5'" in message
    assert 'MODEL_TYPES = ("t5",)' in message
    assert "FfnSite(layer=i" in message


def test_a_family_without_a_file_is_measured(helium):
    model, folder = helium
    assert load_config(Source(str(folder))).model_type == "helium"
    found = find_sites(model)
    assert found.architecture == "helium"
    assert [site.name for site in found.sites] == [f"model.layers.{i}.mlp" for i in range(3)]


def test_a_file_of_ones_own_makes_it_known(helium, tmp_path):
    model, folder = helium
    file = write(tmp_path, model_type="helium")
    assert load_config(Source(str(folder)), architecture_file=file).model_type == "helium"
    name, sites, *_ = find_sites(model, architecture_file=file)
    assert name == "mine"
    assert [site.intermediate_size for site in sites] == [72] * 3
    ids = torch.arange(16)[None]
    dense = model(input_ids=ids).logits
    with sparsified(model, [1e9] * 3, architecture_file=file):
        assert not torch.equal(model(input_ids=ids).logits, dense)
    with pytest.raises(SparsityLabError, match="implausible"):  # random weights, but the layout is accepted
        measure(model, ids, knob=0.2, window=8, architecture_file=file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("gated=True", "gated=False"), "a is not the activation function's output"),
        (("up=block.mlp.up_proj", "up=block.mlp.gate_proj"), "a is not s times u"),
        (("down=block.mlp.down_proj", "down=block.mlp.up_proj"), "the up projection does not run before"),
        (("down=block.mlp.down_proj", "down=block.self_attn.o_proj"), "does not run before the down projection"),
        (("up=block.mlp.up_proj", "up=blocks[i - 1].mlp.up_proj"), "the up projection does not run before"),
        (("activation=block.mlp.act_fn", "activation=block.mlp.gate_proj"), "is not silu"),
        (("gated=True", "gated=True, transposed=True"), "W_d a is not the output"),
        (("gated=True", "gated=True, up_is_half=True"), "u is [1, 8, 16], a [1, 8, 32]"),
        (("enumerate(blocks)", "enumerate(blocks[::-1])"), "not in the order"),
        (("layer=i,", "layer=i + 1,"), "does not number its sites"),
        (("enumerate(blocks)", "enumerate([])"), "no feed-forward network"),
        (("block.mlp.down_proj", "block.ffn.down_proj"), "has no attribute 'ffn'"),
        (("down=block.mlp.down_proj", "down=block.mlp.act_fn"), "W_d of LlamaForCausalLM cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_reason(tmp_path, change, words):
    # F = d lets a wrong transposition pass every check of shapes.
    model = tiny("llama", **({"intermediate_size": 32} if "True, " in change[1] else {}))
    message = refusal(find_sites, model, architecture_file=write(tmp_path, change))
    assert words in message
    assert "LlamaForCausalLM" in message


def test_a_network_that_is_never_called_is_refused(tmp_path):
    model = tiny("llama")
    spare = torch.nn.Linear(72, 32)
    model.spare = spare
    message = refusal(
        find_sites, model, architecture_file=write(tmp_path, ("down=block.mlp.down_proj", "down=model.spare"))
    )
    assert "model.layers.0.mlp never called its down projection" in message


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_weights_that_are_no_matrix_of_numbers_are_refused():
    model = torch.ao.quantization.quantize_dynamic(tiny("opt"), {torch.nn.Linear}, dtype=torch.qint8)
    message = refusal(find_sites, model)
    assert "OPTForCausalLM" in message
    assert "quantised" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MODEL_TYPES = (", "fails. SyntaxError"),
        ("import nothing_of_this_name", "fails. ModuleNotFoundError"),
        ("MODEL_TYPES = ('llama',)", "does not hold both MODEL_TYPES and sites(model)"),
        ("MODEL_TYPES = ('llama')\ndef sites(model): return []", "with its comma"),
        ("MODEL_TYPES = ('opt',)\ndef sites(model): return []", "for model_type 'opt', the model is a 'llama'"),
    ],
)  # fmt: skip
def test_files_that_are_no_architecture_are_refused(tmp_path, text, words):
    file = tmp_path / "mine.py"
    file.write_text(text)
    message = refusal(find_sites, tiny("llama"), architecture_file=file)
    assert str(file) in message
    assert words in message


def test_a_file_that_is_not_there_or_not_python_is_refused(tmp_path):
    assert "Cannot read" in refusal(architectures.load_file, tmp_path / "absent.py")
    (tmp_path / "mine.txt").write_text("MODEL_TYPES = ()")
    assert "ends in .py" in refusal(architectures.load_file, tmp_path / "mine.txt")


@pytest.mark.long
def test_a_checkpoint_of_our_own_drelu_type_is_known_in_a_fresh_process(tmp_path):
    tiny("drelu_llama").save_pretrained(tmp_path)
    words = (
        "import sys; from sparsity_lab.measure.checkpoint.loading import Source, load_config; "
        "print(load_config(Source(sys.argv[1])).model_type)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words, str(tmp_path)], capture_output=True, text=True, check=False, env=ENV
    )
    assert done.stdout.strip() == "drelu_llama", done.stderr[-2000:]


@pytest.mark.long
def test_the_same_layout_from_a_file_gives_the_same_numbers_under_another_key(tmp_path):
    def record(output, file):
        spec = MeasureSpec(text=TEXT, knob=0.2, tokens=2048, dtype="float32", architecture_file=file)
        return measure_checkpoints(spec, expand([str(STORIES)]), output=tmp_path / output)[0]

    ours = record("ours", None)
    mine = record("mine", write(tmp_path))
    again = record("mine", write(tmp_path))
    other = record("mine", write(tmp_path, ("MODEL_TYPES", "# a remark\nMODEL_TYPES")))
    assert ours["architecture"] == "llama"
    assert mine["architecture"] == "mine"
    assert ours["thresholds"] == mine["thresholds"]
    assert ours["activation_ratio"] == mine["activation_ratio"]
    assert mine["content_key"] == again["content_key"]
    assert len({one["content_key"] for one in (ours, mine, other)}) == 3


def test_the_command_line_says_that_the_file_is_executed_and_takes_it(helium, tmp_path):
    assert "EXECUTED" in run("measure", "--help", environment={"COLUMNS": "200"}).stdout
    text = tmp_path / "text.txt"
    text.write_text("words " * 200)
    done = run("measure", helium[1], "--text", text, "--architecture-file", tmp_path / "absent.py")
    assert done.returncode == 2
    assert "Cannot read the architecture file" in done.stderr
    done = run(
        "measure", helium[1], "--text", text, "--architecture-file", write(tmp_path, model_type="helium")
    )
    assert done.returncode == 2  # past the architecture, it lacks its tokenizer
    assert "There is no tokenizer" in done.stderr
