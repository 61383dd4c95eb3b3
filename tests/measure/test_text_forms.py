"""The same documents in every form that people have them in: the same windows, borders and numbers, and refusals."""

import gzip
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.model.sampling import sampled
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.reading.texts.dataset_name import SHORT_NAMES, DatasetName
from sparsity_lab.reading.texts.documents import Packed
from sparsity_lab.reading.texts.tables import ParquetFile
from sparsity_lab.settings import HEAD, SPREAD, Sampling
from tests.command import run

COUNT = 900


@pytest.fixture(scope="module")
def reader(trained):
    return load_text_tokenizer(Source(str(trained)))


@pytest.fixture(scope="module")
def documents(sources):
    """Documents of many lengths; some are empty, some begin with a mark or have line ends of other systems."""
    generator = np.random.default_rng(0)
    begins = generator.integers(0, len(sources) - 4000, COUNT)
    words = [sources[begin : begin + int(generator.exponential(350))].strip() for begin in begins]
    words[3], words[4] = "", "   "
    words[5] = words[5] + "\r\nnaïve “line”\r\n" * 40
    return words


def folder_of(path, documents):
    path.mkdir()
    for number, text in enumerate(documents):
        mark = "\ufeff" if number % 7 == 0 else ""
        (path / f"{number:05}.txt").write_bytes((mark + text).encode())
    return path


def lines_of(path, documents):
    rows = [json.dumps({"id": "x" * (n % 50), "text": text}) for n, text in enumerate(documents)]
    path.write_text("\ufeff" + "\n\n".join(rows), encoding="utf-8")
    return path


def compressed(path, documents):
    raw = lines_of(path.with_name("raw.jsonl"), documents)
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(raw.read_bytes())
    else:
        path.write_bytes(gzip.compress(raw.read_bytes()))
    return path


def parquet_of(path, documents):
    table = pa.table({"meta": [{"n": n} for n in range(len(documents))], "text": documents})
    parquet.write_table(table, path, row_group_size=50)
    return path


def shards_of(path, documents):
    path.mkdir()
    for number, begin in enumerate(range(0, len(documents), 250)):
        parquet_of(path / f"part-{number}.parquet", documents[begin : begin + 250])
    return path


def saved(path, documents):
    datasets.Dataset.from_dict({"text": documents}).save_to_disk(str(path))
    return DatasetName(str(path))


def saved_splits(path, documents):
    whole = datasets.Dataset.from_dict({"text": documents})
    datasets.DatasetDict({"train": whole.select(range(3)), "test": whole}).save_to_disk(str(path))
    return DatasetName(f"{path}::test")


def loadable(path, documents):
    path.mkdir()
    shards_of(path / "data", documents)
    (path / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: validation\n    path: data/*.parquet\n---\n"
    )
    return DatasetName(f"{path}:en:validation")


def loadable_lines(path, documents):
    path.mkdir()
    lines_of(path / "test.jsonl", documents)
    return DatasetName(f"{path}")


def loadable_csv(path, documents):
    """A kind that the library prepares in its cache."""
    path.mkdir()
    datasets.Dataset.from_dict({"text": documents}).to_csv(str(path / "test.csv"))
    return DatasetName(f"{path}")


FORMS = {
    "lines.jsonl": lines_of, "lines.jsonl.gz": compressed, "lines.jsonl.zst": compressed, "table.parquet": parquet_of,
    "shards": shards_of, "saved": saved, "splits": saved_splits, "loadable": loadable, "loadable-lines": loadable_lines,
}  # fmt: skip


@pytest.fixture(scope="module")
def forms(tmp_path_factory, documents):
    place = tmp_path_factory.mktemp("forms")
    made = {name: make(place / name, documents) for name, make in FORMS.items()}
    return {"folder": folder_of(place / "folder", documents), **made}


@pytest.mark.thorough(3)
@pytest.mark.parametrize("pack", [False, True], ids=["apart", "packed"])
@pytest.mark.parametrize(
    ("tokens", "window", "sample"),
    [(512, 32, SPREAD), (512, 32, HEAD), (2048, 16, SPREAD), (10**6, 64, SPREAD), (4096, 512, SPREAD)],
)
def test_every_form_gives_the_same_windows_and_borders(reader, forms, tokens, window, sample, pack):
    """512 tokens: many documents for each window; 2,048: few; 10**6: the whole text."""
    found = {
        name: sampled(reader, open_text(form, pack=pack), Sampling(tokens, window, sample))
        for name, form in forms.items()
    }
    wanted = found["folder"]
    assert wanted.count >= 7
    for name, windows in found.items():
        assert windows.sha256 == wanted.sha256, name
        assert windows.units == wanted.units, name
        assert (windows.sample, windows.notes) == (wanted.sample, wanted.notes), name
    assert (wanted.units is None) == pack
    if not pack:
        source = wanted.source
        assert source["documents_used"] == len(set(wanted.units))
        assert (source["first_document"], source["last_document"]) == (min(wanted.units), max(wanted.units))
        ranges = [range(first, last + 1) for first, last in source["document_ranges"]]
        assert [number for numbers in ranges for number in numbers] == sorted(set(wanted.units))


@pytest.mark.long
def test_every_form_gives_the_same_numbers(forms, trained, tmp_path):
    numbers = {}
    for name in ("folder", "lines.jsonl", "table.parquet", "saved", "loadable"):
        form = forms[name]
        flag = "--dataset" if isinstance(form, DatasetName) else "--text"
        done = run(
            "measure", trained, flag, form, "--knob", "0.1", "--tokens", "1024", "--window", "32",
            "--output", tmp_path / name,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (record,) = [json.loads(path.read_text()) for path in (tmp_path / name / "records").glob("*.json")]
        source = record["text_source"]
        assert source["column"] == "text" if name != "folder" else "column" not in source
        assert source["documents_used"] > 4
        numbers[name] = {
            key: record[key]
            for key in (
                "content_key",
                "text_sha256",
                "activation_ratio",
                "activation_ratio_se",
                "loss_dense_nats",
            )
        }
        if name == "loadable":
            assert (source["config"], source["split"], source["form"]) == ("en", "validation", "dataset")
            assert source["fingerprint"]
        if name == "saved":
            assert (source["form"], len(source["fingerprint"])) == ("saved dataset", 16)
    assert len({json.dumps(each) for each in numbers.values()}) == 1


@pytest.mark.long
def test_documents_weigh_as_their_bytes_do(reader, forms, documents):
    """Over many seeds, the share of windows of each document is its share of the text that holds windows."""
    text, window = open_text(forms["table.parquet"]), 32
    lengths = np.array([len(each) for each in documents], float)
    drawn = np.zeros(COUNT)
    for seed in range(150):
        windows = sampled(reader, text, Sampling(512, window, SPREAD, seed))
        assert text.count() > 16 * windows.count, "many documents for each window"
        np.add.at(drawn, list(windows.units), 1)
    thirds = np.array_split(np.argsort(lengths), 3)
    shares = [drawn[part].sum() / drawn.sum() for part in thirds]
    wanted = [lengths[part].sum() / lengths.sum() for part in thirds]
    assert shares == pytest.approx(wanted, abs=0.05)


def test_the_library_prepares_what_we_do_not_read(reader, documents, tmp_path):
    plain = [text.replace("\r", "") for text in documents if text.strip()]
    name = loadable_csv(tmp_path / "csv", plain)
    wanted = open_text(folder_of(tmp_path / "folder", plain))
    for asked in (Sampling(512, 32), Sampling(512, 32, HEAD)):
        assert sampled(reader, open_text(name), asked).sha256 == sampled(reader, wanted, asked).sha256


def test_row_groups_without_windows_are_not_read(reader, tmp_path, monkeypatch):
    words = [" ".join(f"{n}·{k}" for k in range(200)) for n in range(20_000)]
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"text": words}), path, row_group_size=100)
    text = open_text(path)
    read = set()
    batches = ParquetFile._batches
    monkeypatch.setattr(
        ParquetFile, "_batches", lambda self, groups: read.update(groups) or batches(self, groups)
    )
    windows = sampled(reader, text, Sampling(512, 64))
    assert windows.count == 8
    assert read <= {number // 100 + k for number in windows.units for k in (-1, 0, 1)} | {0}
    assert len(read) < 20


def test_lines_are_found_by_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsity_lab.reading.texts.json_lines.BLOCK", 97)
    rows = [json.dumps({"text": f"{n} " * (n % 60)}) for n in range(200)]
    path = tmp_path / "text.jsonl"
    for between in ("\n", "\r\n", "\n \t \n", "\n\n\n"):
        path.write_bytes(between.join(["", *rows]).encode())
        text = open_text(path)
        assert text.count() == 200
        for number in (*range(0, 200, 7), 199, 3, 150, 149):
            assert text.document(number).whole() == f"{number} " * (number % 60)
        assert [each.whole() for each in text.each()] == [f"{n} " * (n % 60) for n in range(200)]


WORDS = '{"text": "' + "a b c d e f " * 20 + '"}\n'
BAD = {
    "a line that is no JSON": ("t.jsonl", (WORDS * 40 + "nonsense\n" + WORDS * 40).encode(), "41"),
    "a line that is not UTF-8": ("t.jsonl", (WORDS * 5).encode() + '{"text": "é"}\n'.encode("latin-1"), "6"),
    "half of a character": ("t.jsonl", (WORDS * 5 + '{"text": "\\ud800"}\n').encode(), "t.jsonl"),
    "null": ("t.jsonl", (WORDS * 5 + '{"text": null}\n').encode(), "null"),
    "no object": ("t.jsonl", (WORDS * 5 + "[1]\n").encode(), "6"),
    "cut short": ("t.jsonl.gz", gzip.compress(WORDS.encode() * 900)[:-30], "t.jsonl.gz"),
    "no gzip": ("t.jsonl.gz", WORDS.encode(), "t.jsonl.gz"),
    "no zstd": ("t.jsonl.zst", WORDS.encode(), "t.jsonl.zst"),
    "no parquet": ("t.parquet", b"PAR1" + b"x" * 99, "t.parquet"),
    "no documents": ("t.jsonl", b"\n\n", "empty"),
    "blank documents": ("t.jsonl", b'{"text": ""}\n{"text": " "}\n', "empty"),
    "utf-16": ("t.jsonl", WORDS.encode("utf-16"), "UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_hold_no_documents_are_refused(case, tmp_path, trained):
    name, raw, told = BAD[case]
    (tmp_path / name).write_bytes(raw)
    done = run(
        "measure", trained, "--text", tmp_path / name, "--knob", "0.1", "--tokens", "4096", "--window", "8"
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def table_cases(place):
    rows = [{"n": n} for n in range(9)]
    parquet.write_table(
        pa.table({"meta": rows, "turns": [["a"]] * 9, "body": ["a b"] * 9, "empty": pa.nulls(9)}),
        place / "t.parquet",
    )
    return place / "t.parquet"


@pytest.mark.parametrize("column", [None, "meta", "turns", "empty"])
def test_columns_that_hold_no_text_are_refused(column, tmp_path, trained):
    path = table_cases(tmp_path)
    folder = tmp_path / "saved"
    datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache")).save_to_disk(str(folder))
    for words in (["--text", path], ["--dataset", folder]):
        column_words = [] if column is None else ["--text-column", column]
        done = run("measure", trained, *words, *column_words, "--knob", "0.1")
        assert done.returncode == 2
        assert "'body'" in done.stderr, "the columns that hold text are named"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--dataset {place}/nowhere/at/all", "nowhere/at/all"),
        ("--dataset {place}/loadable:fr", "en"),
        ("--dataset {place}/loadable:en:train", "validation"),
        ("--dataset {place}/splits", "train, test"),
        ("--dataset {place}/splits::dev", "train, test"),
        ("--dataset {place}/saved::train", "without a split"),
        ("--dataset {place}/saved@abc", "revision"),
        ("--dataset {place}/table.parquet", "--text"),
        ("--dataset {place}/shards@x:y:z:w", "not understood"),
        ("--dataset :", "not understood"),
        ("--text {place}/saved", "--dataset"),
        ("--text {place}/lines.jsonl --dataset {place}/saved", "Both"),
        ("--dataset {place}/saved --text-column body", "'text'"),
    ],
)
def test_datasets_that_are_not_there_are_refused(words, told, forms, trained, tmp_path):
    place = forms["folder"].parent
    words = words.format(place=place).split()
    done = run("measure", trained, *words, "--knob", "0.1", "--offline", "--output", tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("count", "tokens"), [(40, 2048), (40, 10**6), (4000, 512)], ids=["some", "all", "many"]
)
def test_a_text_that_repeats_itself_is_told_of(reader, sources, tmp_path, count, tokens):
    """Errors of its numbers would be too small; a text that does not repeat itself says nothing."""
    words = sources[:4000].split()
    rows = [" ".join(np.random.default_rng(n).permutation(words)[:200]) for n in range(count)]
    for name, texts in (("other", rows), ("same", rows[:1] * count)):
        path = lines_of(tmp_path / f"{name}.jsonl", texts)
        notes = sampled(reader, open_text(path), Sampling(tokens, 32)).notes
        assert any("independent" in note for note in notes) == (name == "same"), notes


def rowless(place):
    """Datasets without a row, as people have them: header lines, splits, files."""
    (place / "csv").mkdir()
    (place / "csv" / "test.csv").write_text("text\n")
    (place / "lines").mkdir()
    (place / "lines" / "test.jsonl").write_text("")
    nothing = datasets.Dataset.from_dict({"text": []})
    nothing.save_to_disk(str(place / "saved"))
    datasets.DatasetDict({"train": nothing, "test": nothing}).save_to_disk(str(place / "splits"))
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), place / "none.parquet")


@pytest.mark.parametrize("words", ["--dataset csv", "--dataset lines", "--dataset saved", "--dataset splits::test",
                                   "--text none.parquet"])  # fmt: skip
def test_a_dataset_without_rows_is_an_empty_text(words, trained, tmp_path):
    rowless(tmp_path)
    done = run(
        "measure",
        trained,
        *words.split(),
        "--knob",
        "0.1",
        "--offline",
        "--output",
        tmp_path / "out",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "is empty" in done.stderr


def test_an_empty_path_is_not_the_working_directory(trained, tmp_path):
    for words in (["--text", ""], ["--text="]):
        done = run("measure", trained, *words, "--knob", "0.1", cwd=tmp_path)
        assert done.returncode == 2
        assert "--text" in done.stderr


def test_a_folder_of_two_kinds_is_refused(tmp_path, documents):
    lines_of(tmp_path / "a.jsonl", documents)
    parquet_of(tmp_path / "b.parquet", documents)
    with pytest.raises(SparsityLabError):
        open_text(tmp_path)


def test_short_names(tmp_path, monkeypatch):
    for name, known in SHORT_NAMES.items():
        parts = DatasetName(name).parts
        assert (parts.dataset, parts.config, parts.split, parts.column) == known
        assert DatasetName(name).label == name
    other = DatasetName("wikitext@abc:wikitext-103-raw-v1:train").parts
    assert (other.revision, other.config, other.split) == ("abc", "wikitext-103-raw-v1", "train")
    assert DatasetName("allenai/c4::test").parts.config is None
    assert DatasetName("allenai/c4:en").label == "c4"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c4").mkdir()
    assert DatasetName("c4").parts.split is None, "what lies at that very path"


def test_packed_rows_are_joined_as_perplexity_scripts_do(tmp_path):
    """GPTQ's and transformers' text of WikiText is its rows with a blank line between, empty ones among them."""
    rows = ["", " = Title = \n", "", " A line . \n"]
    text = open_text(parquet_of(tmp_path / "t.parquet", rows), pack=True)
    assert isinstance(text, Packed)
    assert text.whole() == "\n\n".join(rows)


def test_a_flag_is_stronger_than_the_other_word_in_a_file_of_options(forms, trained, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text(f"text: {forms['lines.jsonl']}\nknob: 0.1\ntokens: 512\nwindow: 32\n")
    for words, form in ((["--dataset", forms["saved"]], "saved dataset"), ([], "JSON lines")):
        output = tmp_path / form
        done = run("measure", trained, "--config", config, *words, "--output", output)
        assert done.returncode == 0, done.stderr
        (record,) = [json.loads(path.read_text()) for path in (output / "records").glob("*.json")]
        assert record["text_source"]["form"] == form


@pytest.mark.long
def test_without_the_library_a_dataset_is_refused_and_a_file_is_not(forms, trained, tmp_path):
    """In a process whose `datasets` cannot be found."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nclass Hidden:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'datasets':\n            raise ModuleNotFoundError(name, name=name)\n\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    from tests.command import process

    for words, code in ((["--dataset", forms["saved"]], 2), (["--text", forms["lines.jsonl"]], 0)):
        done = process(
            "measure", trained, *words, "--knob", "0.1", "--tokens", "512", "--window", "32",
            "--output", tmp_path / "out",
            environment={"PYTHONPATH": f"{tmp_path}:{__file__.partition('/tests/')[0]}"},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ("datasets" in done.stderr) == (code == 2)
