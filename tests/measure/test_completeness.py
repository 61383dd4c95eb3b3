"""What a checkpoint's files hold is what is measured; else it is refused, or named in the record."""

import json
import re
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import fingerprint
from sparsity_lab.measure.checkpoint.loading import load, load_config
from sparsity_lab.measure.checkpoint.source import Source, check_exists
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.work.record import text_parts
from sparsity_lab.store.records import RECORD_KEYS, read_record

LAYERS, D, F = 2, 32, 48
UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained checkpoint that a test may change."""
    return shutil.copytree(trained, tmp_path / "tiny")


def loaded(folder):
    return load(Source(str(folder)), dtype=torch.float32, device="cpu")


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    weights = change(weights) or weights
    save_file(
        {k: v.clone() for k, v in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def configure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def sharded(folder):
    """Store the weights of the folder in shards."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    return sorted(folder.glob("model-*.safetensors"))


def index(folder, change):
    path = folder / "model.safetensors.index.json"
    content = json.loads(path.read_text())
    change(content["weight_map"])
    path.write_text(json.dumps(content))


def biases(*modules):
    def change(weights):
        for layer in range(LAYERS):
            for module, size in modules:
                weights[f"model.layers.{layer}.{module}.bias"] = torch.ones(size)

    return lambda folder: rewrite(folder, change)


def added(**tensors):
    return lambda folder: rewrite(
        folder, lambda w: w.update({k.replace("__", "."): v for k, v in tensors.items()})
    )


def prefixed(change):
    return lambda folder: rewrite(folder, lambda w: {change(k): v for k, v in w.items()})


def stored_as(dtype, name):
    return lambda folder: rewrite(folder, lambda w: w.update({name: (w[name] * 20).to(dtype)}))


def other_head(folder):
    rewrite(
        folder,
        lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].flip(0).contiguous()}),
    )


def without_a_shard(folder):
    sharded(folder)[1].unlink()


def unnamed_shard(folder):
    shards = sharded(folder)
    shutil.copy(shards[0], folder / "model-00009-of-00009.safetensors")


def both_kinds(folder):
    kept = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(kept)


def shards_without_index_beside(folder):
    both_kinds(folder)
    (folder / "model.safetensors.index.json").unlink()


def index_of_more(folder):
    shards = sharded(folder)
    index(folder, lambda names: names.update({"model.norm.bias": shards[0].name}))


def index_of_less(folder):
    sharded(folder)
    index(folder, lambda names: names.pop(UP))


def index_astray(folder):
    shards = sharded(folder)
    index(folder, lambda names: names.update({UP: shards[-1].name if names[UP] != shards[-1].name else "x"}))


def twice_in_shards(folder):
    shards = sharded(folder)
    first, last = load_file(shards[0]), load_file(shards[-1])
    name = next(iter(first))
    save_file({**last, name: first[name] + 1}, shards[-1], metadata={"format": "pt"})


def adapter(name):
    return lambda folder: (folder / name).write_text("{}")


def other_rotation(folder):
    frequencies = 1 / 500.0 ** (torch.arange(0, 16, 2) / 16)
    added(**{f"model__layers__{i}__self_attn__rotary_emb__inv_freq": frequencies for i in range(LAYERS)})(
        folder
    )


def twice_by_prefix(folder):
    rewrite(folder, lambda w: w.update({UP.removeprefix("model."): w[UP] * 2}))


REFUSED = {
    "biases of the FFN": (
        biases(("mlp.gate_proj", F), ("mlp.up_proj", F), ("mlp.down_proj", D)),
        r"6 of the \d+ tensors .*mlp\.down_proj\.bias \(2\)",
    ),
    "biases of the attention": (
        biases(*((f"self_attn.{n}_proj", D) for n in "qkv")),
        r"self_attn\.k_proj\.bias",
    ),
    "fewer layers in the config": (
        lambda folder: configure(folder, num_hidden_layers=1),
        r"not used.*to layer 1, the config has layers 0 to 0",
    ),
    "fewer layers, their names on a list that transformers ignores": (
        lambda folder: configure(folder, num_hidden_layers=1),
        "not used",
    ),
    "a value head": (added(v_head__summary__weight=torch.ones(1, D)), r"v_head\.summary\.weight"),
    "a router beside a dense FFN": (added(model__layers__0__mlp__gate__weight=torch.ones(4, D)), "mlp.gate"),
    "LoRA among the weights": (
        added(model__layers__0__mlp__up_proj__lora_A__weight=torch.ones(2, D)),
        "lora_A",
    ),
    "a q_norm": (added(model__layers__0__self_attn__q_norm__weight=torch.ones(16)), "q_norm"),
    "a bias that is named like a mask": (
        biases(("self_attn", D)),
        r"model\.layers\.\*\.self_attn\.bias \(2\)",
    ),
    "rotary frequencies of another base": (other_rotation, "inv_freq"),
    "scales of a quantisation": (added(model__layers__0__mlp__up_proj__weight_scale=torch.ones(1)), "scale"),
    "codes of a quantisation": (stored_as(torch.int8, UP), rf"1 of the \d+ .* as I8, {re.escape(UP)}"),
    "norms as bytes": (stored_as(torch.uint8, "model.norm.weight"), r"as U8, model\.norm"),
    "torch.compile": (prefixed(lambda name: "_orig_mod." + name), r"'_orig_mod\.'"),
    "torch.compile of the inner model": (
        prefixed(lambda name: name.replace("model.", "model._orig_mod.", 1)),
        r"'_orig_mod\.'",
    ),
    "DDP": (prefixed(lambda name: "module." + name), r"'module\.'"),
    "FSDP": (
        prefixed(
            lambda name: "_fsdp_wrapped_module." + name.replace("layers.0.", "layers.0._fsdp_wrapped_module.")
        ),
        r"'_fsdp_wrapped_module\.'",
    ),
    "PEFT": (prefixed(lambda name: "base_model.model." + name), r"'base_model\.model\.'"),
    "a head that differs from the embedding it is tied to": (other_head, "lm_head.weight, which differs"),
    "a tensor under both spellings": (twice_by_prefix, "twice"),
    "a shard that is not there": (without_a_shard, "which is not there"),
    "a shard that the index does not name": (unnamed_shard, "model-00009-of-00009.safetensors not"),
    "a whole file beside shards": (both_kinds, "are not certain"),
    "a whole file beside shards without an index": (shards_without_index_beside, "are not certain"),
    "an index that names more": (index_of_more, r"differ in 1 tensor\(s\): model\.norm\.bias"),
    "an index that names less": (index_of_less, re.escape(UP)),
    "an index that names another shard": (index_astray, re.escape(UP) + "|which is not there"),
    "a tensor in two shards": (twice_in_shards, " is in .* and in "),
    "an adapter beside the weights": (adapter("adapter_config.json"), "holds an adapter"),
    "an adapter's weights alone": (adapter("adapter_model.safetensors"), "holds an adapter"),
    "half precision's file alone": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.fp16.safetensors"),
        r"called model\.fp16\.safetensors",
    ),
    "weights that the config names": (
        lambda folder: configure(folder, transformers_weights="other.safetensors"),
        r"names other\.safetensors",
    ),
    "a consolidated file alone": (
        lambda folder: (folder / "model.safetensors").rename(folder / "consolidated.safetensors"),
        r"called consolidated\.safetensors",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.long
def test_a_difference_is_refused_by_name(folder, name, monkeypatch):
    change, said = REFUSED[name]
    change(folder)
    if "ignores" in name:
        from transformers import LlamaForCausalLM

        monkeypatch.setattr(
            LlamaForCausalLM, "_keys_to_ignore_on_load_unexpected", [r"model\.layers\.1\..*"], raising=False
        )
    with pytest.raises(SparsityLabError) as refused:
        loaded(folder)
    assert re.search(said, refused.value.paragraph()), refused.value.paragraph()


def rotary(folder):
    frequencies = (1 / 10000.0 ** (torch.arange(0, 16, 2) / 16)).half()
    added(**{f"model__layers__{i}__self_attn__rotary_emb__inv_freq": frequencies for i in range(LAYERS)})(
        folder
    )


def masks(folder):
    added(
        **{f"model__layers__{i}__self_attn__bias": torch.ones(1, 1, 8, 8).bool() for i in range(LAYERS)},
        **{f"model__layers__{i}__self_attn__masked_bias": torch.tensor(-1e9) for i in range(LAYERS)},
    )(folder)


def equal_head(folder):
    rewrite(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()}))


def beside(name):
    return lambda folder: shutil.copy(folder / "model.safetensors", folder / name)


HARMLESS = {
    "nothing": (lambda folder: None, {}, ()),
    "rotary frequencies": (rotary, {"model.layers.*.self_attn.rotary_emb.inv_freq": 2}, ()),
    "causal masks": (
        masks,
        {"model.layers.*.self_attn.bias": 2, "model.layers.*.self_attn.masked_bias": 2},
        (),
    ),
    "position ids": (
        added(model__embed__position_ids=torch.arange(4)),
        {"model.embed.position_ids": 1},
        (),
    ),
    "heads for further tokens": (added(mtp__fc__weight=torch.ones(2)), {"mtp.fc.weight": 1}, ()),
    "a layer for further tokens": (
        lambda folder: configure(folder, num_hidden_layers=1, num_nextn_predict_layers=1),
        None,
        (),
    ),
    "a head equal to its embedding": (equal_head, {}, ()),
    "shards": (sharded, {}, ()),
    "names without the base model's prefix": (
        prefixed(lambda name: name.removeprefix("model.")),
        {},
        (),
    ),
    "a consolidated file": (beside("consolidated.safetensors"), {}, ("consolidated.safetensors",)),
    "half precision": (beside("model.fp16.safetensors"), {}, ("model.fp16.safetensors",)),
    "a pickle": (beside("pytorch_model.bin"), {}, ("pytorch_model.bin",)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_has_no_say_in_the_numbers_is_named(folder, trained, name):
    change, unused, files = HARMLESS[name]
    change(folder)
    found = loaded(folder)
    if unused is None:
        assert found.unused_tensors
        assert all("layers.*" in name for name in found.unused_tensors)
        return
    assert (found.unused_tensors, found.unused_files) == (unused, files)
    ids = torch.arange(20)[None]
    expected = AutoModelForCausalLM.from_pretrained(trained)(ids).logits
    assert torch.equal(found.model(ids).logits, expected)


def test_the_record_names_it(folder, source_text, tmp_path):
    masks(folder)
    beside("consolidated.safetensors")(folder)
    spec = MeasureSpec(text=source_text, knob=0.1, tokens=256, window=64)
    measure_checkpoints(spec, expand([str(folder)]), output=tmp_path / "out")
    (path,) = (tmp_path / "out" / "records").glob("*.json")
    record = read_record(path)
    assert list(record) == list(RECORD_KEYS)
    assert record["unused_tensors"] == {
        "model.layers.*.self_attn.bias": 2,
        "model.layers.*.self_attn.masked_bias": 2,
    }
    assert record["unused_files"] == ["consolidated.safetensors"]


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=True)
    ), "h.{}.attn.bias"


def neox():
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=32,
        )
    ), "gpt_neox.layers.{}.attention.bias"  # fmt: skip


@pytest.mark.parametrize("build", [gpt2, neox])
def test_masks_that_transformers_is_silent_on_are_named_and_real_biases_refused(build, tmp_path):
    model, name = build()
    model.save_pretrained(tmp_path)
    mask = torch.ones(1, 1, 32, 32).bool()
    rewrite(tmp_path, lambda w: w.update({name.format(i): mask.clone() for i in range(2)}))
    assert loaded(tmp_path).unused_tensors == {name.format("*"): 2}
    rewrite(tmp_path, lambda w: w.update({name.format(1): torch.ones(16)}))
    with pytest.raises(SparsityLabError, match="not used"):
        loaded(tmp_path)


@pytest.mark.parametrize("experts", [2, 8], ids=["fewer than in the file", "more than in the file"])
def test_experts_of_another_number_are_refused(experts, tmp_path):
    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, max_position_embeddings=32,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path)
    assert loaded(tmp_path).unused_tensors == {}
    configure(tmp_path, num_local_experts=experts)
    with pytest.raises(SparsityLabError, match=r"do not fit its config|not used"):
        loaded(tmp_path)


@pytest.mark.parametrize("name", ["GemmaForCausalLM", "Qwen2ForCausalLM", "GPT2LMHeadModel"])
def test_the_class_of_another_family_is_refused(folder, name):
    """Gemma's tensors are called as LLaMA's are, and mean other norms and embeddings."""
    configure(folder, architectures=[name])
    with pytest.raises(SparsityLabError, match=f"{name} under architectures, and the model type llama"):
        load_config(Source(str(folder)))


@pytest.mark.parametrize(
    "names", [[], None, ["LlamaForCausalLM"], ["MyOwnForCausalLM"], ["LLaMAForCausalLM"]]
)
def test_classes_that_say_nothing_else_are_read(folder, names):
    configure(folder, architectures=names)
    assert load_config(Source(str(folder))).model_type == "llama"


def test_weights_of_an_adapter_without_its_config_are_called_so(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_text("{}")
    with pytest.raises(SparsityLabError, match="holds an adapter"):
        check_exists(expand([str(tmp_path)])[0].source)


def test_towers_of_other_senses_are_named_and_not_counted(tmp_path):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**small, "vocab_size": 64, "num_key_value_heads": 2, "head_dim": 8},
        vision_config={**small, "image_size": 8, "patch_size": 4}, image_token_index=60, boi_token_index=61,
        eoi_token_index=62, mm_tokens_per_image=4,
    )  # fmt: skip
    model = Gemma3ForConditionalGeneration(config)
    model.save_pretrained(tmp_path)
    found = loaded(tmp_path)
    assert found.unused_tensors
    assert all(re.search("vision|multi_modal", name) for name in found.unused_tensors)
    counted = {id(p): p for part in text_parts(found.model) for p in part.parameters()}
    text = model.model.language_model
    assert sum(p.numel() for p in counted.values()) == sum(p.numel() for p in text.parameters())


@pytest.mark.parametrize(
    "quantised", [{"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "fp8"}]
)
def test_quantised_checkpoints_are_refused_whatever_is_installed(folder, quantised):
    configure(folder, quantization_config=quantised)
    with pytest.raises(SparsityLabError, match="Measure the checkpoint before quantisation"):
        load_config(Source(str(folder)))


GGUF_EXTRAS = {
    "nothing": ({}, None),
    "scaled rotary frequencies": ({"rope_freqs.weight": (4,)}, r"rope_freqs\.weight"),
    "a bias": ({"blk.0.ffn_up.bias": (F,)}, r"blk\.\*\.ffn_up\.bias"),
    "a layer more": ({"blk.2.ffn_up.weight": (F, D)}, r"blk\.\*\.ffn_up\.weight"),
}


@pytest.mark.parametrize("name", GGUF_EXTRAS)
def test_tensors_of_a_gguf_file_that_are_not_read_are_refused(folder, tmp_path, name):
    more, said = GGUF_EXTRAS[name]
    path = tmp_path / "tiny.gguf"
    gguf_of(folder, path, more)
    read = partial(load, Source(str(path), hidden_act="relu"), dtype=torch.float32, device="cpu")
    if said is None:
        assert read().unused_tensors == {}
        return
    with pytest.raises(SparsityLabError, match=f"not used by the model.*{said}"):
        read()


def gguf_of(folder, path, more=(), **said):
    """Write a folder's weights as a GGUF file of the architecture llama; `said` are strings in its metadata."""
    gguf = pytest.importorskip("gguf")
    weights = {key: value.numpy() for key, value in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(F)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    parts = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for layer in range(LAYERS):
        for ours, theirs in parts.items():
            weight = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):  # llama.cpp turns neighbours, not halves
                weight = weight.reshape(2, 2, D // 4, D).swapaxes(1, 2).reshape(D, D)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight)
    for key, value in said.items():
        writer.add_string(f"llama.{key}", value)
    for extra, shape in dict(more).items():
        writer.add_tensor(extra, torch.ones(shape).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_activation_function_of_a_gguf_file_is_said_or_refused(folder, tmp_path):
    """The tiny model has relu; transformers would take silu for any file of this architecture."""
    bare, saying = tmp_path / "bare.gguf", tmp_path / "saying.gguf"
    gguf_of(folder, bare)
    gguf_of(folder, saying, hidden_activation="relu")
    ids = torch.arange(20)[None]
    expected = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    for path, said, told in (
        (bare, "relu", "option"),
        (saying, None, "metadata"),
        (saying, "relu", "metadata"),
    ):
        found = load(Source(str(path), hidden_act=said), dtype=torch.float32, device="cpu")
        torch.testing.assert_close(found.model(ids).logits, expected, rtol=1e-4, atol=1e-5)
        assert found.model.config.hidden_act == "relu"
        assert (found.read_from["hidden_act_from"], found.read_from["quantisation"]) == (told, "F32")
    for path, said in ((bare, None), (saying, "silu"), (bare, "no such function")):
        with pytest.raises(SparsityLabError):
            load_config(Source(str(path), hidden_act=said))
    keys = {said: fingerprint(Source(str(bare), hidden_act=said)) for said in (None, "silu", "relu")}
    assert keys[None] == keys["silu"] != keys["relu"]


def test_an_activation_function_against_the_config_is_refused(folder):
    assert load_config(Source(str(folder), hidden_act="relu")).hidden_act == "relu"
    with pytest.raises(SparsityLabError, match="relu"):
        load_config(Source(str(folder), hidden_act="silu"))
