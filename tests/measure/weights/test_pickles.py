"""pytorch_model.bin: the numbers of the safetensors where it is allowed, and nothing that a pickle asks for is done."""

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sparsity_lab.cli.affinity import AffinityOptions
from sparsity_lab.cli.bench import CostBenchOptions
from sparsity_lab.cli.evaluate import EvalOptions
from sparsity_lab.cli.measure import MeasureOptions
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.fingerprints import content_sha256, fingerprint
from sparsity_lab.measure.checkpoint.loading import Source, load
from sparsity_lab.measure.checkpoint.weights.pickled import read_pickled
from sparsity_lab.measure.checkpoint.weights.weight_files import ALLOW
from sparsity_lab.settings import WeightSettings
from sparsity_lab.store.records import iter_records
from tests.command import exit_code, run
from tests.measure.architectures.test_kin import CASES, IDS, random_model

WHOLE = "pytorch_model.bin"
UP = "model.layers.0.mlp.up_proj.weight"
ASKED = ("--tokens", 512, "--window", 64, "--knob", 0.1)
SAME = ("activation_ratio", "activation_ratio_per_layer", "thresholds", "loss_dense_nats", "loss_sparse_nats")


class Asks:
    """Unpickled, it makes the system do something."""

    def __reduce__(self):
        return os.system, ("touch ran",)


class Later:
    """Asks by another way, through a name that is looked up while it is unpickled."""

    def __reduce__(self):
        return getattr, (Path("ran"), "touch")


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A copy of the trained checkpoint whose weights are a pickle; the process stands beside it."""
    monkeypatch.chdir(tmp_path)
    return pickled(shutil.copytree(trained, tmp_path / "tiny"))


def pickled(folder, *, shards=1):
    """Turn the safetensors of a folder into pickles."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if shards == 1:
        torch.save(weights, folder / WHOLE)
        return folder
    names = {
        name: f"pytorch_model-0000{1 + i % shards}-of-0000{shards}.bin" for i, name in enumerate(weights)
    }
    for file in set(names.values()):
        torch.save({name: weights[name] for name in names if names[name] == file}, folder / file)
    (folder / f"{WHOLE}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


def loaded(folder, *, allow=True):
    source = Source(str(folder), allow_pickle_weights=allow)
    return load(source, dtype=torch.float32, device="cpu")


def repacked(content, *, compress=zipfile.ZIP_STORED, change=lambda name, data: data):
    """The zip archive of torch.save with its parts changed; checksums are made for what they are then."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w", compress) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return written.getvalue()


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def shortened(name, data):
    return data[: len(data) // 2] if name.endswith("data/0") else data


def with_more(**more):
    return lambda weights: saved({**weights, **more})


def flipped(weights):
    content = bytearray(saved(weights))
    content[len(content) // 2] ^= 1
    return bytes(content)


def safetensors_of(weights):
    from safetensors.torch import save

    return save(weights)


REFUSED = {
    "a call of the system": (with_more(x=Asks()), "system"),
    "a call found by name": (with_more(x=Later()), "getattr"),
    "a number of NumPy": (with_more(x=np.float64(1)), "numpy"),
    "a model instead of its weights": (lambda weights: saved(torch.nn.Linear(2, 2)), "torch.nn"),
    "a bare pickle": (lambda weights: pickle.dumps({"x": Asks()}), "torch.save"),
    "torch before 1.6": (lambda weights: saved(weights, _use_new_zipfile_serialization=False), "1.6"),
    "torch before 1.6 with a call": (
        lambda weights: saved({"x": Asks()}, _use_new_zipfile_serialization=False), "1.6",
    ),
    "cut in the middle": (lambda weights: saved(weights)[: len(saved(weights)) // 2], "cut short"),
    "its last byte missing": (lambda weights: saved(weights)[:-1], WHOLE),
    "a bit changed": (flipped, "checksum"),
    "a part shorter than its tensor": (lambda weights: repacked(saved(weights), change=shortened), WHOLE),
    "compressed": (lambda weights: repacked(saved(weights), compress=zipfile.ZIP_DEFLATED), "compressed"),
    "another zip archive": (lambda weights: repacked(saved(weights), change=lambda *_: b"x"), WHOLE),
    "safetensors by another name": (safetensors_of, "model.safetensors"),
    "a pointer of Git LFS": (lambda weights: b"version https://git-lfs.github.com/spec/v1\noid\nsize 1\n", "Git LFS"),
    "a page": (lambda weights: b"<!doctype html><title>404</title>", "HTML"),
    "empty": (lambda weights: b"", "empty"),
    "a training state": (lambda weights: saved({"state_dict": weights, "epoch": 3}), "state_dict"),
    "a list": (lambda weights: saved(list(weights.values())), "list"),
    "a sparse tensor": (with_more(x=torch.eye(3).to_sparse()), "sparse"),
    "a tensor missing": (lambda weights: saved({k: v for k, v in weights.items() if k != UP}), UP),
    "a tensor that is not used": (with_more(extra=torch.ones(2)), "extra"),
    "NaN": (lambda weights: saved({**weights, UP: weights[UP] * float("nan")}), UP),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_file_of_weights_is_refused_and_not_run(folder, name):
    make, named = REFUSED[name]
    (folder / WHOLE).write_bytes(make(torch.load(folder / WHOLE, weights_only=True)))
    with pytest.raises(SparsityLabError) as refused:
        loaded(folder)
    assert named in refused.value.paragraph()
    assert refused.value.fix
    assert not Path("ran").exists()


def test_a_mapped_part_is_not_taken_for_a_longer_one(tmp_path):
    """torch itself compares the length of a part with its tensor only where the file is not mapped."""
    path = tmp_path / WHOLE
    path.write_bytes(repacked(saved({"a": torch.ones(64), "b": torch.zeros(64)}), change=shortened))
    torch.load(path, weights_only=True, mmap=True)
    with pytest.raises(SparsityLabError):
        read_pickled(path)


def lost(folder):
    (folder / "pytorch_model-00002-of-00002.bin").unlink()


def astray(folder):
    shutil.copy(folder / "pytorch_model-00002-of-00002.bin", folder.parent / "x.bin")
    change_index(folder, lambda names: {**names, UP: "../x.bin"})


def change_index(folder, change):
    path = folder / f"{WHOLE}.index.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "weight_map": change(content["weight_map"])}))


def unnamed(folder):
    shutil.copy(folder / "pytorch_model-00002-of-00002.bin", folder / "pytorch_model-00003-of-00003.bin")


def both_kinds(folder):
    torch.save({}, folder / WHOLE)


SHARDS = {
    "a shard missing": (lost, "pytorch_model-00002-of-00002.bin"),
    "a shard outside of the folder": (astray, "../x.bin"),
    "a shard without a name in the index": (unnamed, "pytorch_model-00003-of-00003.bin"),
    "a tensor without a name in the index": (
        lambda folder: change_index(folder, lambda names: {k: v for k, v in names.items() if k != UP}), UP,
    ),
    "a whole file beside shards": (both_kinds, "pytorch_model-00001-of-00002.bin"),
    "no index": (lambda folder: (folder / f"{WHOLE}.index.json").unlink(), f"{WHOLE}.index.json"),
    "an index of no JSON": (lambda folder: (folder / f"{WHOLE}.index.json").write_text("{"), "index"),
    "a link to nowhere": (
        lambda folder: (lost(folder), (folder / "pytorch_model-00002-of-00002.bin").symlink_to("nowhere")), "nowhere",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARDS)
def test_shards_that_are_not_certain_are_refused(trained, tmp_path, name):
    folder = pickled(shutil.copytree(trained, tmp_path / "tiny"), shards=2)
    change, named = SHARDS[name]
    change(folder)
    with pytest.raises(SparsityLabError) as refused:
        loaded(folder)
    assert named in refused.value.paragraph()


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.long
def test_the_numbers_are_those_of_the_safetensors(trained, source_text, tmp_path, shards):
    """And the record says what the weights were read from; without the flag, exit 2 names it."""
    folder = pickled(shutil.copytree(trained, tmp_path / "tiny"), shards=shards)
    words = ("--text", source_text, *ASKED, "--output")
    refused = run("measure", folder, *words, tmp_path / "refused")
    assert refused.returncode == 2
    assert ALLOW in refused.stderr
    assert not (tmp_path / "refused").exists()
    assert exit_code("measure", trained, *words, tmp_path / "safe") == 0
    assert exit_code("measure", folder, ALLOW, *words, tmp_path / "pickled") == 0
    (safe,), (read,) = (list(iter_records(tmp_path / name / "records")) for name in ("safe", "pickled"))
    assert {key: safe[key] for key in SAME} == {key: read[key] for key in SAME}
    assert (safe["weights_from"]["format"], read["weights_from"]["format"]) == ("safetensors", "pickle")
    assert len(read["weights_from"]["files"]) == shards
    assert read["weights_from"]["stored"] == {"F32": {"tensors": 1.0, "weights": 1.0}}
    assert safe["content_key"] != read["content_key"]


def test_safetensors_come_first(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(trained, tmp_path / "tiny")
    (folder / WHOLE).write_bytes(saved({"x": Asks()}))
    found = loaded(folder)
    assert found.read_from["files"] == ["model.safetensors"]
    assert found.unused_files == (WHOLE,)
    assert not Path("ran").exists()
    plain, allowed = (Source(str(folder), allow_pickle_weights=allow) for allow in (False, True))
    assert fingerprint(plain) == fingerprint(allowed) == fingerprint(Source(str(trained)))


def test_other_weights_are_another_checkpoint(folder):
    source = Source(str(folder), allow_pickle_weights=True)
    before = fingerprint(source)
    assert content_sha256(source) == before
    weights = torch.load(folder / WHOLE, weights_only=True)
    torch.save({**weights, UP: weights[UP] + 1e-3}, folder / WHOLE)
    assert fingerprint(source) != before


@pytest.mark.parametrize(
    "case", ["minicpm, relu", "minicpm-s", "prosparse", "sparselm, its leftover", "bamboo"]
)
def test_families_by_other_names_are_read_alike(case, tmp_path):
    model_type, options, _, _ = CASES[case]
    model = random_model(model_type, options)
    model.save_pretrained(tmp_path)
    again = loaded(pickled(tmp_path)).model
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_stored_rotary_frequencies_are_compared_and_tied_tensors_read(folder, trained):
    """Checkpoints from before transformers 4.32 hold both; each is read alone, mapped."""
    weights = torch.load(folder / WHOLE, weights_only=True)
    turns = 1 / 1e4 ** (torch.arange(0, 16, 2) / 16)
    rotary = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": turns for i in (0, 1)}
    torch.save({**weights, **rotary, "lm_head.weight": weights["model.embed_tokens.weight"]}, folder / WHOLE)
    found = loaded(folder)
    assert found.unused_tensors == {"model.layers.*.self_attn.rotary_emb.inv_freq": 2}
    ids = torch.arange(20)[None]
    assert torch.equal(found.model(ids).logits, AutoModelForCausalLM.from_pretrained(trained)(ids).logits)


def test_every_command_that_loads_a_model_has_the_flags_from_one_place():
    from sparsity_lab.cli.heat import HeatOptions
    from sparsity_lab.cli.shared_options import WatchOptions

    for options in (
        MeasureOptions,
        EvalOptions,
        HeatOptions,
        WatchOptions,
        AffinityOptions,
        CostBenchOptions,
    ):
        assert issubclass(options, WeightSettings), options


@pytest.mark.parametrize(
    "command", ["heat", "neurons", "structure", "predict", "measure --transfer", "bench"]
)
@pytest.mark.long
def test_the_flag_reaches_the_weights_in_every_command(folder, trained, source_text, tmp_path, command):
    part = ("--tokens", 256, "--window", 64)
    assert (
        exit_code("measure", trained, "--text", source_text, *part, "--knob", 0.1, "--output", tmp_path / "m")
        == 0
    )
    (record,) = (tmp_path / "m" / "records").glob("*.json")
    under = ("--thresholds", record, "--text", source_text)
    other = tmp_path / "other.txt"
    other.write_text(source_text.read_text(encoding="utf-8")[30_000:60_000], encoding="utf-8")
    words = {
        "heat": ("heat", folder, *under),
        "neurons": ("neurons", folder, *under, *part, "--written-tokens", 0),
        "structure": ("structure", folder, *under, "--text", other, *part, "--clusters", 8, "--draws", 19),
        "predict": ("predict", folder, *under, *part, "--epochs", 1, "--rank", 2, "--budget", 1),
        "measure --transfer": (
            "measure", folder, "--text", source_text, "--transfer", f"other={other}", *part, "--knob", 0.1,
        ),
        "bench": ("bench", "measure", folder, *part, "--pairs", 1),
    }[command]  # fmt: skip
    output = ("--output", tmp_path / "out")
    assert exit_code(*words, *output) == 2
    done = run(*words, ALLOW, *output)
    assert done.returncode == 0, done.stderr
