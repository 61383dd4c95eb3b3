"""Outputs behind URLs, with real stores of fsspec: in memory, and files that several processes see."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store import mirrors
from sparsity_lab.store.mirrors import Mirror, folder_of, mirrored, url_of

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402 - after fsspec was asked for


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path):
    """A URL and the folder behind it."""
    return f"file://{tmp_path}/there", tmp_path / "there"


def written(mirror, key, content="{}"):
    path = mirror.folder / "records" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("memory://a", "memory://a"),
        ("file:///tmp/a", "file:///tmp/a"),
        ("runs/a", None),
        ("/tmp/a", None),
        ("C:/a", None),
        (".", None),
    ],
)
def test_urls_survive_being_paths(given, url):
    assert url_of(Path(given)) == url


def test_what_is_sent_can_be_brought_elsewhere(store, monkeypatch, tmp_path):
    url, there = store
    first = Mirror(url)
    first.prepare()
    path = written(first, "abc", '{"a": 1}')
    path.with_suffix(".safetensors").write_bytes(b"weights")
    first.send("abc")
    assert sorted(one.name for one in (there / "records").iterdir()) == ["abc.json", "abc.safetensors"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    second = Mirror(url)
    assert second.folder != first.folder
    assert not second.bring("ab")
    assert second.bring("abc")
    assert (second.folder / "records" / "abc.json").read_text() == '{"a": 1}'
    assert (second.folder / "records" / "abc.safetensors").read_bytes() == b"weights"


def test_everything_but_claims_and_remains_is_sent_at_the_end(store):
    url, there = store
    with mirrored(Path(url)) as (folder, mirror):
        written(mirror, "abc")
        for name in ("table.csv", "records/abc.claim-0", "records/old.damaged", ".hidden", "plots/a.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    found = sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())
    assert found == ["plots/a.png", "records/abc.json", "table.csv"]


def test_what_was_written_is_sent_where_the_work_fails(store):
    url, there = store

    def fail():
        with mirrored(Path(url)) as (_, mirror):
            written(mirror, "abc")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert (there / "records" / "abc.json").exists()


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_one_at_a_time_holds_a_cell(store, scheme, tmp_path):
    url = store[0] if scheme == "file" else f"memory://{tmp_path.name}"
    one, other = Mirror(url), Mirror(url)
    one.prepare()
    with one.claimed("abc") as ours:
        assert ours
        with other.claimed("abc") as theirs:
            assert not theirs
        with other.claimed("def") as free:
            assert free
    with other.claimed("abc") as now:
        assert now
    assert not [path for path in one.store.find(one.root) if "claim" in path]


def test_a_claim_that_stands_still_runs_out_and_one_that_beats_does_not(store, monkeypatch):
    url, there = store
    monkeypatch.setattr(mirrors, "LIMIT_S", 0.6)
    monkeypatch.setattr(mirrors, "HEARTBEAT_S", 0.1)
    one, other = Mirror(url), Mirror(url)
    one.prepare()
    with one.claimed("abc"):
        for _ in range(5):
            with other.claimed("abc") as theirs:
                assert not theirs
            time.sleep(0.25)
    (there / "records" / "abc.claim").write_text('{"claim": "of a machine that is gone"}')
    began = time.monotonic()
    while True:
        with other.claimed("abc") as theirs:
            if theirs:
                break
        time.sleep(0.05)
    assert 0.5 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "says"),
    [("foo://bucket/a", "foo"), ("s3://bucket/a", "s3fs"), ("file:///proc/nothing/here", "/proc/nothing")],
)
def test_a_url_that_cannot_be_used_is_one_sentence(url, says):
    if url.startswith("s3") and find_spec("s3fs") is not None:
        pytest.skip("s3fs is installed")
    with pytest.raises(SparsityLabError) as caught, mirrored(Path(url)):
        pass
    assert says in str(caught.value)
    assert caught.value.fix


DRIVER = """
import sys
from pathlib import Path
from sparsity_lab.cli.main import main
main(sys.argv[1:])
"""


def drive(words, cache, **options):
    command = [sys.executable, "-c", DRIVER, *map(str, words)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_machines_share_a_store_and_a_third_finds_all_done(store, checkpoints, source_text, tmp_path):
    url, there = store
    words = [
        "--quiet",
        "measure",
        f"{checkpoints}/step-*",
        "--text",
        source_text,
        "--tokens",
        512,
        "--window",
        64,
    ]
    words += ["--device", "cpu", "--knob", 0.1, "--output", url]
    both = [drive(words, tmp_path / name) for name in ("one", "two")]
    ended = [(one.communicate(timeout=300), one.returncode) for one in both]
    assert [code for _, code in ended] == [0, 0], ended
    records = sorted((there / "records").glob("*.json"))
    assert len(records) == 4
    assert not list((there / "records").glob("*.claim*"))
    written = {path.name: path.stat().st_mtime_ns for path in records}
    for path in records:
        json.loads(path.read_text())
    assert f"Written to {url}" in ended[0][0][0]
    third = drive([*words, "--dry-run"], tmp_path / "three")
    said, _ = third.communicate(timeout=300)
    assert f"{4} of them measured already" in said
    assert (there / "table.csv").exists()
    assert (there / "activation_ratio.svg").exists() or list(there.glob("*.svg"))
    assert {path.name: path.stat().st_mtime_ns for path in records} == written
    assert folder_of(url) != there


class Buckets(MemoryFileSystem):
    """A store of buckets, which like that of S3 makes one where folders are made in it."""

    protocol = "buckets"
    store, pseudo_dirs, buckets = {}, [""], set()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("buckets:/"))

    def makedirs(self, path, exist_ok=False):
        self.buckets.add(self._strip_protocol(path).strip("/").partition("/")[0])

    def pipe_file(self, path, value, mode="overwrite", **named):
        if self._strip_protocol(path).strip("/").partition("/")[0] not in self.buckets:
            raise FileNotFoundError("The specified bucket does not exist")
        return super().pipe_file(path, value, mode=mode, **named)


def test_a_mistyped_bucket_is_never_made(tmp_path):
    fsspec.register_implementation("buckets", Buckets, clobber=True)
    Buckets.buckets.add("mine")
    with (
        pytest.raises(SparsityLabError, match=r"bucket does not exist.*none is made here"),
        mirrored(Path("buckets://mien/run")),
    ):
        pass
    assert Buckets.buckets == {"mine"}
    with mirrored(Path("buckets://mine/run")) as (_, mirror):
        written(mirror, "abc")
    assert [path for path in mirror.store.find("/mine") if path.endswith(".json")] == [
        "/mine/run/records/abc.json"
    ]


def test_what_was_deleted_in_a_store_does_not_come_back(store):
    url, there = store
    with mirrored(Path(url)) as (folder, mirror):
        written(mirror, "abc").with_suffix(".safetensors").write_bytes(b"weights")
        written(mirror, "kept")
        mirror.send("abc")
        (folder / "old.svg").write_text("drawn")
        (folder / "table.csv").write_text("a\n")
    for name in ("records/abc.json", "records/abc.safetensors", "old.svg", "table.csv"):
        (there / name).unlink()
    with mirrored(Path(url)) as (folder, _):
        assert not list(folder.rglob("abc*"))
        (folder / "table.csv").write_text("b\n")  # of this run
    found = sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())
    assert found == ["records/kept.json", "table.csv"]


def test_what_was_brought_and_then_deleted_does_not_come_back_either(store):
    url, there = store
    (there / "records").mkdir(parents=True)
    (there / "records" / "abc.json").write_text("{}")
    with mirrored(Path(url)) as (_, mirror):
        assert mirror.bring("abc")
    (there / "records" / "abc.json").unlink()
    with mirrored(Path(url)):
        pass
    assert not (there / "records" / "abc.json").exists()


def test_what_never_arrived_is_sent_by_the_next_run(store):
    url, there = store
    mirror = Mirror(url)
    mirror.prepare()
    written(mirror, "abc")  # and then the network was gone
    with mirrored(Path(url)):
        pass
    assert (there / "records" / "abc.json").exists()


def test_a_list_that_came_back_short_deletes_nothing(store, monkeypatch):
    url, _ = store
    with mirrored(Path(url)) as (folder, mirror):
        written(mirror, "abc")
    again = Mirror(url)
    monkeypatch.setattr(type(again.store), "find", lambda self, path, **_: [])
    again.prepare()
    assert (folder / "records" / "abc.json").exists()
