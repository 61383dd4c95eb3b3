"""A whole study of models that train in seconds: every stage, every file, and a kill in the middle of it."""

import csv
import email
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.command import PROGRAM, run

CONFIG = {
    "name": "tiny",
    "data": {"max_bytes": 400_000, "validation_share": 0.1},
    "tokenizer": {"vocabulary": 300, "train_bytes": 50_000},
    "model": {"hidden_size": 16, "layers": 1, "head_dim": 8, "intermediate_ratio": 2},
    "training": {
        "tokens": 24_000,
        "batch_size": 8,
        "window": 32,
        "warmup_steps": 5,
        "learning_rate": 2e-2,
        "checkpoints": 6,
        "first_checkpoint_tokens": 4_000,
    },
    "runs": [
        {"model": {"activation": ["relu", "silu"]}},
        {"model": {"activation": "relu", "hidden_size": 32}},
    ],
    "measure": {"tokens": 1_024, "stabilise": 2, "fixed_cett": 0.1},
    "fit": {"bootstrap": 20, "segments": [1, 4, 100]},
}
CELLS = 3 * 6 * 3  # runs, checkpoints, rules


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The config over the standard library's mail package and others, as text files."""
    folder = tmp_path_factory.mktemp("config")
    for package in (email, json):
        for source in Path(package.__file__).parent.glob("*.py"):
            (folder / f"{package.__name__}-{source.stem}.txt").write_text(source.read_text(encoding="utf-8"))
    path = folder / "tiny.yaml"
    content = {**CONFIG, "data": {**CONFIG["data"], "files": [str(folder / "*.txt")]}}
    path.write_text(yaml.safe_dump(content))
    return path


def study(*words, cwd):
    return run("study", *words, cwd=cwd)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A study run from start to end, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = study(config, "--output", "study", "--publish", "results", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def tables(folder):
    found = [p for kind in ("csv", "md") for p in folder.rglob(f"*.{kind}") if "train" not in p.parts]
    kept = [
        *found,
        *folder.rglob("fits.json"),
        *folder.rglob("locks/*.toml"),
        folder / "compare" / "compare.json",
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_every_stage_says_its_command_and_leaves_its_files(whole):
    folder, done = whole
    for stage in ("train", "measure", "fit", "compare", "width-depth", "loss", "report"):
        assert f"] {stage}\n" in done.stderr
    for word in ("train", "measure", "fit"):
        assert f"    sparsity-lab {word} " in done.stderr
    assert "--stabilise last:2 --per-checkpoint" in done.stderr
    assert "--knob 0.1" in done.stderr
    out = folder / "study"
    for name in ("rules", "cett-0.1"):
        assert (out / "measure" / name / "table.csv").is_file()
        assert (out / "fit" / name / "fits.md").is_file()
        assert list((out / "fit" / name / "locks").glob("*.toml"))
    assert (out / "loss" / "relu" / "fits.json").is_file()
    for figure in ("two_rules", "all_runs"):
        assert (out / "plots" / f"{figure}.png").is_file()
    measured = rows(out / "measure" / "rules" / "table.csv") + rows(
        out / "measure" / "cett-0.1" / "table.csv"
    )
    assert len(measured) == CELLS
    assert {row["rule"] for row in measured} == {"series", "ppl-increase", "fixed"}


@pytest.mark.slow
def test_the_commands_it_prints_do_what_it_did(whole):
    folder, done = whole
    lines = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith("    sparsity-lab ")]
    (measure,) = [words for words in lines if words[1] == "measure" and "--knob" in words]
    (loss,) = [words for words in lines if "study/loss/relu" in words]
    kept = tables(folder / "study")
    for words in (measure, loss):
        again = run(*words[1:], cwd=folder)
        assert again.returncode == 0, again.stderr
        if words is measure:
            assert "0 cells measured in this run" in again.stderr
    assert tables(folder / "study") == kept


@pytest.mark.slow
def test_the_report_states_each_finding_from_the_tables(whole):
    folder, _ = whole
    text = (folder / "study" / "report.md").read_text(encoding="utf-8")
    directions = rows(folder / "study" / "compare" / "directions.csv")
    assert len(directions) == 9
    for row in directions:
        (line,) = [
            one for one in text.splitlines()
            if one.startswith(f"| {row['run']} ") and " [" in one and rule_of(row) in one
        ]  # fmt: skip
        assert row["way"] in line
        assert row["verdict"] in line
        slope = (float(row["slope_low"]), float(row["slope_high"]))
        assert row["way"] == ("rises" if slope[0] > 0 else "falls" if slope[1] < 0 else "not told from level")
    for heading in (
        "relu: which way",
        "silu: which way",
        "The two rules",
        "equal loss",
        "width-depth",
        "size",
        "Loss",
    ):
        assert any(line.startswith("## ") and heading in line for line in text.splitlines())
    assert "Fewer than 5 shapes" in text  # two sizes and no shapes: said, not invented
    assert "Fewer than three sizes" in text
    pictures = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert pictures
    assert all((folder / "study" / picture).is_file() for picture in pictures)


def rule_of(row):
    words = {"series": "one CETT for the series", "ppl-increase": "own CETT at +1 % perplexity"}
    return words.get(row["rule"], "CETT fixed at 0.1")


@pytest.mark.slow
def test_what_is_published_is_guarded_by_check_and_holds_no_checkpoint(whole):
    folder, _ = whole
    published = folder / "results"
    assert (published / "README.md").read_text() == (folder / "study" / "report.md").read_text()
    assert not list(published.rglob("*.safetensors"))
    assert not list(published.rglob("records"))
    from sparsity_lab.fitting.locks import check

    guarded = [published / "fit" / "cett-0.1", published / "loss"]
    locks = [path for place in guarded for path in place.rglob("locks/*.toml")]
    findings = check.check(guarded)
    assert len(findings) == len(locks) >= 2
    assert {finding.status for finding in findings} == {check.PASS}, findings
    damaged = published / "measure" / "rules" / "table.csv"
    whole_table = damaged.read_text()
    damaged.write_text(whole_table.replace(rows(damaged)[0]["activation_ratio"], "0.5", 1))
    assert check.STALE in {finding.status for finding in check.check([published / "fit" / "rules"])}
    damaged.write_text(whole_table)


@pytest.mark.slow
def test_killed_twice_it_goes_on_to_the_same_tables(config, whole, tmp_path):
    folder, _ = whole
    out = tmp_path / "study"
    killed_when(config, tmp_path, lambda: len(list(out.glob("train/runs/*/step-*"))) >= 3)
    killed_when(config, tmp_path, lambda: len(list(out.glob("measure/*/records/*.json"))) >= 10)
    assert not (out / "report.md").exists()
    kept = {path.name for path in out.glob("measure/*/records/*.json")}
    dry = study(config, "--output", "study", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert cells(dry.stdout, "train") == (3, 3)
    total, counted = cells(dry.stdout, "measure")
    assert total == CELLS
    assert 0 < counted < CELLS
    done = study(config, "--output", "study", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert kept <= {path.name for path in out.glob("measure/*/records/*.json")}
    assert tables(out) == tables(folder / "study")


def killed_when(config, cwd, condition):
    """Start the study and end it by SIGKILL once the condition holds."""
    with (cwd / "log").open("w") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = subprocess.Popen(
            [*PROGRAM, "study", str(config), "--output", "study"],
            cwd=cwd,
            env=environment,
            stdout=log,
            stderr=log,
        )
        until = time.monotonic() + 300
        while not condition():
            assert running.poll() is None, (cwd / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL


def cells(text, stage):
    """(cells, done) of a stage in a dry run's table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {stage} ")]
    parts = [part.strip() for part in line.strip("|").split("|")]
    return int(parts[2]), int(parts[3])


@pytest.mark.long
def test_a_stage_alone_does_what_is_its_own(config, tmp_path):
    """One run of the config: a stage that is done is counted, and does nothing when it is asked for again."""
    content = yaml.safe_load(config.read_text())
    training = {**content["training"], "tokens": 12_000, "first_checkpoint_tokens": 2_000}
    path = tmp_path / "one.yaml"
    path.write_text(
        yaml.safe_dump({**content, "training": training, "runs": [{"model": {"activation": "relu"}}]})
    )
    for stage, words in (
        ("train", "] train\n"),
        ("measure", "] measure\n"),
        ("measure", "0 cells measured"),
    ):
        ended = study(path, "--output", "study", "--only", stage, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert words in ended.stderr
    dry = study(path, "--output", "study", "--dry-run", cwd=tmp_path)
    assert cells(dry.stdout, "train") == (1, 1)
    assert cells(dry.stdout, "measure") == (CELLS // 3, CELLS // 3)
    assert cells(dry.stdout, "fit")[1] == 0
    for name, rules in (("rules", {"series", "ppl-increase"}), ("cett-0.1", {"fixed"})):
        assert {row["rule"] for row in rows(tmp_path / "study" / "measure" / name / "table.csv")} == rules


def test_a_stage_alone_needs_those_before_it(config, tmp_path):
    done = study(config, "--output", "study", "--only", "report", cwd=tmp_path)
    assert done.returncode == 2
    assert "Run the stage measure first" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measure": {"tokns": 5}}, "Did you mean 'tokens'?"),
        ({"measure": {"criterion": "cet"}}, "Did you mean 'cett'?"),
        ({"measure": {"criterion": "fat", "fixed_cett": 0.1}}, "means nothing under the criterion fat"),
        ({"measure": {"stabilise": 7}}, "has 6 checkpoints, the series rule asks for the last 7"),
        ({"measure": {"ppl_increase": 1.5}}, "above 0 and below 1"),
        ({"measure": {"text": "nowhere.txt"}}, "There is no text nowhere.txt"),
        ({"measure": {"window": 64}}, "beyond the 32 positions"),
        ({"fit": {"segments": [3, 2]}}, "ascending"),
        ({"fit": {"drop": 1}}, "The laws need 6"),
        ({"training": {**CONFIG["training"], "checkpoints": 3}}, "checkpoints"),
    ],
)
def test_mistakes_are_one_paragraph_before_anything_is_made(config, tmp_path, change, words):
    content = {**yaml.safe_load(config.read_text()), **change}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content))
    refused = study(path, "--output", "out", cwd=tmp_path)
    assert refused.returncode == 2
    assert words in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_an_unknown_stage_names_the_nearest(config, tmp_path):
    refused = study(config, "--output", "out", "--only", "repot", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Did you mean 'report'?" in refused.stderr
