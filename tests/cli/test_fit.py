"""`sparsity-lab fit` as a user meets it."""

import json
import math

import pytest

from tests.command import run


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    rows = [f"run,{i * 10**9},{0.3 - 0.1 / i**0.5 + 0.001 * (-1) ** i}" for i in range(1, 15)]
    path.write_text("series,tokens,activation_ratio\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.long
def test_it_writes_and_says_what_it_found(table, tmp_path):
    done = run("fit", table, "--output", tmp_path / "out", "--bootstrap", 20, "--law", "power", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run: power, " in done.stdout
    assert (tmp_path / "out" / "fits.json").exists()


@pytest.mark.slow
def test_a_config_says_what_flags_would(table, tmp_path):
    """The same numbers to the last digit, whichever way the options came; a flag wins over the file."""
    config = tmp_path / "fit.yaml"
    config.write_text(
        f"table: {table}\nlaw: power\nbootstrap: 20\nseed: 5\nplots: false\noutput: nowhere\n",
        encoding="utf-8",
    )
    words = ("--law", "power", "--bootstrap", 20, "--seed", 5, "--no-plots", "--output", tmp_path / "flags")
    assert run("fit", table, *words, cwd=tmp_path).returncode == 0
    done = run("fit", "--config", config, "--output", tmp_path / "file", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "nowhere").exists()
    saved = tmp_path / "file" / "config.json"
    again = run("fit", "--config", saved, "--output", tmp_path / "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    flags, file, resolved = (
        (tmp_path / name / "fits.csv").read_bytes() for name in ("flags", "file", "again")
    )
    assert file == flags
    assert resolved == flags
    assert (tmp_path / "again" / "config.json").read_bytes() == saved.read_bytes()


def test_a_table_of_a_spreadsheet_gives_the_numbers_of_the_plain_one(table, tmp_path):
    text = (
        table.read_text(encoding="utf-8")
        .replace("000000,", ",")
        .replace(".", ",;")
        .replace(",", ";")
        .replace(";;", ",")
    )
    text = text.replace("series;tokens", "series;tokens (1,000,000)").replace("\n", ";\r\n")
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbfsep=;\r\n" + text.encode())
    words = (
        "--law",
        "power",
        "--bootstrap",
        0,
        "--rivals",
        "constant",
        "--y",
        "activation_ratio",
        "--group",
        "series",
        "--no-plots",
    )
    plain = run("fit", table, "--output", tmp_path / "plain", "--x", "tokens", *words, cwd=tmp_path)
    done = run(
        "-q", "fit", "excel.csv", "--output", "excel", "--x", "tokens (1,000,000)", *words, cwd=tmp_path
    )
    assert (plain.returncode, done.returncode, done.stderr) == (0, 0, "")
    values = [json.loads((tmp_path / name / "fits.json").read_text(encoding="utf-8"))[0]["coefficients"]
              for name in ("plain", "excel")]  # fmt: skip
    assert values[0] == values[1]


def test_a_faulty_table_is_one_paragraph_and_exit_2(table, tmp_path):
    table.write_text(table.read_text(encoding="utf-8").replace("0.2", "-0.2", 1), encoding="utf-8")
    done = run("fit", table, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "table.csv: row 3, column 'activation_ratio'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Name one table"),
        (("--data", "sparsing-lwa"), "Did you mean 'sparsing-law'"),
        (("none.csv",), "Cannot read the table"),
        (("TABLE", "--law", "sigmod"), "Did you mean 'sigmoid'"),
        (("TABLE", "--drop", "many"), "not a number of points"),
        (("TABLE", "--drop", "rnu=2"), "Did you mean 'run'"),
    ],
)
def test_mistakes(table, tmp_path, words, told):
    done = run("fit", *(table if w == "TABLE" else w for w in words), cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_strict_makes_an_open_limit_a_finding(tmp_path):
    path = tmp_path / "line.csv"
    rows = [f"run,{i * 10**9},{0.2 + 0.01 * i}" for i in range(1, 15)]
    path.write_text("series,tokens,activation_ratio\n" + "\n".join(rows) + "\n", encoding="utf-8")
    words = ("--law", "power", "--strict", "--bootstrap", 0, "--no-plots", "--output", "out")
    done = run("fit", path, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "not identified" in done.stdout


def test_a_formula_as_the_law_its_lock_and_an_inversion(table, tmp_path):
    law = ("--law", "A0 - c*x^-alpha", "--range", "alpha=0.05:5")
    words = ("--bootstrap", 30, "--no-plots", "--reach", 0.27, "--lock", "a formula", "--output", "results/f")
    done = run("fit", table, *law, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results" / "f" / "fits.md").read_text(encoding="utf-8")
    assert "- Reaches 0.27 at " in text
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 locks: 1 pass"), done.stdout


def test_a_formula_without_a_range_says_which_it_finds(table, tmp_path):
    words = ("--law", "A0 - c*x^-alpha", "--bootstrap", 0, "--no-plots", "--output", "out")
    done = run("fit", table, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ranges found: alpha=0.01:10.0" in done.stderr
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert entry["law"] == "A0 - c*x^-alpha; alpha=0.01:10.0"
    assert {"A0", "alpha"} <= set(entry["profiles"])


def test_weights_need_standard_errors(table, tmp_path):
    done = run("fit", table, "--weighted", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be weighted" in done.stderr


def write_grid(path, beta, noise):
    """Losses of a grid of parameters and tokens; without any noise the search goes on to the last bit."""
    rows = []
    for i, (n, d) in enumerate((n, d) for n in (1e8, 3e8, 1e9, 3e9) for d in (1e9, 1e10, 1e11)):
        loss = 1.8 + 480 * n**-0.35 + 2100 * d**-beta
        rows.append(f"{n},{d},{loss * (1 + noise * math.sin(7.0 * i))}")
    path.write_text("n,d,loss\n" + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.parametrize("noise", [1e-7, pytest.param(0, marks=pytest.mark.slow)])
def test_several_inputs(tmp_path, noise):
    write_grid(tmp_path / "runs.csv", 0.37, noise)
    words = ("fit", "runs.csv", "--x", "n,d", "--y", "loss", "--bootstrap", 0, "--output", "out")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "alpha = 0.35, beta = 0.37" in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "config.json",
        "fits.json",
        "fits.csv",
        "fits.md",
        "residuals.csv",
        "plots",
        "provenance.json",
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--law", "E + a*N^-al + b*D^-be", "--inputs", "N=n,D=d"), "al = 0.35, E = 1.8, a = 480, b = 2100"),
        (("--law", "E + a*n^-al + b*d^-be", "--x", "n,d"), "inputs n, d; al=0.01:3.0; be=al; a>=0.0"),
    ],
)
@pytest.mark.parametrize("noise", [1e-7, pytest.param(0, marks=pytest.mark.slow)])
def test_a_formula_of_named_inputs_is_locked_with_all_that_is_said_of_it(tmp_path, words, told, noise):
    write_grid(tmp_path / "runs.csv", 0.35, noise)
    said = ("--y", "loss", "--tie", "be=al", "--bound", "a=0:", "--bootstrap", 0, "--no-plots")
    done = run("fit", "runs.csv", *words, *said, "--lock", "a test", "--output", "results/a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 locks: 1 pass"), done.stdout


def test_a_law_by_name_with_a_range_stays_that_law(table, tmp_path):
    law = ("--law", "power", "--range", "alpha=.1:2", "--rivals", "power,constant")
    done = run("fit", table, *law, "--bootstrap", 0, "--no-plots", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert (entry["law"], set(entry["coefficients"])) == ("power; alpha=0.1:2.0", {"alpha", "c", "A0"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--law", "power", "--fix", "A0=0.4"), 'Type its formula: --law "A0 - c*x^-alpha"'),
        (("--law", "A0 - c*D^-al"), "--inputs"),
        (("--law", "A0 - c*D^-al", "--inputs", "D"), "--inputs 'D' does not name the columns"),
        (("--law", "A0 - c*D^-al", "--inputs", "D=tokens", "--x", "tokens"), "--x names them as well"),
        (("--fix", "A0=0.4"), "The law is auto"),
        (("--law", "A0 - c*x^-al", "--bound", "c=1"), "not a bound of a coefficient"),
        (("--law", "A0 - c*x^-al", "--asymptote", "al"), "cannot be its asymptote"),
    ],
)
def test_what_cannot_be_said_of_a_law_is_refused(table, tmp_path, words, told):
    done = run("fit", table, *words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr
