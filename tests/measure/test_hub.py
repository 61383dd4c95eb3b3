"""Checkpoints of the Hub: a name is the commit it means today, over a Hub on this machine and from the cache alone."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sparsity_lab.store.records import iter_records
from tests.measure.hub_server import ID

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "a" * 40, "b" * 40
ASKED = ("--tokens", 1024, "--window", 64, "--knob", 0.1)


def other(folder, copy):
    """A checkpoint of the same shape with other weights."""
    shutil.copytree(folder, copy)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "up_proj" in name:
            weights[name] = weights[name] * 1.2
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.fixture(scope="module")
def commits(trained, tmp_path_factory):
    return {FIRST: trained, SECOND: other(trained, tmp_path_factory.mktemp("second") / "tiny")}


@pytest.fixture
def hub(hub_server, commits):
    """A Hub whose branch main is the first commit."""
    hub_server.reset(commits, {"main": FIRST, "step1": FIRST, "step2": SECOND})
    return hub_server


@pytest.fixture
def measure(hub, asker, source_text, tmp_path):
    """`sparsity-lab measure` of the Hub's model; what it printed, and its rows."""

    def run(*words, output="out", code=0, **environment):
        asked = ["measure", ID, "--text", source_text, *ASKED, *words, "--output", tmp_path / output]
        ended, said = (
            alone(asked, environment)
            if environment or "--offline" in words  # which libraries read when they are imported
            else asker(asked, tmp_path / "hf")
        )
        assert ended == code, said
        if code:
            return said, []
        with (tmp_path / output / "table.csv").open(encoding="utf-8") as stream:
            return said, list(csv.DictReader(stream))

    def alone(asked, environment):
        done = subprocess.run(
            [sys.executable, "-m", "sparsity_lab", *map(str, asked)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"),
                 "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": "",
                 "no_proxy": "127.0.0.1", **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def answer(row):
    return {key: row[key] for key in ("activation_ratio", "ppl_dense")}


@pytest.mark.long
def test_a_branch_that_moves_is_another_model(hub, measure, tmp_path):
    said, (before,) = measure()
    assert "| acme/tiny " in said
    assert before["commit"] == FIRST
    assert hub.paths().count(f"/api/models/{ID}") == 1, "looked up once a run"
    hub.refs["main"] = SECOND
    said, (after,) = measure()
    assert (after["model"], after["revision"], after["commit"]) == (ID, "", SECOND)
    assert "measured before" not in said
    assert answer(after) != answer(before)
    assert {record["commit"] for record in iter_records(tmp_path / "out" / "records")} == {FIRST, SECOND}
    hub.refs["main"] = FIRST
    said, (again,) = measure()
    assert "measured before" in said
    assert answer(again) == answer(before)


@pytest.mark.slow
def test_revisions_are_spelled_with_their_model_and_equal_ones_say_so(measure):
    said, rows = measure("--revisions", f"main,step1,step2,{FIRST}")
    assert [row["commit"] for row in rows] == [FIRST, FIRST, SECOND, FIRST]
    assert [row["revision"] for row in rows] == ["main", "step1", "step2", FIRST]
    for name in (f"{ID}@main", f"{ID}@step1", f"{ID}@step2", f"{ID}@{FIRST}"):
        assert f"| {name} " in said
    assert f"{ID}@main holds the same bytes as {ID}@step1, {ID}@{FIRST}" in said
    assert [row["equal_to"] for row in rows][2] == ""
    assert answer(rows[0]) == answer(rows[1]) != answer(rows[2])


@pytest.mark.slow
def test_without_the_hub_the_cache_says_the_commit(hub, measure, tmp_path):
    _, (before,) = measure()
    _, (second,) = measure("--revisions", "step2")
    said, (after,) = measure("--offline", output="offline")
    assert after["commit"] == FIRST
    assert answer(after) == answer(before)
    (ref,) = (tmp_path / "hf").rglob("refs/main")
    ref.write_text(SECOND)
    _, (moved,) = measure("--offline", output="offline")
    assert (moved["commit"], answer(moved)) == (SECOND, answer(second))
    said, (unreached,) = measure(output="unreached", HF_ENDPOINT="http://127.0.0.1:9")
    assert "; its commit is that of this machine's cache" in said
    assert unreached["commit"] == SECOND


@pytest.mark.thorough(1)
@pytest.mark.parametrize(
    ("words", "environment"),
    [(("--offline",), {}), (("--revisions", "nowhere"), {}), ((), {"HF_ENDPOINT": "http://127.0.0.1:9"})],
    ids=["not in the cache", "no such revision", "no Hub"],
)
@pytest.mark.long
def test_what_nobody_knows_is_refused(measure, words, environment, tmp_path):
    said, _ = measure(*words, code=2, **environment)
    assert ID in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_revision_that_nobody_knows_does_not_stop_the_others(measure, tmp_path):
    said, _ = measure("--revisions", "step1,nowhere,step2", code=1)
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["revision"] for row in rows] == ["step1", "nowhere", "step2"]
    assert [bool(row["failed"]) for row in rows] == [False, True, False]
    assert f"  {ID}@nowhere: {ID} has no revision nowhere" in said
    assert "1 of 3 checkpoints failed" in said
    assert f"| {ID}@nowhere " in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_an_adapter_on_the_hub_is_refused(hub, measure, commits, tmp_path):
    both = shutil.copytree(commits[FIRST], tmp_path / "both")
    (both / "adapter_config.json").write_text("{}")
    hub.commits[FIRST] = both
    said, _ = measure(code=2)
    assert f"{ID} holds an adapter, adapter_config.json" in said
