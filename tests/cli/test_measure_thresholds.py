"""`measure --thresholds`, `--transfer` and trained tokens as a user meets them, mistakes among them."""

import csv
import json
import shutil

import pytest

from sparsity_lab.store.records import read_record, seal, write_json
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

SMALL = ("--tokens", 1024, "--window", 64)


def run(*words):
    return exit_code("measure", *words)


def table(output):
    return list(csv.DictReader((output / "table.csv").open(encoding="utf-8")))


@pytest.fixture(scope="module")
def second_text(source_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("second") / "second.txt"
    path.write_text(source_text.read_text(encoding="utf-8")[-30_000:], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def records(trained, source_text, tmp_path_factory):
    """Paths of records of the trained checkpoint, by criterion."""
    output = tmp_path_factory.mktemp("records")
    found = {}
    for criterion, knob in (("cett", 0.2), ("fat", 0.05), ("top-k", 0.4)):
        words = ("--criterion", criterion, "--knob", knob, "--output", output / criterion)
        assert run(trained, "--text", source_text, *SMALL, *words) == 0
        (found[criterion],) = (output / criterion / "records").glob("*.json")
    return found


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


def assert_mistake(code, captured, output, told):
    assert code == 2, captured.err
    errors = [line for line in captured.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, captured.err
    assert told in errors[0], errors[0]
    assert "Traceback" not in captured.err
    assert not output.exists()


@pytest.mark.thorough(1)
@pytest.mark.parametrize("criterion", ["cett", "fat"])
def test_thresholds_bring_their_criterion_along(trained, second_text, records, output, capfd, criterion):
    words = (trained, "--text", second_text, *SMALL, "--thresholds", records[criterion], "--output", output)
    assert run(*words) == 0
    (row,) = table(output)
    record = read_record(records[criterion])
    assert (row["criterion"], row["rule"], row["calibrated_on"]) == (
        criterion,
        "thresholds",
        record["content_key"],
    )
    assert float(row["knob"]) == record["knob"]
    assert "| thresholds |" in capfd.readouterr().out
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    assert config["thresholds"] == str(records[criterion])
    assert run(*words, "--dry-run") == 0
    assert "1 cell, 1 of them measured already" in capfd.readouterr().out
    assert run(*words, "--criterion", criterion) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--knob", 0.1), "--knob does nothing with --thresholds"),
        (("--ppl-increase", "1%"), "--ppl-increase does nothing with --thresholds"),
        (("--activation-ratio", "0.3"), "--activation-ratio does nothing with --thresholds"),
        (("--stabilise", "last:1"), "--stabilise does nothing with --thresholds"),
        (("--compat", "sparsinglaw"), "--compat sparsinglaw finds its own thresholds"),
        (("--criterion", "all"), "--thresholds does nothing with --criterion all"),
        (("--criterion", "fat"), "are of cett, not of fat. Leave --criterion out"),
        (("--transfer", "b=README.md"), "--thresholds does not go together with --transfer"),
    ],
)  # fmt: skip
def test_options_that_contradict_thresholds(trained, second_text, records, output, capfd, words, told):
    code = run(
        trained, "--text", second_text, *SMALL, "--thresholds", records["cett"], *words, "--output", output
    )
    assert_mistake(code, capfd.readouterr(), output, told)


def test_files_that_are_no_thresholds(trained, second_text, records, tmp_path, output, capfd):
    good = json.loads(records["cett"].read_text(encoding="utf-8"))
    damaged = good | {"knob": 0.3}
    bare = seal({"content_key": "00", "criterion": "cett"})
    cases = {
        "absent.json": (None, "Cannot read the record"),
        "text.json": ("no JSON", "Cannot read the record"),
        "list.json": ([1, 2], "is not a record of `sparsity-lab measure`"),
        "bare.json": (bare, "is not a record of `sparsity-lab measure`: it has no 'knob'"),
        "damaged.json": (damaged, "does not match its own hash. It was changed or damaged"),
    }
    for name, (content, told) in cases.items():
        if isinstance(content, str):
            (tmp_path / name).write_text(content, encoding="utf-8")
        elif content is not None:
            write_json(tmp_path / name, content)
        code = run(
            trained, "--text", second_text, *SMALL, "--thresholds", tmp_path / name, "--output", output
        )
        assert_mistake(code, capfd.readouterr(), output, told)
    code = run(trained, "--text", second_text, *SMALL, "--thresholds", records["top-k"], "--output", output)
    told = "holds no thresholds. top-k decides token by token, from that token's own scores. Measure with"
    assert_mistake(code, capfd.readouterr(), output, f"{told} --criterion top-k --knob 0.4: it does the same")


def test_a_transfer_prints_its_matrices(trained, source_text, second_text, output, capfd):
    words = (trained, "--text", source_text, "--transfer", f"end={second_text}", *SMALL, "--knob", 0.2)
    assert run(*words, "--output", output, "--dry-run") == 0
    assert "6 cells, 0 of them measured already" in capfd.readouterr().out
    assert not output.exists()
    assert run(*words, "--output", output) == 0
    printed = capfd.readouterr().out
    assert "## tiny: cett at c = 0.2" in printed
    assert "| calibrated on \\ measured on | sources" in printed
    assert printed.count("±") == 2 + 2 * 4 + 2 * 2
    assert run(*words, "--output", output, "--dry-run") == 0
    assert "6 cells, 6 of them measured already" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--transfer", "second.txt", "--transfer", "x=second.txt"), "are the same"),
        (("--transfer", "sources=second.txt"), "Two texts are called 'sources'"),
        (("--transfer", "=second.txt"), "Write NAME=FILE, or a file"),
        (("--transfer", "b="), "Write NAME=FILE, or a file"),
        (("--transfer", "b=absent.txt"), "Cannot read the text absent.txt"),
        (("--transfer", "second.txt", "--criterion", "top-k"), "top-k has no thresholds that could be carried"),
        (("--transfer", "second.txt", "--criterion", "all"), "--transfer does nothing with --criterion all"),
        (("--transfer", "second.txt", "--stabilise", "last:1"), "--stabilise does not go together with --transfer"),
        (("--transfer", "second.txt", "--tokens", "auto"), "--tokens auto does not go together with --transfer"),
    ],
)  # fmt: skip
def test_transfers_that_cannot_be_made(
    trained, source_text, second_text, output, capfd, monkeypatch, words, told
):
    monkeypatch.chdir(second_text.parent)
    code = run(trained, "--text", source_text, *SMALL, *words, "--output", output)
    assert_mistake(code, capfd.readouterr(), output, told)


@pytest.mark.long
def test_records_take_on_trained_tokens_without_being_measured_again(
    checkpoints, source_text, tmp_path, output, caplog
):
    words = (checkpoints, "--text", source_text, *SMALL, "--knob", 0.1, "--output", output)
    assert run(*words) == 0
    paths = sorted((output / "records").glob("*.json"))
    before = {path: read_record(path) for path in paths}
    assert "trained tokens: 4 from sparsity_lab.json" in caplog.text
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("checkpoint,trained_tokens\nstep-2,5e9\nstep-3,6000000000\n", encoding="utf-8")
    assert run(*words, "--trained-tokens", tokens) == 0
    assert "trained tokens: 2 from sparsity_lab.json, 2 from the CSV" in caplog.text
    assert "0 cells measured in this run" in caplog.text
    assert [row["trained_tokens"] for row in table(output)] == ["1000", "5000000000", "6000000000", "10000"]
    assert sorted((output / "records").glob("*.json")) == paths
    for path in paths:
        after = read_record(path)
        apart = {"trained_tokens", "record_sha256"}
        assert {k: v for k, v in after.items() if k not in apart} == {
            k: v for k, v in before[path].items() if k not in apart
        }
    assert [row["content_key"] for row in table(output)] == [
        read_record(output / "records" / f"{row['content_key']}.json")["content_key"] for row in table(output)
    ]


@pytest.mark.long
def test_steps_in_folder_names_give_tokens(checkpoints, source_text, output, capfd, caplog, tmp_path):
    series = shutil.copytree(checkpoints, tmp_path / "run")
    for folder in series.iterdir():
        (folder / "sparsity_lab.json").unlink()
    words = (series, "--text", source_text, *SMALL, "--knob", 0.1, "--output", output)
    assert run(*words, "--tokens-per-step", 500, "--dry-run") == 0
    assert [line.split("|")[3].strip() for line in capfd.readouterr().out.splitlines()[2:6]] == [
        "500",
        "1000",
        "1500",
        "5000",
    ]
    assert "trained tokens: 4 from steps times --tokens-per-step" in caplog.text
    assert run(*words) == 0
    assert {row["trained_tokens"] for row in table(output)} == {""}
    assert run(*words, "--tokens-per-step", 500) == 0
    assert [row["trained_tokens"] for row in table(output)] == ["500", "1000", "1500", "5000"]


def test_tables_of_trained_tokens_that_cannot_be_used(checkpoints, source_text, tmp_path, output, capfd):
    path = tmp_path / "tokens.csv"
    for content, told in (
        (None, "Cannot read the table"),
        ("checkpoint,trained_tokens\nstep-2,many\n", "Row 2 of"),
        ("checkpoint,tokens\nstep-2,5\n", "has no column 'trained_tokens'"),
        ("checkpoint,trained_tokens\nstep-99,500000\n", "is about a checkpoint of this run"),
    ):
        if content is not None:
            path.write_text(content, encoding="utf-8")
        code = run(checkpoints, "--text", source_text, *SMALL, "--trained-tokens", path, "--output", output)
        assert_mistake(code, capfd.readouterr(), output, told)
