"""The short names against a Hub that holds their repositories' own layouts, file by file, with little in each."""

import gzip
import json
import os
import subprocess
import sys
from itertools import product

import pyarrow as pa
import pytest
from pyarrow import parquet

from sparsity_lab.reading.texts.dataset_name import SHORT_NAMES
from tests.measure.hub_server import ROOT, DatasetAnswers, Hub, asking, serving

HOW = ("--knob", "0.2", "--tokens", "512", "--window", "32")
WIKITEXT = [f"wikitext-{size}{kind}" for size, kind in product((2, 103), ("-raw-v1", "-v1"))]
SPLITS = ("train", "validation", "test")
# As the pages of the repositories have them; that of wikitext_document_level was not at hand, and its are the usual.
READMES = {
    "wikitext": "".join(
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: {name}/*-{split}.parquet\n" for split in SPLITS)
        for name in WIKITEXT
    ),
    "c4": "- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*.json.gz\n  - split: validation\n"
    "    path: en/c4-validation.*.json.gz\n",
    "fineweb-edu": "- config_name: default\n  data_files:\n  - split: train\n    path: data/*/*\n"
    "- config_name: sample-10BT\n  data_files:\n  - split: train\n    path: sample/10BT/*\n",
    "pile": "",
}


def table(column):
    return lambda path, rows: parquet.write_table(pa.table({column: rows}), path)


def lines(rows):
    return "".join(json.dumps({"text": row, "timestamp": "2019", "url": "-"}) + "\n" for row in rows).encode()


def zipped(path, rows):
    path.write_bytes(gzip.compress(lines(rows)))


def zstandard(path, rows):
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(lines(rows))


FILES = {
    "wikitext": ([f"{name}/{name}-{split}.parquet" for name in WIKITEXT for split in SPLITS], table("page")),
    "c4": ([*(f"en/c4-train.{n:05}-of-01024.json.gz" for n in range(1024)),
            *(f"en/c4-validation.{n:05}-of-00008.json.gz" for n in range(8))], zipped),
    "fineweb-edu": ([*(f"sample/10BT/{n:03}_00000.parquet" for n in range(14)),
                     "data/CC-MAIN-2024-10/train-00000-of-00020.parquet"], table("text")),
    "pile": (["val.jsonl.zst"], zstandard),
}  # fmt: skip
OTHERS = {"wikitext": {"wikitext_document_level.py.backup": "raise SystemExit"}}
ALL_OF = {"wikitext": 1, "c4": 8, "fineweb-edu": 14, "pile": 1}  # files of the split that the name stands for


@pytest.fixture(scope="module")
def documents(sources):
    return [sources[begin : begin + 1500] for begin in range(0, 120_000, 1500)]


@pytest.fixture(scope="module")
def hub(documents, tmp_path_factory):
    commits, repositories = {}, {}
    for number, (name, (files, write)) in enumerate(FILES.items()):
        folder, commit = tmp_path_factory.mktemp(name), str(number) * 40
        texts = {"README.md": f"---\nconfigs:\n{READMES[name]}---\n" if READMES[name] else "A backup.\n"}
        for path, text in {**texts, **OTHERS.get(name, {})}.items():
            (folder / path).write_text(text)
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write(folder / path, documents if "train." not in path else documents[:1])
        commits[commit], repositories[SHORT_NAMES[name].dataset] = folder, {"main": commit}
    server = Hub()
    server.RequestHandlerClass = DatasetAnswers
    with serving(server):
        server.reset(commits, {})
        server.repositories, server.bytes_given = repositories, 0
        yield server


def record_in(output):
    (path,) = (output / "records").glob("*.json")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def ask(hub, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with asking(hub, HF_HOME=str(home), HF_DATASETS_CACHE=str(home / "datasets")) as asked:
        yield lambda words: asked(words, home)


@pytest.mark.long
@pytest.mark.parametrize("name", ["wikitext", "pile"])
def test_a_short_name_is_measured_and_its_record_says_what_it_is(
    name, hub, ask, trained, documents, tmp_path
):
    code, said = ask(["measure", trained, "--dataset", name, *HOW, "--output", tmp_path / "named"])
    assert code == 0, said
    found, known = record_in(tmp_path / "named"), SHORT_NAMES[name]
    source = found["text_source"]
    assert (source["dataset"], source["split"], source["column"]) == (
        known.dataset,
        known.split,
        known.column,
    )
    assert {source["revision"]} == set(hub.repositories[known.dataset].values())
    assert (source["documents"], source["config"]) == (len(documents), known.config or "default")
    (tmp_path / "local.jsonl").write_bytes(lines(documents))
    assert (
        ask(["measure", trained, "--text", tmp_path / "local.jsonl", *HOW, "--output", tmp_path / "local"])[0]
        == 0
    )
    assert record_in(tmp_path / "local")["text_sha256"] == found["text_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c4", "fineweb-edu"])
def test_what_is_large_is_read_where_it_lies_in_few_requests(name, hub, trained, documents, tmp_path):
    script = (
        "import sys\nfrom sparsity_lab.cli.main import main\nfrom sparsity_lab.measure.sources import datasets\n"
        "datasets.SMALL_BYTES = 0\nmain(sys.argv[1:])\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip
    hub.asked.clear()
    words = [
        sys.executable,
        "-c",
        script,
        "measure",
        trained,
        "--dataset",
        name,
        *HOW,
        "--output",
        tmp_path / "out",
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    source, known = record_in(tmp_path / "out")["text_source"], SHORT_NAMES[name]
    assert (source["dataset"], source["config"], source["split"]) == known[:3]
    assert (source["files"], source["documents"]) == (ALL_OF[name], ALL_OF[name] * len(documents))
    assert len(hub.asked) < 200, "not one for each of a thousand files"
