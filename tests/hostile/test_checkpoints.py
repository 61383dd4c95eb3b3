"""Weights, configs and tokenizers that are missing, cut short, foreign or lying, under every command that loads one."""

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.hostile.battery import Case, battery, run_case

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
MEASURE = "measure broken --text {text} --tokens 512 --window 64 --knob 0.1"
NEURONS = "neurons broken --thresholds {record} --text {text} --tokens 512 --window 64 --written-tokens 0"
HEAT = "heat broken --thresholds {record} --text {text}"


def weights(change):
    """A copy of the model whose file of weights `change` replaces; it gets the path."""

    def make(world):
        change(world.model() / "model.safetensors")

    return make


def a_link_to_nowhere(path):
    path.unlink()
    path.symlink_to("../blobs/0af")


def tensors(change):
    """A copy of the model whose tensors `change` edits in place."""

    def edit(path):
        found = load_file(path)
        change(found)
        save_file(found, path, metadata={"format": "pt"})

    return weights(edit)


def config(**changes):
    """A copy of the model whose config says something else; None takes a key out."""

    def make(world):
        path = world.model() / "config.json"
        found = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

    return make


def replaced(name, content):
    """A copy of the model with one file of other content, or without it for None."""

    def make(world):
        path = world.model() / name
        if content is None:
            path.unlink()
        else:
            world.write(f"broken/{name}", content)

    return make


def header(length, text=b"{}"):
    return struct.pack("<Q", length) + text


def cut_to(share):
    return weights(lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)]))


def pickle_called_safetensors(path):
    with path.open("wb") as stream:
        pickle.dump({"model.embed_tokens.weight": [1.0]}, stream)


def only_pickled(world):
    folder = world.model()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def index_to(shard):
    """An index of shards that names `shard`, and no other weights."""

    def make(world):
        folder = world.model()
        names = list(load_file(folder / "model.safetensors"))
        (folder / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, shard)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return make


def infinite(found):
    found["model.layers.0.mlp.down_proj.weight"][0, 0] = float("inf")


def no_layer(found):
    for name in [name for name in found if ".layers.1." in name]:
        del found[name]


def foreign(found):
    found.clear()
    found["h.0.attn.weight"] = torch.zeros(2, 2)


def tokenizer(change):
    """A copy of the model whose tokenizer.json `change` edits."""

    def make(world):
        path = world.model() / "tokenizer.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return make


def beyond_the_embedding(found):
    vocabulary = found["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.get)
    found["model"]["vocab"] = {word: index + 200 for index, word in enumerate(words)}
    found["added_tokens"] = []


def of_no_type(found):
    found["model"]["type"] = "Nonsense"


def no_tokenizer(world):
    for path in world.model().glob("tokenizer*"):
        path.unlink()


WEIGHTS = battery(
    Case("none", MEASURE, "broken", "weights", replaced("model.safetensors", None)),
    Case("empty", MEASURE, "broken", "weights", replaced("model.safetensors", b"")),
    *(Case(f"{words.split()[0]}: {name}", words, "broken/model.safetensors", told, make)
      for words in (MEASURE, HEAT) for name, told, make in (
          ("a pointer of Git LFS", "git lfs pull", replaced("model.safetensors", POINTER)),
          ("a page that says no", "HTML", replaced("model.safetensors", b"<!DOCTYPE html><p>Sign in")),
          ("a link to nowhere", "a link to ../blobs/0af", weights(a_link_to_nowhere)),
      )),
    Case("four bytes", MEASURE, "broken", "weights", replaced("model.safetensors", b"\0\0\0\1")),
    Case("cut in the header", MEASURE, "broken", "cut short", cut_to(0.02)),
    Case("cut in the middle", MEASURE, "broken", "cut short", cut_to(0.5)),
    Case("header of 2^63 bytes", MEASURE, "broken", "weights", replaced("model.safetensors", header(2**63))),
    Case("header that is no JSON", MEASURE, "broken", "weights", replaced("model.safetensors", header(4, b"\xff{}]"))),
    Case("offsets beyond the file", MEASURE, "broken", "weights", replaced(
        "model.safetensors",
        header(61, b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,9999]}}  '))),
    Case("web page", MEASURE, "broken", "weights", replaced("model.safetensors", b"<!doctype html><title>404</title>")),
    Case("large-file pointer", MEASURE, "broken", "weights", replaced(
        "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")),
    Case("pickle under that name", MEASURE, "broken", "weights", weights(pickle_called_safetensors)),
    Case("only a pickle", MEASURE, "broken", "safetensors", only_pickled),
    Case("index of a missing shard", MEASURE, "broken", "weights", index_to("model-00001-of-00002.safetensors")),
    Case("index that leaves the folder", MEASURE, "broken", "weights", index_to("../../../etc/passwd")),
    Case("infinity", MEASURE, "down_proj", "NaN or infinity", tensors(infinite)),
    Case("a layer missing", MEASURE, "model.layers.1", "is missing", tensors(no_layer)),
    Case("another family's tensors", MEASURE, "broken", "is missing", tensors(foreign)),
    Case("neurons: cut short", NEURONS, "broken", "cut short", cut_to(0.5)),
    Case("heat: cut short", HEAT, "broken", "cut short", cut_to(0.5)),
    Case("heat: none", HEAT, "broken", "weights", replaced("model.safetensors", None)),
    Case("bench: cut short", "bench measure broken --tokens 128 --window 64", "broken", "cut short", cut_to(0.5)),
    Case("against: cut short",
         "bench measure broken --against sparsinglaw --window 64 --text {text}", "broken", "cut short",
         cut_to(0.5)),
)  # fmt: skip

CONFIGS = battery(
    Case("none", MEASURE, "broken", "config.json", replaced("config.json", None)),
    Case("empty file", MEASURE, "broken", "config", replaced("config.json", b"")),
    Case("truncated", MEASURE, "broken", "config", replaced("config.json", b'{"model_type": "llama", "hid')),
    Case("binary", MEASURE, "broken", "config", replaced("config.json", b"\x80\x04\x95\xff")),
    Case("UTF-16", MEASURE, "broken", "config", replaced("config.json", '{"model_type": "llama"}'.encode("utf-16"))),
    Case("a list", MEASURE, "broken", "config", replaced("config.json", b"[1, 2]")),
    Case("100,000 brackets", MEASURE, "broken", "config", replaced("config.json", b"[" * 100_000)),
    Case("no model type", MEASURE, "broken", "config", config(model_type=None)),
    Case("model type of nobody", MEASURE, "lamma", "", config(model_type="lamma")),
    Case("model type that is a number", MEASURE, "broken", "", config(model_type=3)),
    Case("heads that do not divide", MEASURE, "broken", "", config(num_attention_heads=3, head_dim=None)),
    Case("no heads", MEASURE, "broken", "", config(num_attention_heads=0, head_dim=None)),
    Case("hidden size of another model", MEASURE, "the config says", "stored as", config(hidden_size=64)),
    Case("hidden size that is a word", MEASURE, "broken", "", config(hidden_size="wide")),
    Case("negative size", MEASURE, "broken", "", config(intermediate_size=-48)),
    Case("more layers than weights", MEASURE, "model.layers.2", "is missing", config(num_hidden_layers=3)),
    Case("an activation of nobody", MEASURE, "relo", "", config(hidden_act="relo")),
    Case("no positions", MEASURE, "max_position_embeddings", "0 positions", config(max_position_embeddings=0)),
    Case("another family", MEASURE, "broken", "", config(model_type="gpt2", architectures=["GPT2LMHeadModel"])),
    Case("encoder", MEASURE, "broken", "not a causal", config(model_type="bert", architectures=["BertModel"])),
    Case("code of its own", MEASURE, "broken", "", config(
        model_type="mystery", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})),
    Case("neurons: truncated", NEURONS, "broken", "config", replaced("config.json", b'{"model_type"')),
    Case("heat: model type of nobody", HEAT, "lamma", "", config(model_type="lamma")),
    Case("bench: truncated", "bench measure broken", "broken", "config", replaced("config.json", b"{")),
)  # fmt: skip

TOKENIZERS = battery(
    Case("none", MEASURE, "broken", "tokenizer", no_tokenizer),
    Case("truncated", MEASURE, "broken", "tokenizer", replaced("tokenizer.json", b'{"version": "1.0", "mod')),
    Case("empty", MEASURE, "broken", "tokenizer", replaced("tokenizer.json", b"")),
    Case("a list", MEASURE, "broken", "tokenizer", replaced("tokenizer.json", b"[]")),
    Case("of no known type", MEASURE, "broken", "tokenizer", tokenizer(of_no_type)),
    Case("settings cut short", MEASURE, "broken", "tokenizer", replaced("tokenizer_config.json", b'{"a')),
    Case("beyond the embedding", MEASURE, "broken", "the model knows 300", tokenizer(beyond_the_embedding)),
    Case("neurons: beyond the embedding", NEURONS, "broken", "the model knows 300", tokenizer(beyond_the_embedding)),
    Case("heat: beyond the embedding", HEAT, "broken", "the model knows 300", tokenizer(beyond_the_embedding)),
    Case("heat: none", HEAT, "broken", "tokenizer", no_tokenizer),
)  # fmt: skip


@pytest.mark.thorough(10)
@WEIGHTS
@pytest.mark.long
def test_weights(case, world, capfd):
    run_case(case, world, capfd)


@pytest.mark.thorough(8)
@CONFIGS
def test_configs(case, world, capfd):
    run_case(case, world, capfd)


@pytest.mark.thorough(4)
@TOKENIZERS
def test_tokenizers(case, world, capfd):
    run_case(case, world, capfd)


def test_a_config_of_its_own_code_runs_none_of_it(world, capfd):
    """`auto_map` names code in the model's folder; it is there, and it is not run."""
    own = 'from pathlib import Path\nPath("ran").write_text("ran")\n'
    changes = {
        "AutoConfig": "own.Config",
        "AutoTokenizer": ["own.Tokenizer", None],
        "AutoModelForCausalLM": "own.Model",
    }
    case = Case(
        "own", MEASURE, "broken", "No code of a checkpoint", config(model_type="mystery", auto_map=changes)
    )
    world.write("own.py", own)
    run_case(case, world, capfd)
    assert not (world.folder / "ran").exists()


@pytest.mark.parametrize("command", [MEASURE, NEURONS, HEAT])
def test_what_lies_in_the_output_stays(command, world, capfd):
    """A failed run touches nothing of an earlier one, whose files lie in the same folder."""
    world.write("out/table.csv", "mine")
    world.write("out/records/1234.json", "mine too")
    run_case(Case("kept", command, "broken", "cut short", cut_to(0.5)), world, capfd)
