"""Records, rulers, results and locks that are broken, changed, of another model or of another version."""

import json
import shutil

import pytest

from sparsity_lab.cli.main import main
from sparsity_lab.store.records import seal
from tests.hostile.battery import Case, battery, run_case

MEASURE = "measure {trained} --text {text} --tokens 512 --window 64 --thresholds bad.json"
NEURONS = "neurons {trained} --text {text} --tokens 512 --window 64 --written-tokens 0 --thresholds bad.json"
HEAT = "heat {trained} --text {text} --thresholds bad.json"
EVAL = "eval {trained} --tasks none --thresholds bad.json"
RULER = "density --ruler bad.json --no-sensitivity"
RESULTS = "density --targets results --no-sensitivity"
LOCK = "one/locks/bad.toml"
CHECK = f"check {LOCK}"
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


def holding(content):
    """bad.json with this content."""
    return lambda world: world.write("bad.json", content)


def record(*, sealed=True, **changes):
    """bad.json: the record with other values, its hash made anew unless not `sealed`; None takes a key out."""

    def make(world):
        found = json.loads(world.record.read_text()) | changes
        found = {key: value for key, value in found.items() if value is not None}
        world.write("bad.json", json.dumps(seal(found) if sealed else found))

    return make


def cut_record(world):
    world.write("bad.json", world.record.read_bytes()[:700])


def record_with_nan(world):
    world.write(
        "bad.json",
        world.record.read_text().replace('"activation_ratio": 0.', '"activation_ratio": NaN, "x": 0.'),
    )


def a_weights_file(world):
    world.write("bad.json", (world.trained / "model.safetensors").read_bytes())


RECORDS = battery(
    Case("not there", MEASURE, "bad.json", "No such file"),
    Case("a folder", MEASURE, "bad.json", "directory", lambda world: (world.folder / "bad.json").mkdir()),
    Case("empty", MEASURE, "bad.json", "", holding("")),
    Case("cut short", MEASURE, "bad.json", "", cut_record),
    Case("a conflict of git", MEASURE, "bad.json", "Line 2 begins a conflict of git", holding(
        '{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> other\n}\n')),
    Case("a list", MEASURE, "bad.json", "not a record", holding("[]")),
    Case("another JSON", MEASURE, "bad.json", "not a record", holding('{"results": {}}')),
    Case("weights", MEASURE, "bad.json", "", a_weights_file),
    Case("UTF-16", MEASURE, "bad.json", "", holding('{"content_key": "a"}'.encode("utf-16"))),
    Case("50,000 braces", MEASURE, "bad.json", "deeply", holding(DEEP)),
    Case("NaN", MEASURE, "bad.json", "", record_with_nan),
    Case("a lone surrogate", MEASURE, "bad.json", "", holding('{"content_key": "\\ud800"}')),
    Case("a number changed", MEASURE, "bad.json", "hash", record(sealed=False, knob=0.2)),
    Case("a number changed by hand in a great one", MEASURE, "bad.json", "", holding(
        '{"content_key": "a", "knob": ' + "9" * 5000 + "}")),
    Case("no thresholds", MEASURE, "bad.json", "holds no thresholds", record(thresholds=[])),
    Case("thresholds that are words", MEASURE, "threshold of layer 0", "a number from 0 on",
         record(thresholds=["low", "high"])),
    Case("thresholds that are one word", MEASURE, "thresholds are", "one number a layer",
         record(thresholds="low")),
    Case("a threshold below nothing", MEASURE, "threshold of layer 0", "a number from 0 on",
         record(thresholds=[-1.0, 0.1])),
    Case("an infinite threshold", MEASURE, "bad.json", "", record(thresholds=[1e999, 0.1], sealed=False)),
    Case("a threshold too many", MEASURE, "bad.json", "of another model",
         record(thresholds=[0.1, 0.1, 0.1], layers=3)),
    Case("of another model", MEASURE, "bad.json", "this one has F = 48", record(intermediate_size=4096)),
    Case("of another family", MEASURE, "bad.json", "this one has architecture = llama",
         record(architecture="gpt2")),
    Case("of a criterion yet to come", MEASURE, "'cett-2030'", "Known: ", record(criterion="cett-2030")),
    Case("of a version that knew less", MEASURE, "bad.json", "has no 'layers'", record(layers=None)),
    Case("weights of its score gone", MEASURE, "bad", "safetensors", record(score_weights_sha256="00")),
    Case("beside another criterion", MEASURE + " --criterion fat", "bad.json", "cett", record()),
    Case("beside a knob", MEASURE + " --knob 0.1", "--knob", "--thresholds", record()),
    Case("neurons: cut short", NEURONS, "bad.json", "", cut_record),
    Case("neurons: of another model", NEURONS, "bad.json", "this one has F = 48",
         record(intermediate_size=4096)),
    Case("neurons: an empty folder", NEURONS.replace("bad.json", "."), "record with thresholds"),
    Case("heat: a number changed", HEAT, "bad.json", "hash", record(sealed=False, knob=0.2)),
    Case("heat: of another family", HEAT, "bad.json", "this one has architecture = llama",
         record(architecture="gpt2")),
    Case("eval: cut short", EVAL, "bad.json", "", cut_record),
    Case("eval: no thresholds", EVAL, "bad.json", "holds no thresholds", record(thresholds=[])),
    Case("eval: one record twice", EVAL + " --thresholds bad.json", "both called", "", record()),
    Case("eval: a folder of tasks that is not there", "eval {trained} --tasks a --include-path none", "none", "task"),
)  # fmt: skip

SHARED = {
    "format": "sparsity-lab ruler 1", "form": "one-step", "name": "a", "size_unit": "x", "params": "x",
    "harness": "x", "source": "x", "seed": 0, "draws": 20, "sizes": [1e9, 2e9], "tasks": {"MMLU": {}},
    "points": [{"model": "a", "size": 1e9, "scores": {"MMLU": 0.5}}],
}  # fmt: skip


def ruler(**changes):
    return holding(json.dumps({key: value for key, value in (SHARED | changes).items() if value is not None}))


RULERS = battery(
    Case("not there", RULER, "'bad.json'", "Known"),
    Case("empty", RULER, "bad.json", "", holding("")),
    Case("of a version to come", RULER, "bad.json", "sparsity-lab ruler 1", ruler(format="sparsity-lab ruler 9")),
    Case("no points", RULER, "bad.json", "points", ruler(points=None)),
    Case("points that are none", RULER, "bad.json", "damaged", ruler(points=[1, 2])),
    Case("one point", RULER, "bad.json", "", ruler()),
    Case("sizes that are none", RULER, "bad.json", "damaged", ruler(sizes=[])),
    Case("a form of nobody", RULER, "bad.json", "three-step", ruler(form="three-step")),
    Case("a size that is a word", RULER, "bad.json", "damaged", ruler(
        points=[{"model": "a", "size": "big", "scores": {}}])),
    Case("a score of NaN", RULER, "bad.json", "NaN", holding('{"format": "sparsity-lab ruler 1", "x": NaN}')),
    Case("a key twice", RULER, "bad.json", "'format' is given twice", holding('{"format": "a", "format": "b"}')),
    Case("50,000 braces", RULER, "bad.json", "deeply", holding(DEEP)),
)  # fmt: skip


def results(content, name="results/a/results_2024-01-01.json"):
    return lambda world: world.write(
        name, content if isinstance(content, (bytes, str)) else json.dumps(content)
    )


def with_samples(lines):
    def make(world):
        document = {"results": {"arc_easy": {"acc,none": 0.5}}, "model_name": "a-1B",
                    "config": {"model_num_parameters": 1e9}}  # fmt: skip
        world.write("results/a/results_2024-01-01.json", json.dumps(document))
        world.write("results/a/samples_arc_easy_2024-01-01.jsonl", lines)

    return make


RESULTS_CASES = battery(
    Case("no results", RESULTS, "results", "No file results_", lambda world: (world.folder / "results").mkdir()),
    Case("empty", RESULTS, "results_2024-01-01.json", "", results("")),
    Case("cut short", RESULTS, "results_2024-01-01.json", "", results('{"results": {"arc_easy": {"acc,no')),
    Case("of another version: no results in it", RESULTS, "results_2024-01-01.json", "results",
         results({"scores": {}})),
    Case("of another version: a list", RESULTS, "results_2024-01-01.json", "results", results({"results": []})),
    Case("of another version: bare scores", RESULTS, "results_2024-01-01.json", "", results(
        {"results": {"arc_easy": 0.5}})),
    Case("a list", RESULTS, "results_2024-01-01.json", "", results([])),
    Case("a configuration that is a list", RESULTS, "results_2024-01-01.json", "", results(
        {"results": {"arc_easy": {"acc,none": 0.5}}, "config": [1]})),
    Case("a key twice", RESULTS, "results_2024-01-01.json", "'results' is given twice", results(
        '{"results": {}, "results": {}}')),
    Case("50,000 braces", RESULTS, "results_2024-01-01.json", "deeply", results(DEEP)),
    Case("samples cut short", RESULTS, "samples_arc_easy", "", with_samples('{"doc_id": 0, "targ')),
    Case("samples of another shape", RESULTS, "samples_arc_easy", "line 1", with_samples('{"doc_id": 0}\n')),
    Case("samples that are lists", RESULTS, "samples_arc_easy", "line 1", with_samples("[1, 2]\n")),
    Case("no samples", RESULTS, "samples_arc_easy", "no samples", with_samples("\n")),
)  # fmt: skip


@RECORDS
def test_records(case, world, capfd):
    run_case(case, world, capfd)


@RULERS
def test_rulers(case, world, capfd):
    run_case(case, world, capfd)


@RESULTS_CASES
def test_results_of_lm_eval(case, world, capfd):
    run_case(case, world, capfd)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A folder with a table, its fit and its lock."""
    folder = tmp_path_factory.mktemp("locked")
    rows = [f"run,{n}000000000,{0.3 - 0.1 / n**0.7 + 0.0003 * (-1) ** n}" for n in range(1, 12)]
    (folder / "table.csv").write_text("series,tokens,activation_ratio\n" + "\n".join(rows) + "\n")
    words = [
        "fit",
        folder / "table.csv",
        "--law",
        "power",
        "--rivals",
        "constant",
        "--bootstrap",
        0,
        "--jobs",
        1,
    ]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words), "--output", str(folder / "one"), "--lock", "agreed"])
    assert not stop.value.code
    return folder


def lock(old="", new="", *, appended=""):
    """bad.toml: the lock, one text in it replaced by another."""

    def make(world, locked):
        text = (locked / "one" / "locks" / "run.toml").read_text()
        assert old in text
        world.write(LOCK, text.replace(old, new, 1) + appended)

    return make


LOCKS = battery(
    Case("not there", CHECK, "bad.toml"),
    Case("a table", "check table.csv", "table.csv is not a lock", "TOML"),
    Case("none in the folder", "check .", ".", "--lock REASON"),
    Case("empty", CHECK, "bad.toml", "not complete", lambda world, _: world.write(LOCK, "")),
    Case("binary", CHECK, "bad.toml", "Cannot read", lambda world, _: world.write(LOCK, b"\xff\xfe\x00")),
    Case("a conflict of git", CHECK, "bad.toml", "Line 3 begins a conflict of git",
         lock("format = 2\n", "<<<<<<< ours\nformat = 2\n=======\nformat = 3\n>>>>>>> theirs\n")),
    Case("a law of two inputs", CHECK, "loss-power", "--x A,B", lock('law = "power"', 'law = "loss-power"')),
    Case("a rival of two inputs", CHECK, "loss-power", "--x A,B", lock(
        "rivals = [", 'rivals = ["loss-power", ')),
    Case("no TOML", CHECK, "bad.toml", "Cannot read", lambda world, _: world.write(LOCK, "a = [1")),
    Case("50,000 brackets", CHECK, "bad.toml", "", lambda world, _: world.write(LOCK, "a = " + "[" * 50_000)),
    Case("a key twice", CHECK, "bad.toml", "Cannot read", lock("seed = 0", "seed = 0\nseed = 1")),
    Case("of a version to come", CHECK, "bad.toml", "format 9", lock("format = 2", "format = 9")),
    Case("no reason", CHECK, "bad.toml", "reason is empty", lock('reason = "agreed"', 'reason = " "')),
    Case("a law of nobody", CHECK, "bad.toml", "'powr'", lock('law = "power"', 'law = "powr"')),
    Case("a law that calls", CHECK, "bad.toml", "", lock('law = "power"', 'law = "__import__(\'os\')"')),
    Case("a seed that is a word", CHECK, "bad.toml", "seed", lock("seed = 0", 'seed = "none"')),
    Case("a negative seed", CHECK, "bad.toml", "seed", lock("seed = 0", "seed = -1")),
    Case("dropping below nothing", CHECK, "bad.toml", "dropped_points", lock("dropped_points = 0",
                                                                             "dropped_points = -3")),
    Case("probes that are words", CHECK, "bad.toml", "", lock("[[probes]]\nx = ", "[[probes]]\nx = 'a' #")),
    Case("tolerances gone", CHECK, "bad.toml", "prediction_tolerance", lock("[prediction_tolerance]", "[other]")),
    Case("a table of nobody in the package", CHECK, "bad.toml", "'nowhere'",
         lock('table = "', 'table = "bundled:nowhere" #')),
)  # fmt: skip


@LOCKS
@pytest.mark.long
def test_locks(case, world, capfd, locked, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    if case.make is not None:
        case.make(world, locked)
    shutil.copy(locked / "table.csv", world.folder)
    run_case(Case(case.name, case.words, case.named, case.told), world, capfd)
