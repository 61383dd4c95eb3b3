"""Loggers with the real libraries: what they hold equals the records, and however they fail the run is the same."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsity_lab.cli.main import main
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.extras import MissingPackageError
from sparsity_lab.loggers import Job, _guard, check_names, open_loggers
from sparsity_lab.loggers import tensorboard as tensorboard_logger
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, as_json, expand
from sparsity_lab.measure.work.run_cells import Means
from tests.faults.test_disks import UNSHARE, mounting
from tests.loggers import reading

pytestmark = pytest.mark.usefixtures("unrendered")

LIBRARIES = ("tensorboard", "wandb")
KEYS = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_RUN_GROUP")


@pytest.fixture(autouse=True)
def nobodys(monkeypatch, tmp_path):
    """No key and no settings of whoever runs the tests."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setattr(_guard, "NOTED", set())


@pytest.fixture
def measured(checkpoints, source_text, tmp_path):
    """Measure two checkpoints, as the command does; the rows and the output."""

    def run(name, *loggers, count=2, error_share=None):
        spec = MeasureSpec(text=source_text, knob=0.1, tokens=512, window=64, error_share=error_share)
        job = Job("measure", tmp_path / name, as_json(spec))
        with open_loggers(loggers, job=job) as opened:
            found = measure_checkpoints(
                spec, expand([str(checkpoints)])[:count], output=tmp_path / name, means=Means(loggers=opened)
            )
        return found, tmp_path / name

    return run


def values(row):
    rise = row["loss_sparse_nats"] - row["loss_dense_nats"]
    names = ("activation_ratio", "activation_ratio_se", "knob", "ppl_ratio", "loss_dense_nats")
    return {**{name: row[name] for name in names}, "loss_rise_nats": rise,
            "loss_rise_se_nats": row["loss_delta_se_nats"]}  # fmt: skip


def warnings(caplog):
    return [
        r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "sparsity_lab" in r.name
    ]


def without_times(output):
    """Every file of an output but the loggers' own, records less when they were made."""
    found = {}
    for path in sorted(output.rglob("*")):
        own = path.relative_to(output)
        if path.is_file() and own.parts[0] not in LIBRARIES:
            content = path.read_bytes()
            if own.parts[0] == "records":
                record = json.loads(content)
                del record["provenance"]["time"], record["record_sha256"]
                content = json.dumps(record).encode()
            found[own.as_posix()] = content
    return found


@pytest.mark.long
def test_tensorboard_holds_the_records_and_each_point_once_after_resuming(measured, caplog):
    measured("out", "tensorboard", count=1)
    for count in (2, 3):
        rows, output = measured("out", "tensorboard", count=count)
        scalars, config = reading.tensorboard(output, "run")
        assert set(scalars) == {f"{name}/cett_fixed_0_1" for name in values(rows[0])}
        for name in values(rows[0]):
            wanted = [(row["trained_tokens"], np.float32(values(row)[name])) for row in rows]
            assert scalars[f"{name}/cett_fixed_0_1"] == wanted
    assert "| activation_function | relu |" in config
    assert "| seed | 0 |" in config
    assert not warnings(caplog)


@pytest.mark.long
def test_wandb_offline_holds_the_records_in_one_run_a_series(measured, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(2):
        rows, output = measured("out", "wandb")
    first, again = reading.wandb(output)
    assert first["id"] == again["id"]
    for run in (first, again):
        assert run["rows"] == [
            {"trained_tokens": row["trained_tokens"],
             **{f"{name}/cett_fixed_0_1": value for name, value in values(row).items()}} for row in rows
        ]  # fmt: skip
        assert (run["name"], run["code"]) == ("run", 0)
        assert run["config"]["params_total"] == rows[0]["params_total"]
        assert run["config"]["window"] == 64
    assert f"wandb sync {output}/wandb/offline-run-*" in caplog.text
    assert not warnings(caplog)


@pytest.mark.slow
def test_text_that_grows_logs_the_last_numbers_alone(measured):
    rows, output = measured("out", "tensorboard", error_share=0.9)
    scalars, _ = reading.tensorboard(output, "run")
    assert [step for step, _ in scalars["knob/cett_fixed_0_1"]] == [row["trained_tokens"] for row in rows]


FAULTS = {
    "import": "raise OSError('broken by import')",
    "start": "def init(**_): raise OSError('broken at start')",
    "exit": "import sys\ndef init(**_): sys.exit(3)",
    "crash": "import os\ndef init(**_): os._exit(77)",
    "point": "def log(self, row): raise ValueError('broken at a point')",
    "second point": "n = 0\ndef log(self, row):\n global n; n += 1\n if n == 2: raise ValueError('broken late')",
    "close": "def finish(self, exit_code): raise ValueError('broken at close')",
    "hang at start": "import time\ndef init(**_): time.sleep(600)",
    "hang at close": "import time\ndef finish(self, exit_code): time.sleep(600)",
}
QUICK = ("point", "crash", "hang at close")
FALSE_WANDB = """
class Run:
    def define_metric(self, *_, **__): pass
    def log(self, row): pass
    def finish(self, exit_code): pass
class Settings:
    def __init__(self, **_): pass
def init(**_): return Run()
"""


@pytest.fixture(scope="module")
def undisturbed(checkpoints, source_text, tmp_path_factory):
    """Every file of a run without loggers."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    spec = MeasureSpec(text=source_text, knob=0.1, tokens=512, window=64)
    measure_checkpoints(spec, expand([str(checkpoints)])[:2], output=output)
    return without_times(output)


@pytest.mark.parametrize(
    "fault", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in FAULTS]
)
def test_a_logger_that_fails_is_told_of_once_and_changes_nothing(
    fault, undisturbed, measured, monkeypatch, tmp_path, caplog
):
    place = tmp_path / "false"
    place.mkdir()
    code = FAULTS[fault]
    method = "self" in code
    (place / "wandb.py").write_text(FALSE_WANDB + code + (f"\nRun.{'log' if 'def log' in code else 'finish'} = "
                                    f"{'log' if 'def log' in code else 'finish'}\n" if method else "\n"))  # fmt: skip
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(_guard, "CLOSE_S", 1.5)
    _, output = measured("out", "wandb", "tensorboard")
    assert without_times(output) == undisturbed
    (told,) = warnings(caplog)
    assert told.startswith("Logging to wandb failed and is left out, the run goes on.")
    wanted = {"exit": "SystemExit: 3", "crash": "exit status 77"}
    assert wanted.get(fault, "did not close within 1.5 seconds" if "hang" in fault else "broken") in told
    assert len(reading.tensorboard(output, "run")[0]["knob/cett_fixed_0_1"]) == 2, "the other logger goes on"


@pytest.mark.parametrize("name", ["tensorboard", pytest.param("wandb", marks=pytest.mark.slow)])
def test_a_folder_that_cannot_be_written_fails_nothing(name, undisturbed, measured, tmp_path, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("")
    _, output = measured("out", name)
    assert without_times(output) == undisturbed
    assert len(warnings(caplog)) == 1
    (output / name).unlink()


def test_a_library_that_is_missing_is_refused_before_anything_is_measured(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorboard_logger, "LIBRARY", "tensorboard_is_not_here")
    with pytest.raises(MissingPackageError, match="pip install tensorboard_is_not_here"):
        measured("out", "tensorboard")
    assert not (tmp_path / "out").exists()


SENDER = """
import os, signal, sys, time
from pathlib import Path
from sparsity_lab.loggers import Job, open_loggers
names, folder, then = sys.argv[1].split(","), Path(sys.argv[2]), sys.argv[3]
with open_loggers(names, job=Job("train", folder)) as loggers:
    for step in range(1000, 201_000, 1000):
        loggers.point("run", {"train/loss_nats": 1 / step}, step=step)
    if then == "killed":
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGKILL)
print("went on")
"""


@mounting
def test_a_full_disk_fails_nothing(tmp_path):
    """4 KiB for the event files, which take more."""
    folder = tmp_path / "out" / "tensorboard"
    folder.mkdir(parents=True)
    (tmp_path / "sender.py").write_text(SENDER)
    script = (
        f"mount -t tmpfs -o size=4k tmpfs '{folder}' && "
        f"'{sys.executable}' '{tmp_path}/sender.py' tensorboard '{tmp_path}/out' ends"
    )
    done = subprocess.run(
        [*UNSHARE, "sh", "-ec", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    assert done.stderr.count("Logging to tensorboard failed") == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps")
@pytest.mark.long
def test_a_run_that_is_killed_leaves_its_points_and_no_process(tmp_path):
    (tmp_path / "sender.py").write_text(SENDER)
    words = [
        sys.executable,
        str(tmp_path / "sender.py"),
        "tensorboard,wandb",
        str(tmp_path / "out"),
        "killed",
    ]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(words, env={**os.environ, **paths}, stderr=subprocess.DEVNULL)
    assert process.wait() == -signal.SIGKILL
    limit = time.monotonic() + 20
    while (left := _processes(str(tmp_path))) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not left
    assert len(reading.tensorboard(tmp_path / "out", "run")[0]["train/loss_nats"]) == 200
    (run,) = reading.wandb(tmp_path / "out")
    assert (len(run["rows"]), run["code"]) == (200, 1)


def _processes(word):
    """Command lines that hold a word, and W&B's own service."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if word in line or "wandb-core" in line]


def test_unknown_loggers_and_idle_options_are_refused_before_anything_is_written(
    trained, source_text, tmp_path, capfd
):
    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(
                ["measure", str(trained), "--text", str(source_text), "--output", str(tmp_path / "o"), *words]
            )
        return stop.value.code, capfd.readouterr().err

    code, said = run("--log", "tensorbord")
    assert code == 2
    assert "Did you mean 'tensorboard'?" in said
    code, said = run("--log", "tensorboard", "--sweep")
    assert code == 2
    assert "--sweep does nothing without --criterion all" in said
    code, said = run("--log", "tensorboard", "--tokens", "512", "--window", "64", "--knob", "-1")
    assert code == 2
    assert run("--log", "tensorboard", "--tokens", "512", "--window", "64", "--dry-run")[0] in (0, None)
    assert not (tmp_path / "o").exists()
    with pytest.raises(SparsityLabError, match="wandb"):
        check_names(["wandbb"])
