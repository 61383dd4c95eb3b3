"""Adapters of peft: merged into their base model with the numbers they had beside it, or refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import fingerprint
from sparsity_lab.measure.checkpoint.loading import Source, load, load_text_tokenizer
from sparsity_lab.measure.checkpoint.pinning import pinned
from sparsity_lab.store.records import iter_records
from tests.command import exit_code

peft = pytest.importorskip("peft")
TARGETS = ["q_proj", "up_proj", "down_proj"]
IDS = torch.arange(30)[None]
CAUSAL = {"task_type": "CAUSAL_LM"}
MERGED = {
    "lora": lambda: peft.LoraConfig(r=2, target_modules=TARGETS, **CAUSAL),
    "dora, with a module of its own": lambda: peft.LoraConfig(
        r=2, target_modules=TARGETS, use_dora=True, modules_to_save=["norm"], **CAUSAL
    ),
    "loha": lambda: peft.LoHaConfig(r=2, target_modules=TARGETS, **CAUSAL),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **CAUSAL),
}  # fmt: skip
REFUSED = {
    "prompt tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=2, **CAUSAL),
    "a tied embedding": lambda: peft.LoraConfig(r=2, target_modules=["embed_tokens"], **CAUSAL),
    "an initial value that changes the base": lambda: peft.LoraConfig(
        r=2, target_modules=TARGETS, init_lora_weights="pissa", **CAUSAL
    ),
}


def adapted(base, folder, config):
    """Save a random adapter of a model; its logits beside the weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.02 * torch.randn_like(parameter))
    wrapped.save_pretrained(folder)
    with torch.no_grad():
        return wrapped(input_ids=IDS).logits


def loaded(folder):
    return load(Source(str(folder)), dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("name", MERGED)
def test_the_logits_are_those_with_the_adapter_beside_the_weights(trained, tmp_path, name):
    expected = adapted(trained, tmp_path, MERGED[name]())
    found = loaded(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found.model(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert found.read_from["merge_difference"] < 1e-5
    assert found.read_from["base"]["sha256"] == fingerprint(Source(str(trained)))
    assert load_text_tokenizer(Source(str(tmp_path))).hf.vocab_size


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_merged_is_refused(trained, tmp_path, name):
    adapted(trained, tmp_path, REFUSED[name]())
    with pytest.raises(SparsityLabError, match="holds an adapter that cannot be merged"):
        loaded(tmp_path)


def config(**changes):
    def change(folder):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def weights(change):
    def rewrite(folder):
        path = folder / "adapter_model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return rewrite


DAMAGED = {
    "no base": (config(base_model_name_or_path=None), "base_model_name_or_path"),
    "a base that is not there": (config(base_model_name_or_path="/no/where"), "/no/where"),
    "a package to import": (config(megatron_config={"a": 1}, megatron_core="antigravity"), "megatron_config"),
    "an unknown setting": (config(from_the_future=True), "from_the_future"),
    "a tensor missing": (weights(lambda held: held.pop(next(iter(held)))), "is missing"),
    "a tensor of no place": (weights(lambda held: held.update({"x": torch.ones(1)})), "x has no place"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "adapter_model"),
    "a broken file": (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 40), "adapter_model"),
    "a pickle": (
        lambda folder: (
            torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin"),
            (folder / "adapter_model.safetensors").unlink(),
        ),
        "--allow-pickle-weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_an_adapter_that_is_not_whole_is_refused(trained, tmp_path, name):
    adapted(trained, tmp_path, MERGED["lora"]())
    change, named = DAMAGED[name]
    change(tmp_path)
    with pytest.raises(SparsityLabError) as refused:
        loaded(tmp_path)
    assert named in refused.value.paragraph()


def test_adapter_and_base_are_both_in_the_key_and_in_the_record(trained, source_text, tmp_path):
    base, folder = shutil.copytree(trained, tmp_path / "base"), tmp_path / "adapter"
    adapted(base, folder, MERGED["lora"]())
    words = ("measure", folder, "--text", source_text, "--tokens", 512, "--window", 64, "--knob", 0.1)
    assert exit_code(*words, "--output", tmp_path / "out") == 0
    (record,) = iter_records(tmp_path / "out" / "records")
    told = record["weights_from"]
    assert (told["format"], told["kind"], told["base"]["model"]) == ("adapter", "LORA", str(base))
    source = Source(str(folder))
    before = fingerprint(pinned(source))
    assert record["weights_sha256"] == before
    weights(lambda held: held.update({name: value * 1.01 for name, value in held.items()}))(folder)
    changed = fingerprint(pinned(source))
    save_file(
        {k: v * 1.01 for k, v in load_file(base / "model.safetensors").items()}, base / "model.safetensors"
    )
    assert len({before, changed, fingerprint(pinned(source))}) == 3
