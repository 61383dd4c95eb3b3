"""Temporary files: a killed writer's are removed by the next, a living one's are left alone."""

import fcntl
import os
import signal
import stat
import subprocess
import sys

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store import records, whole_files

# Stops for good where its file would be flushed to the disk: written, and not yet renamed.
WRITE = (
    "import os, sys, time\n"
    "from pathlib import Path\n"
    "from sparsity_lab.store import whole_files\n"
    "def flush(handle):\n"
    "    print('there', flush=True)\n"
    "    time.sleep(600)\n"
    "os.fsync = flush\n"
    "whole_files.write_text(Path(sys.argv[1]), 'from the other')\n"
)


@pytest.fixture
def writer(tmp_path):
    """A process that stands in the midst of writing `a.json`."""
    job = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "a.json")], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "there\n"
    yield job
    job.kill()
    job.wait()
    job.stdout.close()


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    """As a process that has written nothing yet."""
    monkeypatch.setattr(whole_files, "_cleared", set())


def test_a_living_writer_keeps_its_file_and_a_killed_one_does_not(tmp_path, writer):
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".a.json-")
    assert left.endswith(".partial")
    whole_files.write_text(tmp_path / "b.json", "b")
    whole_files.probe(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([left, "b.json"]), "somebody writes it"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    whole_files.probe(tmp_path)
    assert os.listdir(tmp_path) == ["b.json"]


def test_the_first_write_into_a_folder_clears_it(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(os.listdir(tmp_path)) == 1
    whole_files.write_text(tmp_path / "b.json", "b")
    assert os.listdir(tmp_path) == ["b.json"]


@pytest.mark.parametrize("name", [".my-settings", ".train.bin.partial", "a-abcdefgh.partial", ".gitignore"])
def test_files_of_others_stay(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    whole_files.probe(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_a_writer_robbed_of_its_file_writes_again(tmp_path, monkeypatch):
    """Where locks of other machines are not seen, a living file may be removed: nothing is lost by it."""
    robbed = []

    def rob(handle, _):
        if not robbed:
            robbed.extend(tmp_path.iterdir())
            robbed[0].unlink()

    monkeypatch.setattr(fcntl, "flock", rob)
    whole_files.write_text(tmp_path / "a.json", "whole")
    assert robbed
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "whole"


def test_text_with_bytes_that_are_not_utf8_is_escaped(tmp_path):
    whole_files.write_text(tmp_path / "a.json", '{"name": "caf\udce9"}')
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{"name": "caf\\udce9"}'


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        whole_files.write_text(tmp_path / "a.json", "x")
    assert not os.listdir(tmp_path)


@pytest.fixture(params=[0o022, 0o002, 0o077, 0o027], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_umask_is_heeded(tmp_path, umask):
    """Files and folders have the mode that any program's would have."""
    plain, folder = tmp_path / "plain", tmp_path / "folder"
    plain.touch()
    folder.mkdir()
    whole_files.write_text(tmp_path / "deep" / "a.txt", "a")
    written = tmp_path / "deep"
    assert stat.S_IMODE((written / "a.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode)


def test_a_folder_of_a_group_stays_that_groups(tmp_path, umask):
    tmp_path.chmod(0o2775)
    whole_files.write_text(tmp_path / "deep" / "a.txt", "a")
    assert (tmp_path / "deep").stat().st_mode & stat.S_ISGID
    assert (tmp_path / "deep" / "a.txt").stat().st_gid == tmp_path.stat().st_gid


def test_what_lies_in_the_way_is_told_as_that(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="Move away the folder that lies there"):
        whole_files.write_text(tmp_path / "folder", "text")
    with pytest.raises(SparsityLabError, match="A file lies where a folder is needed"):
        whole_files.write_text(tmp_path / "file" / "a.json", "text")
    with pytest.raises(SparsityLabError, match="A file lies where a folder is needed"):
        records.prepare_output(tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_limit_on_the_size_of_files_is_told_as_that(tmp_path):
    limit = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "import sys; from pathlib import Path; from sparsity_lab.store import whole_files\n"
        "whole_files.write_text(Path(sys.argv[1]), 'x' * 4096)"
    )
    done = subprocess.run(
        [sys.executable, "-c", limit, str(tmp_path / "a.json")], capture_output=True, text=True, check=False
    )
    assert "Raise the limit on the size of a file" in done.stderr
    assert not list(tmp_path.iterdir())
