"""`sparsity-lab check` as a CI job meets it: exit codes, formats, the refusal under CI."""

import numpy as np
import pytest

from tests import command


def run(*words, cwd, ci=None):
    return command.run(*words, cwd=cwd, environment={"CI": ci})


@pytest.fixture
def study(tmp_path):
    d = np.geomspace(1, 50, 14)
    noise = np.random.default_rng(1).normal(0, 3e-4, 14)
    rows = [f"run,{round(a * 1e9)},{0.3 - 0.1 / a**0.7 + n}" for a, n in zip(d, noise, strict=True)]
    text = "series,tokens,activation_ratio\n" + "\n".join(rows) + "\n"
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    words = (
        "fit",
        "table.csv",
        "--law",
        "power",
        "--bootstrap",
        0,
        "--no-plots",
        "--output",
        "results/one",
        "--lock",
        "agreed",
    )
    assert run(*words, cwd=tmp_path).returncode == 0
    return tmp_path


def test_pass_then_stale_then_update(study):
    done = run("check", cwd=study)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 locks: 1 pass"), done.stderr
    table = study / "table.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    series, tokens, ratio = lines[5].split(",")
    lines[5] = f"{series},{tokens},{float(ratio) * 1.01}"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run("check", "--format", "github", "--output", "report", cwd=study)
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=results/one/locks/run.toml,title=run%3A stale::")
    assert {p.name for p in (study / "report").iterdir()} == {"check.json", "check.csv", "check.md"}
    refused = run("check", "--update", "--reason", "new point", cwd=study, ci="true")
    assert refused.returncode == 2
    assert "refused under CI=true" in refused.stderr
    assert run("check", "--update", cwd=study).returncode == 2
    done = run("check", "--update", "--reason", "new point", cwd=study)
    assert done.returncode == 0
    assert "A0: " in done.stdout
    assert " -> " in done.stdout


def test_mistakes_exit_2(tmp_path):
    for words in (("check",), ("check", "none.toml")):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
