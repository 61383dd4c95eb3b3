"""A Hub in trouble, over real sockets: gated, busy, silent, slow, cut off; and a cache that cannot be written."""

import json
import shutil
import threading
import time
from pathlib import Path

import datasets
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.explaining import GGUF_FIX
from sparsity_lab.measure.checkpoint.loading import load_config, load_text_tokenizer
from sparsity_lab.measure.checkpoint.source import Source, split
from sparsity_lab.measure.lm_eval.bridge import explained
from sparsity_lab.measure.neurons.affinity.found import source_of
from sparsity_lab.measure.spec import expand
from tests.measure.hub_server import ID

ROOT = Path(__file__).parents[2]
COMMIT = "a" * 40
HUNG_S = 600  # what a Hub takes that never answers


@pytest.fixture
def hub(hub_server, trained):
    """A Hub with one commit, and well again afterwards."""
    hub_server.reset({COMMIT: trained}, {"main": COMMIT, "step1": COMMIT, "refs/pr/1": COMMIT})
    yield hub_server
    hub_server.trouble = None


@pytest.fixture
def measure(hub, asker, source_text, tmp_path):
    """`sparsity-lab measure`, its exit code and all that it said."""

    def run(*words, model=ID, home=tmp_path / "hf", command="measure"):
        asked = [command, model, "--text", str(source_text), "--tokens", "256", *map(str, words)]
        if command == "measure":
            asked += ["--knob", "0.1", "--window", "64"]
        code, said = asker([*asked, "--output", str(tmp_path / "out")], home)
        assert "Traceback" not in said
        return code, said

    return run


def is_weights(path):
    return path.endswith(".safetensors")


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("everything", [True, False], ids=["all", "weights"])
def test_a_gated_model_names_the_page_and_the_token(hub, measure, code, everything):
    def gated(answer, path):
        if everything or is_weights(path):
            answer.say(code, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return True
        return False

    hub.trouble = gated
    ended, said = measure()
    assert ended == 2
    assert f"of {ID}" in said
    for word in ("gated", f"{hub.url}/{ID}", "hf auth login", "HF_TOKEN"):
        assert word in said


def test_an_unknown_model_may_be_a_private_one(measure):
    ended, said = measure(model="acme/other")
    assert ended == 2
    assert "HF_TOKEN" in said


@pytest.mark.long
def test_a_hub_that_is_busy_is_asked_again(hub, measure):
    seen = {}

    def busy(answer, path):
        seen[path] = seen.get(path, 0) + 1
        if seen[path] == 1:
            answer.say(503, b"", {})
        return seen[path] == 1

    hub.trouble = busy
    ended, said = measure()
    assert ended == 0, said
    assert "the Hub answers 503; it is asked again in 0.1 s" in said


def test_a_hub_that_stays_busy_is_given_up(hub, measure):
    hub.trouble = lambda answer, path: answer.say(503, b"", {}) or True
    ended, said = measure()
    assert ended == 2
    assert "503" in said


def test_a_hub_that_never_answers_is_known_soon(hub, measure):
    over = threading.Event()
    hub.trouble = lambda answer, path: over.wait(HUNG_S) or True
    began = time.monotonic()
    try:
        ended, said = measure()
        assert time.monotonic() - began < HUNG_S / 2
        assert ended == 2
        assert f"The Hub at {hub.url} did not answer in time" in said
    finally:
        over.set()


def test_a_cached_model_needs_no_hub_that_answers(hub, measure):
    assert measure("--dry-run")[0] == 0
    over = threading.Event()
    hub.trouble = lambda answer, path: over.wait(HUNG_S) or True
    began = time.monotonic()
    try:
        ended, said = measure("--dry-run")
        assert ended == 0, said
        assert "did not answer in time; its commit is that of this machine's cache" in said
        assert time.monotonic() - began < HUNG_S / 2
    finally:
        over.set()


@pytest.mark.long
def test_a_download_says_how_far_it_is_and_goes_on_where_it_was_cut(hub, measure, trained):
    content = (trained / "model.safetensors").read_bytes()
    cut = []

    def slow(answer, path):
        if not is_weights(path) or answer.command != "GET" or cut:
            return False
        cut.append(path)
        answer.send_response(200)
        for name, value in {
            "Content-Length": str(len(content)),
            "X-Repo-Commit": COMMIT,
            "ETag": '"x"',
        }.items():
            answer.send_header(name, value)
        answer.end_headers()
        half = content[: len(content) // 2]
        for start in range(0, len(half), len(half) // 5):
            answer.wfile.write(half[start : start + len(half) // 5])
            answer.wfile.flush()
            time.sleep(0.15)
        answer.close_connection = True
        return True

    hub.trouble = slow
    ended, said = measure()
    assert cut
    assert ended == 0, said
    assert f"Downloading model.safetensors of {ID}, " in said
    assert said.count(f"Downloading model.safetensors of {ID}") < 12
    assert any("%)" in line for line in said.splitlines() if "Downloading model.safetensors" in line)


def test_a_cache_that_cannot_be_written_names_hf_home(measure, tmp_path):
    (tmp_path / "file").write_text("")
    ended, said = measure(home=tmp_path / "file" / "hf")
    assert ended == 2
    assert "Set HF_HOME to a folder" in said
    assert str(tmp_path / "file" / "hf") in said


@pytest.mark.long
def test_both_spellings_of_a_revision_are_one_cell(measure, tmp_path):
    assert measure("--revisions", " step1 ")[0] == 0
    before = (tmp_path / "out" / "table.csv").read_text()
    ended, said = measure(model=f"{ID}@step1")
    assert ended == 0
    assert "0 cells measured in this run" in said
    assert (tmp_path / "out" / "table.csv").read_text() == before
    assert f"| {ID}@step1 " in said
    for revision in ("refs/pr/1", COMMIT):
        for words, model in ((("--revisions", revision), ID), ((), f"{ID}@{revision}")):
            ended, said = measure("--dry-run", *words, model=model)
            assert ended == 0, said
            assert f"| {ID}@{revision} " in said
            assert "1 cell, 1 of them measured already" in said
    (record,) = (tmp_path / "out" / "records").glob("*.json")
    ended, said = measure("--thresholds", record, model=f"{ID}@step1", command="heat")
    assert ended == 0, said
    written = json.loads((tmp_path / "out" / "token_heat.json").read_text())
    assert (written["model"], written["revision"], written["commit"]) == (ID, "step1", COMMIT)


def test_a_tokenizer_of_the_hub(measure, trained, tmp_path):
    bare = tmp_path / "run" / "checkpoint-3"
    shutil.copytree(trained, bare, ignore=lambda _, names: {one for one in names if "token" in one})
    ended, said = measure("--tokenizer", f"{ID}@step1", model=str(bare))
    assert ended == 0, said
    assert f"The tokenizer is that of {ID}@step1 at commit {COMMIT}, as --tokenizer asks" in said
    ended, said = measure("--tokenizer", trained, "--dry-run", model=str(bare))
    assert "1 of them measured already" in said
    ended, said = measure("--tokenizer", f"{ID}@nowhere", model=str(bare))
    assert ended == 2
    assert f"{ID} has no revision nowhere" in said


def test_a_model_of_the_hub_without_a_tokenizer_is_told_as_that(hub, measure, trained, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(trained, bare, ignore=lambda _, names: {one for one in names if "token" in one})
    hub.commits["d" * 40], hub.refs["bare"] = bare, "d" * 40
    ended, said = measure(model=f"{ID}@bare")
    assert ended == 2
    assert f"There is no tokenizer in {ID}@bare" in said
    assert "--tokenizer" in said


def test_a_revision_that_is_not_there_names_it(measure):
    ended, said = measure(model=f"{ID}@nowhere")
    assert ended == 2
    assert f"{ID} has no revision nowhere" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--revisions", "step1,,main"), "empty"),
        (("--revisions", "step1,"), "empty"),
        (("--revisions", " "), "empty"),
        (("--revisions", ""), "empty"),
        (("--revisions", "step1, step1"), "twice"),
    ],
)
def test_empty_names_of_revisions_are_refused(measure, words, told):
    ended, said = measure(*words)
    assert ended == 2
    assert told in said


def test_revisions_and_models_of_a_config(measure, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("revisions: step1, main\n")
    ended, said = measure("--dry-run", "--config", config)
    assert ended == 0, said
    assert f"| {ID}@step1 " in said
    assert f"| {ID}@main " in said
    config.write_text("revisions: [step1, main]\n")
    ended, said = measure("--dry-run", "--config", config)
    assert ended == 2
    assert "revisions in" in said
    assert "commas" in said


def test_two_revisions_of_one_model_are_a_conflict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make in (
        lambda: expand(["acme/tiny@step1"], revisions=["step2"]),
        lambda: Source.of("acme/tiny@step1", "step1"),
    ):
        with pytest.raises(
            SparsityLabError, match=r"acme/tiny@step1 names its revision, and step. was given as well"
        ):
            make()
    with pytest.raises(SparsityLabError, match="names no revision after the @"):
        Source.of("acme/tiny@")
    with pytest.raises(SparsityLabError, match="is empty"):
        Source.of("acme/tiny", " ")


def test_the_place_of_a_recorded_model_may_name_another_revision():
    body = {"model": ID, "revision": "step1", "commit": COMMIT}
    assert source_of(body, [], models=1) == Source(ID, "step1", COMMIT)
    assert source_of(body, ["acme/tiny@step2"], models=2) == Source(ID, "step2")
    assert source_of(body, ["other/tiny"], models=2) == Source("other/tiny", "step1")


def test_what_lies_at_the_very_path_wins(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "acme" / "tiny@step1")
    (checkpoint,) = expand(["acme/tiny@step1"])
    assert checkpoint.source == Source("acme/tiny@step1")
    assert split("acme/tiny@step2") == ("acme/tiny", "step2")
    shutil.copytree(trained, tmp_path / "acme" / "tiny")
    for word, revision in (
        ("acme/tiny@step2", None),
        ("acme/tiny", "step2"),
        ("acme/*", "step2"),
        ("acme", "main"),
    ):
        with pytest.raises(SparsityLabError, match="is local and has no revisions"):
            expand([word], revisions=[revision] if revision else [])
    assert split("model@v1.gguf") == ("model@v1.gguf", None)
    assert split("./acme/tiny@1") == ("./acme/tiny@1", None)
    assert split("a/b/c@1") == ("a/b/c@1", None)


def test_a_data_set_without_room_in_the_cache_names_hf_home(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "file").write_text("")
    words = {"data_files": str(tmp_path / "rows.jsonl"), "cache_dir": str(tmp_path / "file" / "cache")}
    with (
        pytest.raises(SparsityLabError, match=r"cannot load the data of one.*Set HF_HOME"),
        explained(["one"]),
    ):
        datasets.load_dataset("json", **words)
    with pytest.raises(SparsityLabError, match="Check dataset_path"), explained(["one"]):
        (tmp_path / "missing.jsonl").read_text()


def test_a_gguf_file_is_named_itself(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    for load in (load_config, load_text_tokenizer):
        with pytest.raises(SparsityLabError) as caught:
            load(Source(str(path)))
        assert str(path) in str(caught.value)
        assert caught.value.fix in (
            GGUF_FIX,
            "Install it: pip install gguf",
        )  # earlier versions need that package
