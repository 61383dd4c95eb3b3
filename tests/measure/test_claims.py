"""Claims: one holder at a time, whatever dies, waits, races or happens to a clock."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.work import claims

KEY = "00ff"
HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from sparsity_lab.measure.work.claims import claimed\n"
    "with claimed(Path(sys.argv[1]), '00ff') as ours:\n"
    "    print(ours, flush=True)\n"
    "    time.sleep(60)\n"
)

LET_GO = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "from sparsity_lab.measure.work.claims import claimed\n"
    "left = [int(sys.argv[2])]\n"
    "def count(event, arguments):\n"
    "    if event in ('os.rename', 'os.remove') and left:\n"
    "        left[0] -= 1\n"
    "        if not left[0]:\n"
    "            os.kill(os.getpid(), signal.SIGKILL)\n"
    "with claimed(Path(sys.argv[1]), '00ff') as ours:\n"
    "    print(ours, flush=True)\n"
    "    sys.addaudithook(count)\n"
)


@pytest.fixture
def elsewhere(tmp_path):
    """Makes a claim of a process on another machine, of which nothing but the file is known."""

    def make(number=0, key=KEY):
        path = tmp_path / f"{key}.claim-{number}"
        path.write_text(
            json.dumps({"host": "x", "place": "another boot", "process": 1, "begun": "1"}), encoding="utf-8"
        )
        return path

    return make


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(claims, "LIMIT_S", 0.5)


def is_free(folder, expired=frozenset()):
    with claims.claimed(folder, KEY, expired=expired) as ours:
        return ours


def hold(folder):
    """A process of its own that has claimed the cell."""
    job = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "True\n"
    return job


def test_a_claim_is_held_by_one_and_leaves_nothing(tmp_path):
    with claims.claimed(tmp_path, KEY) as ours:
        assert ours
        assert os.listdir(tmp_path) == [f"{KEY}.claim-0"]
        assert not is_free(tmp_path)
        with claims.claimed(tmp_path, "another") as other:
            assert other
    assert os.listdir(tmp_path) == []


def test_a_failure_inside_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), claims.claimed(tmp_path, KEY):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes of this machine are known by /proc")
def test_the_claim_of_a_killed_process_is_free_at_once(tmp_path):
    job = hold(tmp_path)
    watch = claims.ClaimWatch(limit_s=60)
    assert not is_free(tmp_path)
    assert watch.expired(tmp_path, KEY) is None
    job.kill()
    job.wait()
    assert watch.expired(tmp_path, KEY) is not None
    with claims.claimed(tmp_path, KEY) as ours:
        assert ours
        assert sorted(os.listdir(tmp_path)) == [f"{KEY}.claim-0", f"{KEY}.claim-1"]
    assert os.listdir(tmp_path) == [], "with what the killed process left"


@pytest.mark.skipif(sys.platform != "linux", reason="processes of this machine are known by /proc")
def test_another_process_under_the_same_number_is_not_the_holder(tmp_path):
    job = hold(tmp_path)
    path = tmp_path / f"{KEY}.claim-0"
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["process"] == job.pid
    path.write_text(json.dumps({**made, "begun": "1"}), encoding="utf-8")
    assert is_free(tmp_path)
    job.kill()
    job.communicate()


@pytest.mark.usefixtures("quick")
def test_a_claim_from_elsewhere_runs_out_when_it_is_not_touched(tmp_path, elsewhere):
    path = elsewhere()
    watch = claims.ClaimWatch()
    start = time.monotonic()
    while (expired := watch.expired(tmp_path, KEY)) is None:
        assert not is_free(tmp_path)
        time.sleep(0.02)
    assert time.monotonic() - start >= 0.5
    os.utime(path, (1, 1))
    assert not is_free(tmp_path, expired), "it was touched after all"
    assert watch.expired(tmp_path, KEY) is None, "and is watched anew"
    time.sleep(0.55)
    assert is_free(tmp_path, watch.expired(tmp_path, KEY))
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jump_s", [-3e8, -7200, 7200, 3e8])
@pytest.mark.long
def test_a_clock_that_jumps_does_not_end_a_living_claim(tmp_path, elsewhere, monkeypatch, jump_s):
    """The holder's file system stamps heartbeats with a clock that jumps at each; the observer's wall clock too."""
    path, watch, start = elsewhere(), claims.ClaimWatch(), time.monotonic()
    real = time.time
    while time.monotonic() - start < 1.2:
        stamp = real() + (jump_s if int((time.monotonic() - start) * 20) % 2 else 0)
        os.utime(path, (stamp, stamp))
        monkeypatch.setattr(time, "time", lambda stamp=stamp: stamp - jump_s)
        assert watch.expired(tmp_path, KEY) is None
        time.sleep(0.05)


@pytest.mark.usefixtures("quick")
@pytest.mark.long
def test_the_heartbeat_keeps_a_claim(tmp_path):
    watch = claims.ClaimWatch()
    with claims.claimed(tmp_path, KEY):
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert watch.expired(tmp_path, KEY) is None
            time.sleep(0.05)


@pytest.mark.usefixtures("quick")
def test_an_unreadable_claim_is_somebodys_until_it_runs_out(tmp_path):
    (tmp_path / f"{KEY}.claim-0").write_bytes(b"")
    watch = claims.ClaimWatch()
    assert watch.expired(tmp_path, KEY) is None
    time.sleep(0.55)
    assert is_free(tmp_path, watch.expired(tmp_path, KEY))


@pytest.mark.parametrize("left_behind", [False, True])
def test_of_many_at_once_one_holds(tmp_path, elsewhere, left_behind):
    holding, most, wins = 0, 0, 0
    lock, gate = threading.Lock(), threading.Barrier(8)
    for turn in range(25):
        key = f"cell{turn}"
        expired = frozenset()
        if left_behind:
            elsewhere(key=key)
            watch = claims.ClaimWatch(limit_s=0)
            expired = watch.expired(tmp_path, key)
            assert expired

        def compete(key=key, expired=expired):
            nonlocal holding, most, wins
            gate.wait()
            with claims.claimed(tmp_path, key, expired=expired) as ours:
                if ours:
                    with lock:
                        holding += 1
                        most, wins = max(most, holding), wins + 1
                    time.sleep(0.002)
                    with lock:
                        holding -= 1

        with ThreadPoolExecutor(8) as pool:
            for job in [pool.submit(compete) for _ in range(8)]:
                job.result()
    assert most == 1
    assert wins >= 20, "a race may end without a holder, but seldom"
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_swept_and_what_lives_is_not(tmp_path):
    job = hold(tmp_path)
    claims.sweep(tmp_path, KEY)
    assert os.listdir(tmp_path) == [f"{KEY}.claim-0"]
    job.kill()
    job.wait()
    claims.sweep(tmp_path, KEY)
    assert os.listdir(tmp_path) == []
    claims.sweep(tmp_path, KEY)


@pytest.mark.skipif(sys.platform != "linux", reason="processes of this machine are known by /proc")
@pytest.mark.parametrize("operation", [1, 2, 3, 4])
def test_a_kill_in_the_midst_of_letting_go_leaves_no_claim_that_nobody_sees(tmp_path, operation):
    """Two killed holders, and one that is killed just before an operation of its own letting go."""
    for _ in range(2):
        job = hold(tmp_path)
        job.kill()
        job.communicate()
    assert sorted(os.listdir(tmp_path)) == [f"{KEY}.claim-0", f"{KEY}.claim-1"]
    job = subprocess.run(
        [sys.executable, "-c", LET_GO, str(tmp_path), str(operation)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (job.returncode, job.stdout) == (-9 if operation < 4 else 0, "True\n"), job.stderr
    left = sorted(os.listdir(tmp_path))
    assert left == [f"{KEY}.claim-{number}" for number in range(len(left))]
    assert is_free(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(SparsityLabError, match="Cannot write"), claims.claimed(tmp_path / "none", KEY):
        pass
