"""Disks that are full, read-only or damaged: one sentence, nothing lost, and the same table once they are mended."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.faults.commands import fit
from tests.faults.soak import contents, undisturbed


def can_mount():
    """Whether a process may mount a file system of its own, which ends with it."""
    if shutil.which("unshare") is None:
        return False
    tried = "mount -t tmpfs -o size=64k tmpfs /mnt"
    return subprocess.run([*UNSHARE, "sh", "-c", tried], capture_output=True, check=False).returncode == 0


UNSHARE = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
mounting = pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")


OF_SERIES = (
    "knob_interval",
    "activation_ratio_se_with_knob",
    "activation_ratio_components_with_knob",
    "record_sha256",
)


@pytest.fixture(scope="module")
def reference(reference):
    return reference("measure")[0]


def measured(path):
    """What a record says, but for what it takes on when its whole series is measured."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in record.items() if key not in OF_SERIES}


def one_sentence(said):
    """The error, which is all that was said but for notes before it."""
    lines = [line for line in said.splitlines() if line.strip()]
    assert lines[-1].startswith("Error: "), said
    assert "Traceback" not in said
    assert len([line for line in lines if line.startswith("Error: ")]) == 1
    return lines[-1]


def in_a_disk_of_its_own(output, script):
    """Run a shell script with a small file system at `output`; what it says, step by step."""
    done = subprocess.run(
        [*UNSHARE, "sh", "-ec", f"mount -t tmpfs -o size=28k tmpfs {shlex.quote(str(output))}\n{script}"],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@mounting
def test_a_full_disk_is_told_in_a_sentence(points, tmp_path):
    """28 KiB hold the numbers of a fit and not its figures."""
    output = tmp_path / "disk"
    output.mkdir()
    words = fit(points).words
    command = shlex.join([sys.executable, "-m", "sparsity_lab", *map(str, words), "--output", str(output)])
    in_a_disk_of_its_own(
        output,
        f"{command} 2>{tmp_path}/said && exit 3 || test $? = 2\n"
        f"find {shlex.quote(str(output))} -name '.*' -type f >{tmp_path}/left\n",
    )
    said = one_sentence((tmp_path / "said").read_text(encoding="utf-8"))
    assert "Cannot write" in said
    assert "No space left" in said
    assert (tmp_path / "left").read_text(encoding="utf-8") == "", "no half-written file stays"


@pytest.mark.slow
@mounting
def test_a_full_disk_keeps_what_was_measured(words, reference, tmp_path):
    """28 KiB hold a few records. With more room the same command goes on from them."""
    output, kept = tmp_path / "disk", tmp_path / "kept"
    output.mkdir()
    command = shlex.join([sys.executable, "-m", "sparsity_lab", *map(str, words), "--output", str(output)])
    where = shlex.quote(str(output))
    done = in_a_disk_of_its_own(
        output,
        f"{command} 2>{tmp_path}/said && exit 3 || test $? = 2\n"
        f"cp -r {where}/records {tmp_path}/before\n"
        f"find {where} -name '.*' -type f >{tmp_path}/left\n"
        f"mount -o remount,size=20m {where}\n"
        f"{command}\n"
        f"cp -r {where} {shlex.quote(str(kept))}\n",
    )
    said = one_sentence((tmp_path / "said").read_text(encoding="utf-8"))
    assert "Cannot write" in said
    assert "No space left" in said
    assert "Written" in done.stdout
    before = sorted((tmp_path / "before").glob("*.json"))
    assert before
    for path in before:
        assert measured(path) == measured(kept / "records" / path.name), (
            "its time among the rest: not made again"
        )
    assert (tmp_path / "left").read_text(encoding="utf-8") == "", "no half-written file stays"
    assert contents(kept) == reference


@mounting
@pytest.mark.thorough(1)
@pytest.mark.parametrize("whole", [False, True], ids=["with nothing in it", "with all records"])
@pytest.mark.long
def test_a_read_only_output(words, zygote, tmp_path, whole):
    output = tmp_path / "disk"
    if whole:
        undisturbed(zygote, words, output)
    else:
        output.mkdir()
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    where, command = shlex.quote(str(output)), [sys.executable, "-m", "sparsity_lab", *map(str, words)]
    script = (
        f"mount --bind {where} {where}\nmount -o remount,bind,ro {where}\n"
        f"{shlex.join([*command, '--output', str(output)])} 2>{tmp_path}/said && exit 3 || test $? = 2\n"
    )
    done = subprocess.run([*UNSHARE, "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Cannot write to the output directory" in one_sentence(
        (tmp_path / "said").read_text(encoding="utf-8")
    )
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


DAMAGES = {
    "a bit flipped": lambda data, draw: flipped(data, draw.randrange(len(data) * 8)),
    "cut short": lambda data, draw: data[: draw.randrange(1, len(data))],
    "emptied": lambda data, draw: b"",
    "zeros": lambda data, draw: bytes(len(data)),
    "another's": None,
}


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.thorough(1)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.long
def test_damaged_records_are_set_aside_and_measured_again(zygote, words, reference, tmp_path, damage):
    output, draw = tmp_path / "out", random.Random(damage)
    undisturbed(zygote, words, output)
    paths = sorted((output / "records").glob("*.json"))
    hit = draw.sample(paths, 2)
    contents_before = [path.read_bytes() for path in hit]
    spoilt = (
        contents_before[::-1]
        if DAMAGES[damage] is None
        else [DAMAGES[damage](data, draw) for data in contents_before]
    )
    for path, data in zip(hit, spoilt, strict=True):
        path.write_bytes(data)
    others = {path: path.stat().st_ino for path in paths if path not in hit}
    ended = zygote.run(*words, output=output)
    assert ended.code == 0, ended.said
    assert {path: path.stat().st_ino for path in others} == others, "nothing else was measured again"
    for path, data in zip(hit, spoilt, strict=True):
        damaged = path.with_suffix(".damaged")
        assert damaged.read_bytes() == data
        damaged.unlink()
    assert contents(output) == reference
