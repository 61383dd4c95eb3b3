"""Weights of the Hub in other forms: pickles where they are allowed, and adapters of a base model that is there too."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sparsity_lab.measure.checkpoint.weights.weight_files import ADAPTER_CONFIG, ALLOW
from sparsity_lab.store.records import iter_records
from tests.measure.hub_server import ID
from tests.measure.weights.test_adapters import MERGED, adapted, peft, weights
from tests.measure.weights.test_pickles import ASKED, SAME, pickled

FIRST, SECOND, WHOLE, SHARDED, ADAPTER, LATER, BIN, CHAIN = (letter * 40 for letter in "abcdef01")
LORA, MEMBER = "acme/lora", "hf_member"


@pytest.fixture(scope="module")
def commits(trained, tmp_path_factory):
    """Folders by commit: two of a model, its weights pickled in one file and in two, and adapters of it."""
    root = tmp_path_factory.mktemp("commits")
    folders = {FIRST: trained}
    for commit in (SECOND, WHOLE, SHARDED):
        folders[commit] = shutil.copytree(trained, root / commit[0])
    held = load_file(trained / "model.safetensors")
    moved = {name: value * 1.2 if "up_proj" in name else value for name, value in held.items()}
    save_file(moved, folders[SECOND] / "model.safetensors", metadata={"format": "pt"})
    pickled(folders[WHOLE])
    pickled(folders[SHARDED], shards=2)
    for commit, base, revision in ((ADAPTER, ID, None), (LATER, ID, "v2"), (CHAIN, LORA, None)):
        folders[commit] = root / commit[0]
        adapted(trained, folders[commit], MERGED["lora"]())
        path = folders[commit] / ADAPTER_CONFIG
        words = {**json.loads(path.read_text()), "base_model_name_or_path": base, "revision": revision}
        path.write_text(json.dumps(words))
        (folders[commit] / "README.md").write_text("not needed")
    folders[BIN] = shutil.copytree(folders[ADAPTER], root / "bin")
    weights_as_pickle(folders[BIN])
    return folders


def weights_as_pickle(folder):
    import torch

    path = folder / "adapter_model.safetensors"
    torch.save(load_file(path), folder / "adapter_model.bin")
    path.unlink()


@pytest.fixture
def hub(hub_server, commits):
    """A Hub with a model, its pickles, and adapters of it; well again afterwards."""
    hub_server.reset(commits, {"main": FIRST, "v2": SECOND, "whole": WHOLE, "sharded": SHARDED})
    hub_server.repositories[LORA] = {"main": ADAPTER, "v2": LATER, "bin": BIN, "chain": CHAIN}
    hub_server.members = hub_server.known = {MEMBER}
    yield hub_server
    hub_server.trouble = None


@pytest.fixture
def ask(hub, asker, offline_asker, source_text, tmp_path):
    """A command on a model: what it said, and the records of `measure`; earlier questions to the Hub are forgotten."""

    def run(model, *words, output="out", offline=False, token=None, command="measure", code=0):
        hub.asked.clear()
        asked = ASKED if command == "measure" else ASKED[:4]
        words = [command, model, "--text", source_text, *asked, *words, "--output", tmp_path / output]
        process = offline_asker if offline else asker
        ended, said = process(words, tmp_path / "hf", {} if token is None else {"HF_TOKEN": token})
        assert ended == code, said
        assert "Traceback" not in said
        assert code != 2 or said.count("Error:") == 1
        return said, [] if code else list(iter_records(tmp_path / output / "records"))

    return run


def brought(hub):
    """Names of the files whose content was sent."""
    places = "/storage/", "/api/resolve-cache/models/"
    return {path.rpartition("/")[2] for path in hub.paths("GET") if path.startswith(places)}


def numbers(record):
    return {key: record[key] for key in SAME}


@pytest.mark.parametrize(("revision", "files"), [("whole", 1), ("sharded", 2)])
def test_pickles_are_brought_only_where_they_are_allowed(hub, ask, revision, files):
    said, _ = ask(f"{ID}@{revision}", code=2)
    assert ALLOW in said
    assert not [name for name in brought(hub) if name.endswith(".bin")]
    _, (record,) = ask(f"{ID}@{revision}", ALLOW)
    assert len([name for name in brought(hub) if name.endswith(".bin")]) == files
    assert record["commit"] == hub.refs[revision]
    assert record["weights_from"]["format"] == "pickle"
    assert len(record["weights_from"]["files"]) == files
    _, (safe,) = ask(ID, output="safe")
    assert numbers(record) == numbers(safe)
    _, (again,) = ask(f"{ID}@{revision}", ALLOW, output="offline", offline=True)
    assert hub.asked == []
    assert again["content_key"] == record["content_key"]
    said, _ = ask(f"{ID}@{revision}", output="refused", offline=True, code=2)
    assert ALLOW in said


@pytest.fixture(scope="module")
def merged(commits, trained, tmp_path_factory):
    """The folder of a base model with the adapter merged into it by peft alone, by the base's commit."""

    def of(base):
        folder = tmp_path_factory.mktemp("merged") / "tiny"
        shutil.copytree(commits[base], folder)
        model = AutoModelForCausalLM.from_pretrained(commits[base])
        peft.PeftModel.from_pretrained(model, commits[ADAPTER]).merge_and_unload().save_pretrained(folder)
        return folder

    return {base: of(base) for base in (FIRST, SECOND)}


@pytest.mark.parametrize(("revision", "commit", "base"), [(None, ADAPTER, FIRST), ("v2", LATER, SECOND)])
def test_an_adapter_is_merged_into_its_base_at_the_commits_of_both(hub, ask, merged, revision, commit, base):
    model = LORA if revision is None else f"{LORA}@{revision}"
    _, (record,) = ask(model)
    told = record["weights_from"]
    assert (record["model"], record["revision"], record["commit"]) == (LORA, revision, commit)
    assert (told["base"]["model"], told["base"]["revision"], told["base"]["commit"]) == (ID, revision, base)
    assert "README.md" not in brought(hub)
    _, (plain,) = ask(merged[base], output="merged")
    for key, value in numbers(plain).items():
        assert record[key] == pytest.approx(value, rel=1e-4), key
    _, (again,) = ask(model, output="offline", offline=True)
    assert hub.asked == []
    assert (again["content_key"], numbers(again)) == (record["content_key"], numbers(record))


def test_a_base_that_moves_is_another_model(hub, ask):
    _, (before,) = ask(LORA)
    hub.refs["main"] = SECOND
    said, records = ask(LORA)
    assert "measured before" not in said
    (after,) = (record for record in records if record["content_key"] != before["content_key"])
    assert (after["commit"], after["weights_from"]["base"]["commit"]) == (ADAPTER, SECOND)
    assert numbers(after) != numbers(before)


def test_a_pickled_adapter_is_brought_only_where_it_is_allowed(hub, ask):
    said, _ = ask(f"{LORA}@bin", code=2)
    assert ALLOW in said
    assert "adapter_model.bin" not in brought(hub)
    _, (record,) = ask(f"{LORA}@bin", ALLOW)
    assert record["weights_from"]["files"] == [ADAPTER_CONFIG, "adapter_model.bin"]
    _, (safe,) = ask(LORA, output="safe")
    assert numbers(record) == numbers(safe)


def test_thresholds_of_a_folder_are_those_of_adapter_and_base(hub, ask, tmp_path):
    ask(f"{LORA}@bin", ALLOW)
    words = (f"{LORA}@bin", ALLOW, "--thresholds", tmp_path / "out", "--written-tokens", 0)
    ask(*words, command="neurons", output="neurons")
    (record,) = iter_records(tmp_path / "neurons" / "neuron_records")
    assert record["commit"] == BIN
    hub.refs["main"] = SECOND
    said, _ = ask(*words, command="neurons", output="neurons", code=2)
    assert FIRST in said, "the base of the record"
    assert SECOND in said, "and what the base is now"


@pytest.mark.parametrize(("token", "ends"), [(None, 2), (MEMBER, 0)])
def test_a_gated_base_is_for_those_who_were_let_in(hub, ask, token, ends):
    hub.gated.add(ID)
    said, records = ask(LORA, token=token, code=ends)
    if ends:
        assert f"{hub.url}/{ID}" in said, "where to ask for access"
        assert "HF_TOKEN" in said
    else:
        assert records[0]["weights_from"]["base"]["commit"] == FIRST
    assert all(one.token is None for one in hub.asked if one.path.startswith("/storage/"))


@pytest.mark.parametrize("base", ["acme/nothing", f"{ID}@nowhere", "no such name"])
def test_a_base_that_is_not_there_is_refused_by_its_name(hub, ask, commits, tmp_path, base):
    folder = shutil.copytree(commits[ADAPTER], tmp_path / "adapter")
    path = folder / ADAPTER_CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}))
    hub.commits["9" * 40], hub.repositories[LORA]["astray"] = folder, "9" * 40
    said, _ = ask(f"{LORA}@astray", code=2)
    assert base.partition("@")[0] in said
    assert ADAPTER_CONFIG in said


def test_an_adapter_of_an_adapter_is_refused(ask):
    said, _ = ask(f"{LORA}@chain", code=2)
    assert ADAPTER_CONFIG in said


def test_a_base_that_the_cache_lacks_is_named_offline(hub, ask, commits, tmp_path):
    ask(LORA)
    (link,) = (path for path in (tmp_path / "hf").rglob("model.safetensors"))
    link.resolve().unlink()
    link.unlink()
    said, _ = ask(LORA, output="offline", offline=True, code=2)
    assert "cache" in said
    assert hub.asked == []


def test_a_changed_adapter_is_another_model(hub, ask, commits, tmp_path):
    _, (before,) = ask(LORA)
    folder = shutil.copytree(commits[ADAPTER], tmp_path / "adapter")
    weights(lambda held: held.update({name: value * 1.5 for name, value in held.items()}))(folder)
    hub.commits["9" * 40], hub.repositories[LORA]["main"] = folder, "9" * 40
    _, records = ask(LORA)
    (after,) = (record for record in records if record["content_key"] != before["content_key"])
    assert (after["commit"], after["weights_from"]["base"]["commit"]) == ("9" * 40, FIRST)
    assert numbers(after) != numbers(before)
