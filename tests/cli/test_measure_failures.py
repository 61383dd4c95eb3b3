"""One bad checkpoint among good ones: it is marked with its reason, the others are measured, and it is tried again."""

import csv
import json
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.store.records import read_record
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

PART = ("--tokens", 1024, "--window", 64)
KNOB = ("--knob", 0.1)
MEASURED = (
    "activation_ratio",
    "activation_ratio_se",
    "ppl_dense",
    "ppl_ratio",
    "trained_tokens",
    "tokens",
    "layers",
)


def table(output, name="table.csv"):
    with (output / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def changed(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def nan(folder):
    changed(folder, lambda weights: weights["model.layers.0.mlp.up_proj.weight"].fill_(float("nan")))


def missing(folder):
    changed(folder, lambda weights: weights.pop("model.layers.0.mlp.up_proj.weight"))


def truncated(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def untrained(folder):
    """Weights as they are before the first step: tiny, so that every token is as likely as any other."""
    changed(
        folder,
        lambda weights: [w.copy_(torch.randn(w.shape) * 1e-3) for n, w in weights.items() if "norm" not in n],
    )


def uniform(folder):
    """Logits that are all zero, whatever is dropped: a head that was zero at the first step."""
    changed(folder, lambda weights: weights.update({"lm_head.weight": torch.zeros(300, 32)}))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(
        json.dumps({**config, "tie_word_embeddings": False}), encoding="utf-8"
    )


BROKEN = {
    "NaN": (nan, "hold NaN or infinity"),
    "missing": (missing, "up_proj.weight is missing"),
    "truncated": (truncated, "cut short"),
    "config": (lambda folder: (folder / "config.json").write_text("{ no"), "Cannot load the config"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "Weights are read from"),
}  # fmt: skip


@pytest.fixture
def series(checkpoints, tmp_path):
    """A copy of four checkpoints of one run."""
    return shutil.copytree(checkpoints, tmp_path / "run")


def steps(series):
    return [series / f"step-{step}" for step in (1, 2, 3, 10)]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_others_are_measured_and_a_mended_one_takes_its_row(
    checkpoints, series, source_text, tmp_path, capfd, caplog, jobs
):
    """Every kind of damage beside a good checkpoint; once one is mended, only that one is measured."""
    named = [series / "step-1", series / "step-10"]
    for kind, (break_it, _) in BROKEN.items():
        named.append(shutil.copytree(series / "step-2", series / kind))
        break_it(named[-1])
    named.append(tmp_path / "gone")
    output = tmp_path / "out"
    words = ("measure", *named, "--text", source_text, *PART, *KNOB, "--jobs", jobs, "--output", output)
    assert exit_code(*words) == 1
    said = capfd.readouterr()
    rows = table(output)
    assert [row["model"] for row in rows] == [str(one) for one in named]
    assert [bool(row["failed"]) for row in rows] == [False, False, *[True] * 7]
    for row, (_, reason) in zip(rows[2:8], BROKEN.values(), strict=True):
        assert reason in row["failed"]
        assert caplog.text.count(f"  {row['model']}: {row['failed']}\n") == 1
    assert not any(row[name] for row in rows if row["failed"] for name in MEASURED)
    assert "7 of 9 checkpoints failed" in caplog.text
    assert "Traceback" not in said.err + caplog.text
    assert "| failed " in said.out
    records = {path: path.stat().st_mtime_ns for path in (output / "records").iterdir()}
    assert len(records) == 2, "and no claim, part or record of those that failed"
    if jobs > 1:
        return
    shutil.copy(checkpoints / "step-2" / "model.safetensors", series / "NaN")
    assert exit_code(*words) == 1
    assert [bool(row["failed"]) for row in table(output)][:3] == [False] * 3
    assert {path: path.stat().st_mtime_ns for path in records} == records
    alone = tmp_path / "alone"
    assert exit_code("measure", series / "NaN", "--text", source_text, *PART, *KNOB, "--output", alone) == 0
    assert table(alone)[0]["activation_ratio"] == table(output)[2]["activation_ratio"]
    assert not table(alone)[0]["failed"]


def test_the_first_failure_ends_the_run_where_asked_and_a_single_one_always(
    series, source_text, tmp_path, capfd
):
    nan(series / "step-2")
    words = ("--text", source_text, *PART, *KNOB, "--output", tmp_path / "out")
    for named in ([*steps(series), "--fail-fast"], [series / "step-2"]):
        assert exit_code("measure", *named, *words) == 2
        said = capfd.readouterr().err.splitlines()
        assert [line for line in said if line.startswith("Error: ")] == said[-1:]
        assert "step-2 hold NaN" in said[-1]
        assert not (tmp_path / "out" / "table.csv").exists()


@pytest.mark.slow
def test_all_of_several_fail(series, source_text, tmp_path, caplog):
    nan(series / "step-1")
    (series / "step-2" / "config.json").write_text("[]")
    output = tmp_path / "out"
    words = (series / "step-1", series / "step-2", "--text", source_text, *PART, "--output", output)
    assert exit_code("measure", *words, "--knob", 0.1, "--knob", 0.3) == 1
    assert "All 2 checkpoints failed" in caplog.text
    assert len([row for row in table(output) if row["failed"]]) == 4
    assert not (output / "activation_ratio.svg").exists()
    assert exit_code("measure", *words, "--tokens", "auto") == 1, (
        "text that would grow does not, without a number"
    )
    assert exit_code("report", output) == 0
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "Checkpoints that failed" in page


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("--device", "moon"), "moon"), (("--text", "nowhere.txt"), "nowhere.txt"),
     (("--architecture-file", "nowhere.py"), "nowhere.py"), (("--trained-tokens", "nowhere.csv"), "nowhere.csv"),
     (("--tokens", 8), "too few to be spread")],
)  # fmt: skip
def test_a_mistake_about_the_whole_run_is_one(series, source_text, tmp_path, capfd, words, reason):
    output = tmp_path / "out"
    nan(series / "step-1")
    assert (
        exit_code(
            "measure", *steps(series)[:2], "--text", source_text, *PART, *KNOB, "--output", output, *words
        )
        == 2
    )
    assert reason in capfd.readouterr().err
    assert not output.exists()


def records_of(output):
    return [read_record(path) for path in (output / "records").glob("*.json")]


@pytest.mark.parametrize(("broken", "flag"), [pytest.param(1, False, marks=pytest.mark.slow), (3, True)])
def test_a_series_goes_on_without_it(series, source_text, tmp_path, caplog, broken, flag):
    """Before the last ones it changes no number; among them the knob is another one, and every row says so."""
    shutil.copytree(series / "step-2", series / "step-20")
    nan(series / f"step-{broken}")
    output = tmp_path / "out"
    words = (
        "--text",
        source_text,
        *PART,
        "--ppl-increase",
        "5%",
        "--stabilise",
        "last:3",
        "--output",
        output,
    )
    assert exit_code("measure", series, *words) == 1
    rows = table(output)
    good = [row for row in rows if not row["failed"]]
    assert len(rows) == 5
    assert len(good) == 4
    assert len({row["knob"] for row in good}) == 1
    assert all(("fewer_checkpoints" in row["flags"]) == flag for row in good)
    assert ("1 of the last 3 checkpoints" in caplog.text) == flag
    found = [
        one for one in records_of(output) if one["rule"] == "series" and one["knob"] == float(good[0]["knob"])
    ]
    assert any("fewer_checkpoints" in one["flags"] for one in found) == flag
    if not flag:
        return
    alone = tmp_path / "alone"
    shutil.rmtree(series / "step-3")
    assert exit_code("measure", series, *words[:-2], "--stabilise", "last:2", "--output", alone) == 0
    assert {row["knob"] for row in table(alone)} == {row["knob"] for row in good}, (
        "found on those that are left"
    )


@pytest.mark.long
def test_a_series_without_its_last_ones_has_no_knob(series, source_text, tmp_path):
    (series / "step-10" / "config.json").unlink()
    words = (
        "--text",
        source_text,
        *PART,
        "--stabilise",
        "last:1",
        "--per-checkpoint",
        "--output",
        tmp_path / "out",
    )
    assert exit_code("measure", *steps(series), tmp_path / "gone", *words) == 1
    *rows, one, other = table(tmp_path / "out")
    assert {one["model"], other["model"]} == {str(tmp_path / "gone")}
    assert [row["rule"] for row in rows] == ["series"] * 4 + ["ppl-increase"] * 4
    assert ["has no knob" in row["failed"] for row in rows] == [True] * 3 + [False] * 5
    assert [bool(row["failed"]) for row in rows[4:]] == [False, False, False, True]


@pytest.mark.slow
def test_all_criteria_and_transfers_go_on(series, source_text, tmp_path, caplog):
    other = tmp_path / "other.txt"
    other.write_text(source_text.read_text(encoding="utf-8")[20_000:60_000], encoding="utf-8")
    (series / "step-2" / "config.json").write_text("[]")
    words = ("measure", series / "step-1", series / "step-2", "--text", source_text, *PART)
    assert exit_code(*words, "--transfer", other, *KNOB, "--output", tmp_path / "transfer") == 1
    rows = table(tmp_path / "transfer", "transfer.csv")
    assert [bool(row["failed"]) for row in rows] == [False] * 4 + [True]
    assert exit_code(*words, "--criterion", "all", "--output", tmp_path / "all") == 1
    failed = [row for row in table(tmp_path / "all") if row["failed"]]
    assert {row["model"] for row in failed} == {str(series / "step-2")}
    assert caplog.text.count("1 of 2 checkpoints failed") == 2
    for output in ("transfer", "all"):
        assert exit_code("report", tmp_path / output) == 0
        page = (tmp_path / output / "report.html").read_text(encoding="utf-8")
        assert "Checkpoints that failed" in page


@pytest.fixture
def output_with_one(series, source_text, tmp_path):
    """Output of seven checkpoints of a run: the first one untrained, the second one broken."""
    untrained(series / "step-1")
    nan(series / "step-2")
    for step in (20, 30, 40):
        folder = shutil.copytree(series / "step-3", series / f"step-{step}")
        (folder / "sparsity_lab.json").write_text(
            json.dumps({"trained_tokens": 1000 * step}), encoding="utf-8"
        )
    assert (
        exit_code("measure", series, "--text", source_text, *PART, *KNOB, "--output", tmp_path / "out") == 1
    )
    return tmp_path / "out"


@pytest.mark.long
def test_tables_are_read_without_the_row_which_is_counted(output_with_one, caplog):
    (found,) = read_series(output_with_one / "table.csv")
    assert len(found.x) == 6
    assert caplog.text.count("table.csv: left out 1 row of checkpoints that failed (line 3).") == 1
    assert "1 of 6 rows with flags, whose numbers are used: 1 untrained." in caplog.text
    several = Columns(("trained_tokens", "params_total"), "loss_dense_nats")
    (runs,) = read_series(output_with_one / "table.csv", mapping=several)
    assert len(runs.y) == 6
    assert exit_code("report", output_with_one) == 0
    page = (output_with_one / "report.html").read_text(encoding="utf-8")
    assert "Checkpoints that failed" in page
    assert "hold NaN or infinity" in page


@pytest.mark.slow
def test_a_fit_and_its_check_leave_the_row_out(output_with_one, tmp_path, caplog):
    fits = tmp_path / "fits"
    words = ("--output", fits, "--lock", "as measured", "--bootstrap", 20)
    assert exit_code("fit", output_with_one / "table.csv", *words) == 0
    assert caplog.text.count("left out 1 row of checkpoints that failed") == 1
    (lock,) = (fits / "locks").glob("*.toml")
    assert "points = 6" in lock.read_text(encoding="utf-8")
    assert exit_code("check", fits) == 0


SLOW_SETTINGS = [KNOB, ("--activation-ratio", "10%"), ("--stabilise", "last:3")]


@pytest.mark.parametrize(
    "asked", [(), *(pytest.param(words, marks=pytest.mark.slow) for words in SLOW_SETTINGS)]
)
def test_untrained_checkpoints_of_a_series_are_measured_and_flagged(series, source_text, tmp_path, asked):
    """Random weights, and a head of zeros, whose loss no neuron moves."""
    untrained(series / "step-1")
    uniform(series / "step-2")
    shutil.rmtree(series / "step-10")
    output = tmp_path / "out"
    assert exit_code("measure", series, "--text", source_text, *PART, "--output", output, *asked) == 0
    rows = table(output)
    assert ["untrained" in row["flags"] for row in rows] == [True, True, False]
    assert "untrained" in (output / "table.md").read_text(encoding="utf-8")
    for row in rows:
        record = read_record(output / "records" / f"{row['content_key']}.json")
        assert " ".join(record["flags"]) == row["flags"]
    assert float(rows[1]["ppl_dense"]) == pytest.approx(300, rel=1e-4)
    assert float(rows[1]["ppl_ratio"]) == pytest.approx(1, abs=1e-6)
    if not asked:  # nothing that is dropped raises the loss, and that is said
        assert {"not_reached", "off_target"} <= set(rows[1]["flags"].split())


def test_a_single_untrained_model_is_refused_and_the_message_names_the_option(
    series, source_text, tmp_path, capfd
):
    untrained(series / "step-1")
    words = ("measure", series / "step-1", "--text", source_text, *PART, *KNOB, "--output", tmp_path / "out")
    assert exit_code(*words) == 2
    assert "--allow-untrained" in capfd.readouterr().err
    assert exit_code(*words, "--allow-untrained") == 0
    assert table(tmp_path / "out")[0]["flags"] == "untrained"
    nan(series / "step-1")
    assert exit_code(*words, "--allow-untrained") == 2


def test_again_measures_anew_and_replaces_a_record_by_a_whole_one(series, source_text, tmp_path, caplog):
    output = tmp_path / "out"
    words = ("measure", steps(series)[0], "--text", source_text, *PART, *KNOB, "--output", output)
    assert exit_code(*words) == 0
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in (output / "records").iterdir()}
    rows = table(output)
    assert exit_code(*words, "--again") == 0
    assert caplog.text.count("1 cell measured in this run") == 2
    assert all(path.stat().st_ino != inode for path, (inode, _) in before.items())
    assert table(output) == rows
    assert {path for path in (output / "records").iterdir()} == set(before)
    assert exit_code(*words) == 0
    assert "0 cells measured in this run" in caplog.text


@pytest.mark.slow
def test_again_killed_midway_loses_nothing(series, source_text, tmp_path):
    """Killed when the first record is replaced: each is there whole, the old one or the new one."""
    output = tmp_path / "out"
    words = ["measure", *steps(series)[:2], "--text", source_text, *PART, *KNOB, "--output", output]
    assert exit_code(*words) == 0
    paths = sorted((output / "records").glob("*.json"))
    before = {path: path.stat().st_ino for path in paths}
    job = subprocess.Popen([sys.executable, "-m", "sparsity_lab", "-q", *map(str, words), "--again"])
    try:
        until = time.monotonic() + 300
        while all(path.stat().st_ino == inode for path, inode in before.items()):
            assert job.poll() is None
            assert time.monotonic() < until
            time.sleep(0.002)
    finally:
        job.kill()
        job.wait()
    assert sorted((output / "records").glob("*.json")) == paths
    assert len([read_record(path) for path in paths]) == 2
    assert exit_code(*words) == 0


@pytest.mark.slow
def test_weights_without_a_config_among_checkpoints_are_one_that_failed(trained, source_text, tmp_path):
    """As where a run was stopped while it saved."""
    for step in (1, 2):
        shutil.copytree(trained, tmp_path / "run" / f"step-{step}")
    (tmp_path / "run" / "step-2" / "config.json").unlink()
    (tmp_path / "run" / "logs").mkdir()
    words = (tmp_path / "run", "--text", source_text, *PART, *KNOB, "--output", tmp_path / "out")
    assert exit_code("measure", *words) == 1
    first, second = table(tmp_path / "out")
    assert first["activation_ratio"]
    assert not first["failed"]
    assert "It holds no config.json" in second["failed"]
