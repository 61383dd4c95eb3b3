"""What is asked of the Hub and what becomes of its answers: revisions, the cache, tokens, limits, lost connections."""

import csv
import json
import logging
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsity_lab.measure.checkpoint.hub import asking
from sparsity_lab.store.records import iter_records
from tests.at_hand import at_hand
from tests.measure.hub_server import CHUNK, ID, cutting, gone, refusing

MODEL, TEXT = at_hand("models/stories260K"), at_hand("text/stories260K_selfgen.txt")
FIRST, SECOND, SHARDED, PICKLED, TOKENIZER, OTHER_TOKENIZER = (letter * 40 for letter in "abcdef")
ONE, TWO = ("--revisions", "step1000"), ("--revisions", "step1000,step2000")
NOT_NEEDED = (
    "pytorch_model.bin", "model.fp16.safetensors", "consolidated.00.pth", "original/model.safetensors",
    "onnx/model.onnx", "README.md",
)  # fmt: skip
SHARDS = 3
HUNG_S = 600  # what a Hub takes that never answers
AFTER = 100_000  # bytes, of about a million
API = f"/api/models/{ID}"
TASK = """
task: stories
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{ctx}}}}"
doc_to_target: " {{{{target}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
MEMBER, STRANGER, INVALID = "hf_member", "hf_stranger", "hf_invalid"


@pytest.fixture(scope="module")
def commits(tmp_path_factory):
    """Folders by commit: two steps of a model, one in shards, one with pickled weights alone, and two tokenizers."""
    root = tmp_path_factory.mktemp("commits")
    folders = {commit: shutil.copytree(MODEL, root / commit[0]) for commit in
               (FIRST, SECOND, SHARDED, PICKLED, TOKENIZER, OTHER_TOKENIZER)}  # fmt: skip
    weights = load_file(MODEL / "model.safetensors")
    moved = {name: value * 1.2 if "up_proj" in name else value for name, value in weights.items()}
    save_file(moved, folders[SECOND] / "model.safetensors", metadata={"format": "pt"})
    for commit in (FIRST, SECOND):
        for name in NOT_NEEDED:
            (folders[commit] / name).parent.mkdir(exist_ok=True)
            (folders[commit] / name).write_bytes(b"not needed")
    for commit in (SHARDED, PICKLED, TOKENIZER, OTHER_TOKENIZER):
        (folders[commit] / "model.safetensors").unlink()
    where = {name: f"model-{i % SHARDS + 1:05}-of-{SHARDS:05}.safetensors" for i, name in enumerate(weights)}
    for file in set(where.values()):
        part = {name: weights[name] for name in weights if where[name] == file}
        save_file(part, folders[SHARDED] / file, metadata={"format": "pt"})
    (folders[SHARDED] / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": where})
    )
    torch.save(weights, folders[PICKLED] / "pytorch_model.bin")
    other = json.loads((MODEL / "tokenizer.json").read_text())
    other["model"]["merges"] = other["model"]["merges"][:-50]
    (folders[OTHER_TOKENIZER] / "tokenizer.json").write_text(json.dumps(other))
    return folders


@pytest.fixture
def hub(hub_server, commits):
    """A Hub with two repositories, of a model and of a tokenizer; well again afterwards."""
    hub_server.reset(commits, {"main": FIRST, "step1000": FIRST, "step2000": SECOND, "sharded": SHARDED,
                               "pickled": PICKLED})  # fmt: skip
    hub_server.tags = {"step1000", "step2000"}
    hub_server.repositories["acme/tok"] = {"main": TOKENIZER, "v2": OTHER_TOKENIZER}
    hub_server.members, hub_server.known = {MEMBER}, {MEMBER, STRANGER}
    yield hub_server
    hub_server.trouble = None


@pytest.fixture
def ask(hub, asker, offline_asker, tmp_path):
    """A command on a model of the Hub: its exit code and all that it said. What was asked before is forgotten."""

    def run(*words, model=ID, output="out", offline=False, token=None, command="measure", code=0):
        hub.asked.clear()
        text = [] if command == "eval" else ["--text", TEXT]
        words = [command, model, *text, *words, "--output", tmp_path / output]
        words += ["--knob", 0.1, "--window", 64, "--tokens", 512] if command == "measure" else []
        process = offline_asker if offline else asker
        ended, said = process(words, tmp_path / "hf", {} if token is None else {"HF_TOKEN": token})
        assert ended == code, said
        assert "Traceback" not in said
        assert code != 2 or said.count("Error:") == 1
        return said

    return run


def rows(folder):
    with (folder / "table.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def brought(hub):
    """Files whose content was sent, COMMIT/NAME, in order."""
    places = "/storage/", f"/api/resolve-cache/models/{ID}/"
    return [
        path.removeprefix(place) for path in hub.paths("GET") for place in places if path.startswith(place)
    ]


@pytest.mark.long
def test_two_revisions_bring_what_they_need_once(hub, ask, tmp_path):
    ask(*TWO)
    assert [(row["revision"], row["commit"]) for row in rows(tmp_path / "out")] == [
        ("step1000", FIRST), ("step2000", SECOND)
    ]  # fmt: skip
    assert {record["commit"] for record in iter_records(tmp_path / "out" / "records")} == {FIRST, SECOND}
    assert sorted(brought(hub)) == [
        f"{FIRST}/config.json", f"{FIRST}/model.safetensors", f"{FIRST}/tokenizer.json",
        f"{FIRST}/tokenizer_config.json", f"{SECOND}/model.safetensors",
    ], "nothing else, and of the second revision what has changed"  # fmt: skip
    ask(*TWO)
    assert brought(hub) == []


@pytest.mark.long
def test_the_cache_is_enough_offline_and_without_an_answer(hub, ask, tmp_path):
    ask(*TWO)
    before = rows(tmp_path / "out")
    keys = {path.name for path in (tmp_path / "out" / "records").iterdir()}
    said = ask(*TWO, offline=True)
    assert hub.asked == []
    assert said.count("measured before") == 2
    assert rows(tmp_path / "out") == before
    ask(*TWO, offline=True, output="again")
    assert hub.asked == []
    assert {path.name for path in (tmp_path / "again" / "records").iterdir()} == keys
    again = rows(tmp_path / "again")
    assert [row["activation_ratio"] for row in again] == [row["activation_ratio"] for row in before]
    hub.trouble = gone
    said = ask(*TWO)
    assert len(hub.asked) <= 2, "one question a revision"
    assert said.count("measured before") == 2
    assert rows(tmp_path / "out") == before


@pytest.mark.long
def test_a_branch_that_moves_is_measured_again_and_told_apart(hub, ask, tmp_path):
    ask()
    hub.refs["main"] = SECOND
    said = ask()
    assert "measured before" not in said
    assert [row["commit"] for row in rows(tmp_path / "out")] == [SECOND]
    records = {
        record["commit"]: record["activation_ratio"] for record in iter_records(tmp_path / "out" / "records")
    }
    assert set(records) == {FIRST, SECOND}
    assert records[FIRST] != records[SECOND]
    assert "measured before" in ask(offline=True), "the cache has learnt what the branch means now"
    assert [row["commit"] for row in rows(tmp_path / "out")] == [SECOND]


@pytest.mark.parametrize(("token", "ends"), [(None, 2), (STRANGER, 2), (INVALID, 2), (MEMBER, 0)])
def test_a_gated_model_is_for_those_who_were_let_in(hub, ask, token, ends):
    hub.gated.add(ID)
    said = ask(token=token, code=ends)
    if ends:
        assert len(hub.asked) <= 2
        assert "HF_TOKEN" in said
        assert (f"{hub.url}/{ID}" in said) == (token != INVALID)
    assert {one.token for one in hub.asked} == {token, *([None] if ends == 0 else [])}
    assert all(one.token is None for one in hub.asked if one.path.startswith("/storage/"))


@pytest.mark.parametrize("token", [None, STRANGER])
def test_a_missing_repository_is_known_by_one_question(hub, ask, token):
    said = ask(model="acme/nothing", token=token, code=2)
    assert "acme/nothing" in said
    assert len(hub.asked) == 1


def test_a_missing_revision_is_told_with_those_that_are_most_like_it(hub, ask, tmp_path):
    hub.refs.update({f"step{number}000": FIRST for number in range(3, 150)})
    said = ask("--revisions", "step1430000", code=2)
    assert len(hub.asked) == 2
    named = [word for word in said.replace(",", " ").split() if word in hub.refs]
    assert "step143000" in named
    assert len(named) <= asking.MOST_REVISIONS
    said = ask("--revisions", "sharded,nowhere", code=1)
    assert [bool(row["failed"]) for row in rows(tmp_path / "out")] == [False, True]


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "1"}, {"RateLimit": '"api";r=0;t=1', "Retry-After": "3600"}],
    ids=["after", "limit"],
)
@pytest.mark.long
def test_a_hub_that_asks_to_wait_is_waited_for(hub, ask, headers):
    hub.trouble = refusing(1, to=API, code=429, headers=headers)
    began = time.monotonic()
    ask("--dry-run")
    assert time.monotonic() - began >= 1
    assert hub.paths().count(API) == 2


def test_a_hub_that_asks_for_an_hour_is_given_up_at_once(hub, ask):
    hub.trouble = refusing(-1, to=API, code=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    said = ask("--dry-run", code=2)
    assert time.monotonic() - began < 30
    assert "3600 s" in said
    assert len(hub.asked) == 1


@pytest.mark.parametrize("code", [403, 404, 418])
def test_a_refusal_is_not_asked_for_again(hub, ask, code):
    hub.trouble = refusing(-1, to=API, code=code)
    assert str(code) in ask("--dry-run", code=2)
    assert len(hub.asked) == 1


@pytest.mark.slow
def test_files_that_are_limited_for_ever_are_given_up(hub, ask):
    hub.trouble = refusing(-1, to="/storage/", code=429, headers={"Retry-After": "0"})
    assert "429" in ask(code=2)
    assert sum(path.startswith("/storage/") for path in hub.paths("GET")) <= 6


@pytest.mark.slow
def test_a_hub_that_falls_silent_in_the_middle_does_not_hold_a_run(hub, ask):
    ask("--dry-run")
    over = threading.Event()
    hub.trouble = lambda answer, path: bool(hub.asked[1:]) and (over.wait(HUNG_S) or True)
    began = time.monotonic()
    try:
        assert hub.url in ask("--dry-run", code=2)
        assert time.monotonic() - began < HUNG_S / 2
    finally:
        over.set()


@pytest.mark.long
def test_of_a_download_that_was_cut_only_the_rest_is_brought(hub, ask, tmp_path):
    hub.trouble = cutting(1, after=AFTER)
    ask()
    assert [one.range for one in hub.asked if one.path.startswith("/storage/")] == [
        None,
        f"bytes={AFTER // CHUNK * CHUNK}-",
    ]
    ((blob,),) = ([path.resolve() for path in (tmp_path / "hf").rglob("model.safetensors")],)
    assert blob.read_bytes() == (MODEL / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("times", "ends"), [(1, 0), (-1, 2)])
@pytest.mark.long
def test_a_connection_that_is_reset_is_tried_again_but_not_for_ever(hub, ask, times, ends, tmp_path):
    hub.trouble = cutting(times, after=AFTER, reset=True)
    ask(code=ends)
    sent = [path for path in hub.paths("GET") if path.startswith("/storage/")]
    assert len(sent) == (2 if ends == 0 else 1 + len(asking.AGAIN_S))
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


@pytest.mark.long
def test_shards_are_the_whole_model_and_a_missing_one_is_named_offline(hub, ask, tmp_path):
    ask("--revisions", "step1000,sharded")
    whole, sharded = rows(tmp_path / "out")
    assert (sharded["commit"], sharded["activation_ratio"]) == (SHARDED, whole["activation_ratio"])
    lost = f"model-00002-of-{SHARDS:05}.safetensors"
    (link,) = (tmp_path / "hf").rglob(lost)
    link.resolve().unlink()
    link.unlink()
    said = ask("--revisions", "sharded", offline=True, output="offline", code=2)
    assert lost in said
    assert hub.asked == []
    ask("--revisions", "sharded", output="again")
    assert brought(hub) == [f"{SHARDED}/{lost}"]


def test_a_model_whose_weights_were_never_brought_is_refused_offline(hub, ask, tmp_path):
    ask("--dry-run")
    said = ask(offline=True, code=2)
    assert "cache" in said
    said = ask("--revisions", "step2000", offline=True, code=2)
    assert "main" in said, "the revision that the cache has"
    ask(model="acme/nothing", offline=True, code=2)
    assert hub.asked == []


def test_pickled_weights_are_not_brought(hub, ask):
    ask("--revisions", "pickled", code=2)
    assert not [name for name in brought(hub) if name.endswith(".bin")]


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {"a": 1}}', "[]", "<html>"])
def test_an_index_that_names_no_files_is_refused(hub, ask, commits, tmp_path, content):
    broken = shutil.copytree(commits[SHARDED], tmp_path / "broken")
    (broken / "model.safetensors.index.json").write_text(content)
    hub.commits["9" * 40], hub.refs["broken"] = broken, "9" * 40
    assert "model.safetensors.index.json" in ask("--revisions", "broken", code=2)


def test_a_repository_without_a_config_is_told_as_that(hub, ask, tmp_path):
    bare = tmp_path / "gguf"
    bare.mkdir()
    (bare / "model.Q4_K_M.gguf").write_bytes(b"GGUF")
    hub.commits["9" * 40], hub.refs["gguf"] = bare, "9" * 40
    assert "config.json" in ask("--revisions", "gguf", code=2)
    assert brought(hub) == []


@pytest.mark.long
def test_a_tokenizer_of_another_repository_at_its_revision(hub, ask, tmp_path):
    ask("--tokenizer", "acme/tok")
    assert "measured before" not in ask("--tokenizer", "acme/tok@v2"), "it may read the text otherwise"
    assert [one for one in hub.asked if OTHER_TOKENIZER in one.path]
    assert "measured before" in ask("--tokenizer", "acme/tok")
    assert "v2" in ask("--tokenizer", "acme/tok@v3", code=2)
    ask("--tokenizer", "acme/nothing", code=2)
    assert "measured before" in ask("--tokenizer", "acme/tok@v2", offline=True)
    assert hub.asked == []
    assert len(list((tmp_path / "out" / "records").iterdir())) == 2


@pytest.mark.slow
def test_thresholds_of_a_folder_are_those_of_the_commit(hub, ask, tmp_path):
    ask(*ONE)
    words = ("--thresholds", tmp_path / "out", "--tokens", 4096)
    ask(*ONE, *words, command="neurons", output="neurons")
    hub.refs["step1000"] = SECOND
    said = ask(*ONE, *words, command="neurons", output="neurons", code=2)
    assert FIRST in said, "the record's"
    assert SECOND in said, "and what the revision means now"
    ask("--revisions", "step2000")
    ask(*ONE, *words, command="neurons", output="neurons")
    records = iter_records(tmp_path / "neurons" / "neuron_records")
    assert {(record["revision"], record["commit"]) for record in records} == {
        ("step1000", FIRST), ("step1000", SECOND)
    }  # fmt: skip


@pytest.mark.slow
def test_a_model_of_the_hub_is_evaluated_at_its_commit(hub, ask, tmp_path):
    ask(*TWO)
    rows_of_task = [{"ctx": "Once upon a", "target": word} for word in ("time", "day", "hill")]
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows_of_task)))
    (folder / "task.yaml").write_text(TASK.format(data=folder / "data.jsonl"))
    words = ("--tasks", "stories", "--include-path", folder, "--thresholds", tmp_path / "out")
    ask(*TWO, *words, command="eval", output="eval")
    assert brought(hub) == []
    named = {("step1000", FIRST), ("step2000", SECOND)}
    evaluated = list(iter_records(tmp_path / "eval" / "eval_records"))
    assert {(record["revision"], record["commit"]) for record in evaluated} == named
    written = [json.loads(path.read_text())["config"] for path in (tmp_path / "eval").rglob("results_*.json")]
    assert {(config["model_args"]["revision"], config["model_sha"]) for config in written} == named
    ask(*TWO, *words, command="eval", output="offline", offline=True)
    assert hub.asked == []
    offline = iter_records(tmp_path / "offline" / "eval_records")
    assert {record["content_key"] for record in offline} == {record["content_key"] for record in evaluated}
    ask(*ONE, *words, "--no-dense", command="eval", output="one")
    (alone,) = iter_records(tmp_path / "one" / "eval_records")
    assert alone["content_key"] in {record["content_key"] for record in evaluated}
    assert "step2000" in ask("--revisions", "step3000", *words, command="eval", output="missing", code=2)


@pytest.mark.parametrize("total", [None, 1000])
def test_a_file_in_shared_parts_is_counted_once(caplog, total):
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    class Report:
        """As of hf_xet, in the middle of a file."""

        total_bytes = total_bytes_completed = total_transfer_bytes_completed = 1000
        total_bytes_completion_rate = total_transfer_bytes_completion_rate = None

    caplog.set_level(logging.INFO, logger="sparsity_lab")
    lines = asking._lines(f"model.safetensors of {ID}")
    with XetDownloadProgressReporter(
        reconstruction_desc="", total=total, log_level=logging.INFO, tqdm_class=lines
    ) as reporter:
        reporter.update_progress(Report())
        assert reporter.reconstruction_bar.done == 1000
    assert sum("Downloading" in message for message in caplog.messages) == 1
