"""Words about texts are the same in every command that reads one, and come from one place."""

import inspect
import json
import math
from dataclasses import fields

import datasets
import pytest
from pyarrow import parquet

from sparsity_lab.cli import affinity, evaluate, heat, neurons, predict, structure
from sparsity_lab.cli.console import absent
from sparsity_lab.cli.main import app
from sparsity_lab.cli.measure_options import MeasureOptions
from sparsity_lab.ladder.study.study_config import MeasureSection
from sparsity_lab.measure.callback import MeasureCallback
from sparsity_lab.store.records import find_record
from tests.cli.test_ranges import commands
from tests.command import ROOT, process, run

ONE = {"measure": MeasureOptions, "eval": evaluate.EvalOptions, "heat": heat.HeatOptions}
SEVERAL = {
    "neurons": neurons.NeuronsOptions, "structure": structure.StructureOptions, "predict": predict.PredictOptions,
}  # fmt: skip
NAMES = {"--text", "--dataset"}
ALIKE = {"--text-column", "--tokenizer", "--revision", "--pack", "--window", "--sample"}
WORDS = NAMES | ALIKE | {"--tokens", "--seed"}  # these two have a meaning of their own in some commands


def options_of(command):
    """The options of a command of typer's by their flags."""
    hints = inspect.get_annotations(command)
    notes = [hint.__metadata__[0] for hint in hints.values() if hasattr(hint, "__metadata__")]
    flags = [(note, [note.default, *(getattr(note, "param_decls", None) or ())]) for note in notes]
    return {flag: note for note, words in flags for flag in words if str(flag).startswith("--")}


ALL = {".".join(path): options_of(command) for path, command in commands(app)}


def declaring(kind, name):
    return next(base for base in kind.__mro__ if name in inspect.get_annotations(base))


READING = {name for name, options in ALL.items() if set(options) & NAMES}


def test_the_commands_that_read_texts_are_these():
    assert {*ONE, *SEVERAL, "affinity", "bench.measure"} == READING


@pytest.mark.parametrize("word", sorted(WORDS))
@pytest.mark.parametrize("name", sorted(READING))
def test_a_command_that_reads_a_text_takes_each_word_or_says_why_not(name, word):
    assert (word in ALL[name]) != bool(absent.reason(name, word))
    if word not in ALL[name]:
        done = run(*name.split("."), word, "1")
        assert done.returncode == 2
        assert absent.reason(name, word) in done.stderr


def test_every_reason_is_of_a_word_that_others_take():
    assert set(absent.ABSENT) <= READING
    assert {word for words in absent.ABSENT.values() for word in words} <= WORDS


def test_a_word_means_the_same_in_every_command():
    for word in ALIKE:
        said = {
            (ALL[name][word].help, str(ALL[name][word].show_default))
            for name in {*ONE, *SEVERAL}
            if word in ALL[name]
        }
        assert len(said) == 1, word
    for kind in (ONE, SEVERAL):
        for word in ("--text", "--dataset"):
            assert len({(ALL[name][word].help, ALL[name][word].metavar) for name in kind}) == 1, word


@pytest.mark.parametrize("name", ["tokenizer", "revisions", "sample", "text_column", "pack", "bos"])
def test_each_word_is_declared_once(name):
    assert len({declaring(kind, name) for kind in (*ONE.values(), *SEVERAL.values())}) == 1


@pytest.mark.parametrize(
    ("kinds", "names"),
    [(ONE, ("text", "dataset")), (SEVERAL | {"affinity": affinity.AffinityOptions}, ("texts", "datasets"))],
)
def test_texts_are_named_in_one_place(kinds, names):
    for name in names:
        assert len({declaring(kind, name) for kind in kinds.values()}) == 1


def test_the_callback_and_a_study_take_them_too():
    """But for what is the Trainer's or the ladder's: the model with its revision, and in a study tokenizer and seed."""
    words = {word[2:].replace("-", "_") for word in WORDS - {"--revision"}}
    assert set(inspect.signature(MeasureCallback.__init__).parameters) >= words
    assert {field.name for field in fields(MeasureSection)} >= words - {"tokenizer", "seed"}


@pytest.fixture(scope="module")
def corpus(sources, tmp_path_factory):
    """Documents as a parquet file, and as a dataset saved to a folder, under another column's name than usual."""
    place = tmp_path_factory.mktemp("corpus")
    rows = [sources[begin : begin + 500 + begin % 900] for begin in range(0, 400_000, 1300)]
    made = datasets.Dataset.from_dict({"id": list(range(len(rows))), "body": rows})
    made.to_parquet(str(place / "rows.parquet"))
    made.save_to_disk(str(place / "saved"))
    return place


HOW = ("--text-column", "body", "--tokens", "1024", "--window", "32")


@pytest.fixture(scope="module")
def measured(corpus, trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("measured")
    done = run("measure", trained, "--dataset", corpus / "saved", *HOW, "--knob", "0.2", "--output", output)
    assert done.returncode == 0, done.stderr
    return next((output / "records").glob("*.json"))


@pytest.mark.long
def test_the_perplexity_of_eval_is_that_of_measure(corpus, trained, measured, tmp_path):
    pytest.importorskip("lm_eval")
    record = json.loads(measured.read_text())
    for words in (["--dataset", corpus / "saved"], ["--text", corpus / "rows.parquet"]):
        done = run(
            "eval", trained, *words, *HOW, "--thresholds", measured, "--output", tmp_path / words[0][2:]
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads((tmp_path / words[0][2:] / "eval.json").read_text())["rows"]
        name = "saved" if words[0] == "--dataset" else "rows"
        found = [row[f"{name} (perplexity)"] for row in rows]
        assert found == pytest.approx([record["ppl_dense"], record["ppl_sparse"]], rel=1e-6)
        assert all(0 < row[f"{name} ± se"] < row[f"{name} (perplexity)"] / 3 for row in rows)
        kept = [
            json.loads(path.read_text()) for path in (tmp_path / words[0][2:] / "eval_records").glob("*.json")
        ]
        assert [each["text_source"]["documents_used"] > 4 for each in kept] == [True, True]


@pytest.mark.parametrize(
    "words", [[], ["--tasks", "x", "--sample", "head"], ["--tasks", "x", "--tokens", "64"]]
)
def test_eval_refuses_words_about_no_text(words, trained, tmp_path):
    pytest.importorskip("lm_eval")
    assert run("eval", trained, *words, "--output", tmp_path).returncode == 2


@pytest.mark.parametrize("command", ["neurons", "structure", "predict"])
def test_commands_of_several_texts_take_datasets_beside_files(command, corpus, trained, measured, tmp_path):
    words = [command, trained, "--thresholds", measured, *HOW, "--dry-run"]
    words += ["--written-tokens", "0"] if command == "neurons" else []
    as_set, as_file = ["--dataset", f"set={corpus / 'saved'}"], ["--text", f"file={corpus / 'rows.parquet'}"]
    assert run(*words, *as_file, *as_set).returncode == 2, "both are the same tokens"
    done = run(*words, *as_set)
    assert done.returncode == 0, done.stderr
    assert "set" in done.stdout


@pytest.mark.long
def test_neurons_say_where_their_text_is_and_affinity_reads_it_again(corpus, trained, measured, tmp_path):
    output = tmp_path / "neurons"
    done = run(
        "neurons", trained, "--thresholds", measured, "--dataset", corpus / "saved", *HOW, "--sample", "head",
        "--written-tokens", "0", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (output / "neuron_records").glob("*.json")
    source = json.loads(path.read_text())["text_source"]
    assert (source["form"], source["column"], source["first_document"]) == ("saved dataset", "body", 0)
    done = run(
        "affinity", path, "--measure", "--pairs", "6", "--shape", "48x32", "--ratio", "0.5", "--device", "cpu",
        "--output", tmp_path / "affinity",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_transfer_takes_datasets(corpus, trained, source_text, tmp_path):
    done = run(
        "measure", trained, "--text", source_text, "--transfer-dataset", corpus / "saved", *HOW, "--knob", "0.2",
        "--output", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "saved" in (tmp_path / "transfer.csv").read_text()


@pytest.mark.long
def test_heat_shows_the_first_document_or_one_that_is_drawn(corpus, trained, measured, tmp_path):
    rows = parquet.read_table(corpus / "rows.parquet").column("body").to_pylist()
    for words, seed in ((["--dataset", corpus / "saved"], None), (["--text", corpus / "rows.parquet"], 3)):
        drawn = [] if seed is None else ["--sample", "spread", "--seed", seed]
        output = tmp_path / str(seed)
        done = run(
            "heat", trained, *words, *drawn, "--text-column", "body", "--thresholds", measured, "--tokens", "20",
            "--output", output,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads((output / "token_heat.json").read_text())
        number = found["text_source"]["first_document"]
        assert (number == 0) == (seed is None)
        assert rows[number].strip().startswith("".join(found["tokens"]))


def test_packed_heat_goes_over_the_borders_of_documents(corpus, trained, measured, tmp_path):
    rows = parquet.read_table(corpus / "rows.parquet").column("body").to_pylist()
    (tmp_path / "short.jsonl").write_text("\n".join(json.dumps({"body": row[:30]}) for row in rows))
    for seed in (None, 3):
        drawn = [] if seed is None else ["--sample", "spread", "--seed", seed]
        output = tmp_path / str(seed)
        done = run(
            "heat", trained, "--text", tmp_path / "short.jsonl", "--pack", *drawn, "--text-column", "body",
            "--thresholds", measured, "--tokens", "100", "--output", output,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads((output / "token_heat.json").read_text())
        number = found["text_source"]["first_document"]
        assert (number == 0) == (seed is None)
        shown = "".join(found["tokens"])
        packed = "\n\n".join(row[:30] for row in rows[number:])
        assert len(shown) > 62, "two documents and more"
        assert packed.strip().startswith(shown)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--dataset", "saved"], marks=pytest.mark.long),
        pytest.param(["--text", "rows.parquet", "--pack"], marks=pytest.mark.slow),
    ],
    ids=["apart", "packed"],
)
def test_a_released_algorithm_reads_the_windows_that_measure_does(words, corpus, trained, tmp_path):
    flag, name, *pack = words
    text = [flag, corpus / name, *pack, "--text-column", "body", "--tokens", "256", "--window", "32"]
    done = run(
        "bench", "measure", trained, "--against", "sparsinglaw", *text, "--knob", "0.2", "--output", tmp_path
    )
    assert done.returncode == 0, done.stderr
    done = run("measure", trained, *text, "--sample", "head", "--knob", "0.2", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "records").glob("*.json")
    found, record = json.loads((tmp_path / "sparsinglaw.json").read_text()), json.loads(record.read_text())
    assert (found["text_sha256"], found["text_source"]) == (record["text_sha256"], record["text_source"])


@pytest.mark.long
def test_a_text_alone_is_evaluated_without_lm_eval(corpus, trained, measured, tmp_path):
    """In a process that finds neither lm-eval nor datasets, which tasks need."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n\nhidden, real = ('datasets', 'lm_eval'), importlib.util.find_spec\n"
        "class Hidden:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name in hidden:\n            raise ModuleNotFoundError(name, name=name)\n\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "importlib.util.find_spec = lambda name, package=None: None if name in hidden else real(name, package)\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    words = ["eval", trained, "--text", corpus / "rows.parquet", *HOW, "--output", tmp_path / "out"]
    done = process(*words, environment=environment)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "out" / "eval.json").read_text())["rows"]
    assert row["rows (perplexity)"] == pytest.approx(json.loads(measured.read_text())["ppl_dense"], rel=1e-6)
    refused = process(*words, "--tasks", "arc_easy", environment=environment)
    assert refused.returncode == 2
    assert "lm_eval" in refused.stderr


def test_the_callback_reads_a_dataset_as_measure_does(corpus, measured, trained, tmp_path):
    from transformers import AutoTokenizer

    callback = MeasureCallback(
        dataset=str(corpus / "saved"), text_column="body", tokens=1024, window=32, output=tmp_path, every_steps=1,
        tokenizer=AutoTokenizer.from_pretrained(trained),
    )  # fmt: skip
    windows = callback._windows(_Config(), callback.tokenizer)
    assert windows.sha256 == find_record(measured.parent, measured.stem)["text_sha256"]
    assert not math.isnan(windows.tokens)


class _Config:
    """The little that a callback asks of a model's config."""

    max_position_embeddings = 64

    def get_text_config(self):
        return self
