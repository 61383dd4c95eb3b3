"""Datasets of a Hub on this machine: which commit, what is read of their files, the cache, and refusals."""

import json
import os
import subprocess
import sys

import datasets
import numpy as np
import pytest
from pyarrow import parquet

from tests.command import ROOT, process, run
from tests.measure.hub_server import DatasetAnswers, Hub, asking, serving

FIRST, SECOND = "a" * 40, "b" * 40
ID, HIDDEN = "acme/corpus", "acme/gated"
README = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: train/*.parquet
  - split: validation
    path: validation.parquet
- config_name: other
  data_files: train/*.parquet
---
"""
FEW = ("--knob", "0.2", "--tokens", "256", "--window", "32")
HOW = ("--knob", "0.2", "--tokens", "512", "--window", "32")


@pytest.fixture(scope="module")
def commits(sources, tmp_path_factory):
    """Two commits of a dataset; the second has other texts."""
    folders = {}
    for number, commit in enumerate((FIRST, SECOND)):
        folder = tmp_path_factory.mktemp(commit[0])
        begins = np.random.default_rng(number).integers(0, 350_000, 600)
        rows = [sources[begin : begin + 3000] for begin in begins]
        rows += [
            " ".join(np.random.default_rng(n).permutation(row.split())) for n in range(9) for row in rows
        ]
        made = datasets.Dataset.from_dict({"text": rows})
        (folder / "train").mkdir()
        made.select(range(3)).to_parquet(str(folder / "train" / "0.parquet"))
        parquet.write_table(made.data.table, folder / "validation.parquet", row_group_size=20)
        (folder / "README.md").write_text(README)
        folders[commit] = folder
    return folders


@pytest.fixture(scope="module")
def server():
    hub = Hub()
    hub.RequestHandlerClass = DatasetAnswers
    with serving(hub):
        yield hub


@pytest.fixture
def hub(server, commits):
    server.reset(commits, {})
    server.repositories = {ID: {"main": FIRST, "later": SECOND}, HIDDEN: {"main": FIRST}}
    server.gated, server.bytes_given = {HIDDEN}, 0
    return server


@pytest.fixture(scope="module")
def ask(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with asking(server, HF_HOME=str(home), HF_DATASETS_CACHE=str(home / "datasets")) as asked:
        asked.datasets = str(home / "datasets")
        yield asked


def record_in(output):
    (path,) = (output / "records").glob("*.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_what_is_small_is_brought_once_and_read_offline_afterwards(hub, ask, trained, commits, tmp_path):
    words = ["measure", str(trained), "--dataset", f"{ID}:en:validation", *HOW]
    code, said = ask([*words, "--output", str(tmp_path / "a")], tmp_path / "home")
    assert code == 0, said
    first = record_in(tmp_path / "a")
    source = first["text_source"]
    assert (source["dataset"], source["config"], source["split"]) == (ID, "en", "validation")
    assert (source["revision"], source["documents"]) == (FIRST, 6000)
    local = ["measure", str(trained), "--text", str(commits[FIRST] / "validation.parquet"), *HOW]
    assert ask([*local, "--output", str(tmp_path / "b")], tmp_path / "home")[0] == 0
    assert record_in(tmp_path / "b")["text_sha256"] == first["text_sha256"]

    hub.asked.clear()
    apart = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
    apart["HF_DATASETS_CACHE"] = ask.datasets
    done = process(*words, "--offline", "--output", tmp_path / "c", environment=apart)
    assert done.returncode == 0, done.stderr
    assert not hub.asked
    again = record_in(tmp_path / "c")
    assert (again["text_sha256"], again["text_source"]["revision"]) == (first["text_sha256"], FIRST)


@pytest.mark.slow
def test_of_what_is_large_only_row_groups_with_windows_are_read(hub, trained, commits, tmp_path):
    script = (
        "import sys\nfrom sparsity_lab.cli.main import main\nfrom sparsity_lab.measure.sources import datasets\n"
        "datasets.SMALL_BYTES = 0\nmain(sys.argv[1:])\n"
    )
    words = [
        "measure",
        str(trained),
        "--dataset",
        f"{ID}:en:validation",
        *FEW,
        "--output",
        str(tmp_path / "a"),
    ]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, path = record_in(tmp_path / "a"), commits[FIRST] / "validation.parquet"
    assert found["text_source"]["revision"] == FIRST
    local = run("measure", trained, "--text", path, *FEW, "--output", tmp_path / "b")
    assert local.returncode == 0, local.stderr
    assert record_in(tmp_path / "b")["text_sha256"] == found["text_sha256"]
    assert 0 < hub.bytes_given < path.stat().st_size / 2


@pytest.mark.long
def test_a_revision_is_another_commit(hub, ask, trained, tmp_path):
    found = {}
    for revision in ("", "@later"):
        words = ["measure", str(trained), "--dataset", f"{ID}{revision}:en:validation", *HOW]
        code, said = ask([*words, "--output", str(tmp_path / f"r{revision}")], tmp_path / "home")
        assert code == 0, said
        found[revision] = record_in(tmp_path / f"r{revision}")
    assert [each["text_source"]["revision"] for each in found.values()] == [FIRST, SECOND]
    assert len({each["text_sha256"] for each in found.values()}) == 2


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (f"{ID}:en:test", "validation"),
        (f"{ID}:fr", "other"),
        (f"{ID}@nowhere:en:train", "nowhere"),
        (f"{HIDDEN}:en:validation", "gated"),
        ("acme/none:en", "acme/none"),
    ],
)
@pytest.mark.long
def test_what_the_hub_does_not_give_is_refused(dataset, told, hub, ask, trained, tmp_path):
    words = ["measure", str(trained), "--dataset", dataset, *HOW, "--output", str(tmp_path)]
    code, said = ask(words, tmp_path / "home")
    assert code == 2, said
    assert told in said
    assert "Traceback" not in said
