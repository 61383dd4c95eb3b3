"""Every option of `fit` over both kinds of table: it changes what is written or said, or is refused by name."""

import json

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from sparsity_lab.cli.main import app
from sparsity_lab.errors import SparsityLabError

FIT = typer.main.get_command(app).commands["fit"]
# What each option is tried with; the same words for both kinds of table unless a pair says otherwise.
WORDS = {
    "table": None,  # the argument itself, and its alternative below
    "data": "chinchilla",
    "law": ("logarithmic", "power"),
    "ranges": "alpha=0.1:2",
    "inputs": "x=step",
    "fix": "alpha=0.5",
    "tie": "alpha=c",
    "bound": "c=0:",
    "asymptote": "c",
    "forward": "falling",
    "y_range": "0:1",
    "rivals": ("linear", "power"),
    "drop": "2",
    "bootstrap": "25",
    "spare": "4",
    "seed": "7",
    "output": "elsewhere",
    "jobs": "2",
    "weighted": True,
    "x": ("step", "d,n"),
    "y": "other",
    "group": "run",
    "by": "run",
    "se": "se",
    "exclude": "bad",
    "holdout": ("t", "n"),
    "robust": True,
    "delta": "0.01",
    "log_y": True,
    "noise": "power",
    "reach": "0.35",
    "unit": ("t=1e6", "d=1e6"),
    "lock": "agreed",
    "follow": True,
    "plots": True,
    "strict": True,
    "config": "config.yaml",
}
# How a refusal writes what was given.
REFUSED_AS = {
    "bound": "c>=0",
    "forward": "forward falling",
    "y_range": "output 0.0:1.0",
}
# Of these the other kind of table is tried in the quick run.
COSTLY = {("robust", "one"), ("log_y", "one"), ("plots", "one"), ("noise", "one")}
SAME_NUMBERS = {
    "jobs": "it shares the same work among processes",
    "spare": "it leaves out series that have too few points, and these have enough",
}


def point(i, n, d):
    noise = 1e-3 * np.sin(7.0 * i)
    y = 1.7 + 400 * n**-0.34 + 400 * d**-0.28
    return {"n": n, "d": d, "y": y * (1 + noise), "other": 2 * y * (1 - noise)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A table of one input and one of two, with the same further columns; the last row is out of line and flagged.

    Each of the two runs has points at every size, so that the law of each is identified and found quickly.
    """
    folder = tmp_path_factory.mktemp("options")
    t = np.geomspace(1, 60, 16)
    one = [
        {
            "t": x,
            "step": 10 * x + 3,
            "y": 0.4 - 0.2 * x**-0.5 + 1e-3 * np.sin(7.0 * i),
            "other": 0.5 - 0.1 / x + 1e-3 * np.cos(7.0 * i),
        }
        for i, x in enumerate(t)
    ]
    grid = [(n, d) for n in (1e7, 3e7, 1e8, 3e8) for d in (1e9, 3e9, 1e10, 3e10)]
    two = [point(i, n, d) for i, (n, d) in enumerate(grid)]
    for name, rows in (("one", one), ("two", two)):
        for i, row in enumerate(rows):
            row |= {"se": 1e-3 * (1 + i % 3), "run": "ab"[(i + i // 4) % 2], "bad": str(i == 15).lower()}
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": 3, "bootstrap": 25}), encoding="utf-8")
    return folder


BASE = {
    "one": ["--x", "t", "--y", "y", "--law", "power", "--rivals", "constant"],
    "two": ["--x", "n,d", "--y", "y"],
}


def invoke(folder, kind, words, output):
    """Exit code, what is said, and the bytes that say what was found."""
    figures = [] if "--plots" in words else ["--no-plots"]
    words = ["fit", str(folder / f"{kind}.csv"), *BASE[kind], "--bootstrap", "0", *figures, *words]
    if "--output" not in words:
        words += ["--output", str(output)]
    done = CliRunner().invoke(app, words)
    names = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    numbers = (output / "fits.json").read_bytes() if "fits.json" in names else b""
    return done, names, numbers


def refusal(done):
    """The paragraph that the program would end with, by exit code 2; None where it does its work."""
    if isinstance(done.exception, SparsityLabError):
        return done.exception.paragraph()
    return done.output if done.exit_code == 2 else None


@pytest.fixture(scope="module")
def plain(tables, tmp_path_factory):
    return {kind: invoke(tables, kind, [], tmp_path_factory.mktemp(kind)) for kind in BASE}


def test_every_option_is_tried():
    assert set(WORDS) == {parameter.name for parameter in FIT.params}


TRIED = [(name, kind) for name in WORDS if name not in ("table", "strict") for kind in BASE]


@pytest.mark.thorough(16)
@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(*pair, marks=pytest.mark.slow if pair in COSTLY else ()) for pair in TRIED],
    ids=["-".join(pair) for pair in TRIED],
)
def test_an_option_does_something_or_is_refused(tables, plain, tmp_path, kind, name):
    parameter = next(each for each in FIT.params if each.name == name)
    flag, given = parameter.opts[0], WORDS[name]
    value = given[kind == "two"] if isinstance(given, tuple) else given
    if name == "config":
        value = tables / value
    if name == "output":
        value = tmp_path / value
    words = [flag] if value is True else [flag, str(value)]
    extra = {"weighted": ["--se", "se"]}.get(name, [])
    before = plain[kind]
    if name in ("law", "x", "y", "rivals"):  # given already: the last one counts
        done, names, numbers = invoke(tables, kind, words, tmp_path / "out")
    else:
        done, names, numbers = invoke(tables, kind, [*words, *extra], tmp_path / "out")
    if (said := refusal(done)) is not None:
        assert flag in said or str(value) in said or REFUSED_AS.get(name, flag) in said, said
        return
    assert done.exit_code == 0, (done.output, done.exception)
    if name in SAME_NUMBERS:
        assert numbers == before[2]
    elif name == "output":
        assert (value / "fits.json").is_file()
    else:
        assert (names, numbers) != (before[1], before[2])


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("one", ["--by", "run"], "--by does nothing for a law of one input"),
        ("two", ["--reach", "2"], "--reach does nothing for a law of several inputs"),
        ("one", ["--delta", "0.01"], "--delta does nothing without --robust"),
        ("two", ["--follow"], "--follow does nothing without --lock"),
        ("two", ["--weighted"], "cannot be weighted"),
        ("one", ["--se", "none"], "no column 'none'"),
        ("two", ["--se", "none"], "no column 'none'"),
        ("two", ["--rivals", "power"], "has 1 input"),
        (
            "one",
            ["--noise", "power", "--weighted", "--se", "se"],
            "--noise power and weighted exclude each other",
        ),
        ("two", ["--noise", "power", "--robust"], "--noise power and robust exclude each other"),
        ("two", ["--noise", "power", "--log-y"], "--noise power and log exclude each other"),
        ("one", ["--forward", "falling"], "Of a law by name only the range"),
        ("two", ["--y-range", "0:1"], "is said of no law"),
        ("two", ["--range", "alpha=0.1:2"], "is said of no law"),
    ],
)
def test_what_does_nothing_is_refused_by_a_sentence(tables, tmp_path, kind, words, told):
    done, names, _ = invoke(tables, kind, words, tmp_path / "out")
    assert told in (refusal(done) or "")
    assert not names


@pytest.mark.parametrize("kind", ["one", "two"])
@pytest.mark.long
def test_strict_makes_a_finding_of_what_is_not_identified(tables, tmp_path, kind):
    bent = tmp_path / f"{kind}.csv"
    lines = (tables / f"{kind}.csv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    for i, row in enumerate(rows):
        # A turn, and losses that rise with both inputs: no law of the defaults describes them.
        row["y"] = str(1.0 + (abs(i - 8) if kind == "one" else 0.01 * i))
    bent.write_text("\n".join([lines[0], *(",".join(row.values()) for row in rows)]) + "\n", encoding="utf-8")
    assert invoke(tmp_path, kind, ["--strict"], tmp_path / "a")[0].exit_code == 1
    assert invoke(tmp_path, kind, [], tmp_path / "b")[0].exit_code == 0
    assert invoke(tables, kind, ["--strict"], tmp_path / "c")[0].exit_code == 0
    assert (
        json.loads((tmp_path / "a" / "fits.json").read_text(encoding="utf-8"))[0]["verdict"]
        == "not identified"
    )
