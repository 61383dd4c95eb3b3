"""The page as text: everything is there, everything is escaped, nothing runs, mistakes are told."""

import json
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Columns
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.page import html
from sparsity_lab.fitting.page.collect import find
from sparsity_lab.fitting.page.parts import fits
from sparsity_lab.fitting.page.parts.heat import HEAT_KEYS
from sparsity_lab.fitting.page.parts.others import figures_of
from sparsity_lab.fitting.page.write import write_report
from sparsity_lab.fitting.plots.token_heat import draw_heat
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.store import records
from tests.command import run
from tests.hostile.made_up import changed, written

RESULTS = Path(__file__).parents[3] / "results"
EVIL = "<script>window.alerted = 1</script>"
EVILS = (
    EVIL,
    f"</script>{EVIL}",
    '"><img src=x onerror="window.alerted = 1">',
    "<!--<script>",
    "javascript:alert(1)",
)


class Parsed(HTMLParser):
    """What a browser would see: elements with their attributes, texts, scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.scripts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        (self.scripts if inside == "script" else self.texts).append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def page(folder, tmp_path):
    return write_report(folder, output=tmp_path / "out").path.read_text(encoding="utf-8")


@pytest.mark.long
def test_every_part_is_there(studied, tmp_path):
    seen = Parsed(page(studied, tmp_path))
    headings = seen.text
    for words in (
        "Summary",
        "Measured",
        "Fits",
        "Evaluation",
        "Tokens",
        "Provenance of the records",
        "Rival laws",
    ):
        assert words in headings
    # The honesty sheet of the fit, its lock, and the record's own origin.
    for words in ("Scaled condition number", "Coefficients against leading points dropped", "Data sha256",
                  "Lag-1 correlation", "a first fit", "the CPU is exact", "Ranges of the data"):  # fmt: skip
        assert words in headings, words
    data = json.loads(seen.scripts[0])
    on_disk = {one["content_key"]: one for one in records.iter_records(studied / "measure" / "records")}
    assert data["records"] == on_disk
    assert data["heats"][0]["tokens"] == ["The", " quick", "\n", "brown", "", " fox"]
    figures = [attributes for tag, attributes in seen.elements if tag == "img"]
    assert len(figures) >= 3
    assert all(one["alt"] and one["src"].startswith("data:image/svg+xml;base64,") for one in figures)
    # Every row of every record, once: its table.csv says the same and is left out.
    cells = [attributes.get("data-record") for tag, attributes in seen.elements if tag == "td"]
    assert sorted(filter(None, cells)) == sorted(on_disk)


def test_nothing_is_fetched_or_run(studied, tmp_path):
    text = page(studied, tmp_path)
    seen = Parsed(text)
    assert len(seen.scripts) == 2
    for tag, attributes in seen.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/svg+xml;base64,")), (
                tag,
                attributes,
            )
    assert "default-src 'none'" in text
    assert "img-src data:;" in text
    assert "@import" not in text
    assert "url(http" not in text


def evil_folder(folder, evil, write_records, write_heat):
    """Every place a name can come from holds the same evil one."""
    write_records(folder, 3, model=evil, series=evil, criterion=evil, flags=[evil], revision=evil,
                  provenance={"command": evil, "git": evil, "versions": {evil: evil}, "time": evil})  # fmt: skip
    write_heat(folder / "heat", tokens=[evil, " a", "b", evil, "c", "d"], model=evil, text=evil)
    (folder / "odd.csv").write_text(
        '"' + evil.replace('"', '""') + '",b\n"' + evil.replace('"', '""') + '",1\n'
    )
    (folder / "report.md").write_text(
        f"# {evil}\n\n{evil} **{evil}** [{evil}](javascript:alert)\n\n| {evil} |\n|---|\n| {evil} |\n"
    )
    fit = {"series": evil, "law": evil, "verdict": evil, "reason": evil, "formula": evil, "bound": evil,
           "coefficients": {evil: {"value": 1.0, "low": None, "high": None, "method": evil}},
           "rivals": {"rivals": [{"law": evil}], "best_by_aicc": evil, "aicc_ties": [evil]}}  # fmt: skip
    records.write_json(folder / "fit" / "fits.json", [fit])
    records.write_json(folder / "eval" / "eval.json", {"rows": [{evil: evil}], "provenance": {evil: evil}})
    density = {"ruler": {"name": evil}, "trend_note": evil, "tasks": [evil], "provenance": {evil: evil}}
    records.write_json(folder / "density" / "density.json", density)
    (folder / "bad.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'><script>{evil}</script><p")
    return folder


@pytest.mark.parametrize("evil", EVILS)
def test_names_are_text_whatever_they_hold(tmp_path, evil, write_records, write_heat):
    seen = Parsed(page(evil_folder(tmp_path / "in", evil, write_records, write_heat), tmp_path))
    assert len(seen.scripts) == 2
    assert not [tag for tag, _ in seen.elements if tag in ("iframe", "object", "embed", "link", "base")]
    (figure,) = [attributes for tag, attributes in seen.elements if tag == "img"]
    assert set(figure) == {"class", "alt", "src"}
    assert figure["src"].startswith("data:image/svg+xml;base64,")
    assert evil in seen.text
    assert evil in json.loads(seen.scripts[0])["heats"][0]["tokens"]
    assert "<" not in seen.scripts[0]


@pytest.mark.parametrize("form", ["md", "tex"])
def test_tables_as_text_escape_too(tmp_path, form, write_records, write_heat):
    folder = evil_folder(tmp_path / "in", EVIL, write_records, write_heat)
    text = write_report(folder, output=tmp_path / "out", form=form).path.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert ("&lt;script&gt;" if form == "md" else r"\textless{}script\textgreater{}") in text


def test_a_damaged_record_is_named_and_the_others_are_shown(tmp_path, write_records):
    write_records(tmp_path, 3)
    broken = sorted((tmp_path / "records").glob("*.json"))[0]
    broken.write_text(broken.read_text().replace("0.12", "0.13", 1))
    written = write_report(tmp_path)
    assert [path for path, _ in written.unread] == [broken]
    seen = Parsed(written.path.read_text(encoding="utf-8"))
    assert f"records/{broken.name}" in seen.text
    assert "Changed or damaged" in seen.text or "changed or damaged" in seen.text
    assert len(json.loads(seen.scripts[0])["records"]) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tokens": ["a"]}, "not of one length"),
        ({"active": [[1, 2, 99]] * 6}, "active of token 0"),
        ({"active": [[1]] * 6}, "active of token 0"),
    ],
)
def test_a_faulty_heat_map_is_left_out_and_said(tmp_path, write_heat, change, told):
    write_heat(tmp_path, **change)
    written = write_report(tmp_path)
    assert told in written.unread[0][1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fits.json", "[1, 2, 3]"),
        ("fits.json", '{"slope": 1}'),
        ("fits.json", '[{"series": "a", "coefficients": {"b": 1.5}}]'),
        ("fits.json", '[{"coefficients": [1, 2]}]'),
        ("density.json", "[]"),
        ("neurons.json", "3"),
        ("study.json", '"words"'),
        ("provenance.json", "null"),
    ],
)
def test_a_file_of_another_program_is_left_out_and_said(tmp_path, write_records, name, text):
    write_records(tmp_path, 1)
    (tmp_path / name).write_text(text, encoding="utf-8")
    written = write_report(tmp_path)
    assert [path.name for path, _ in written.unread] == [name]


@pytest.fixture(scope="session")
def one_fit(studied):
    """The first entry of a fits.json."""
    return json.loads((studied / "fit" / "fits.json").read_text(encoding="utf-8"))[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("profiles", [1]),
        ("drop_sensitivity", [1]),
        ("inputs", [1]),
        ("rivals", 3),
        ("x", "tokens"),
        ("reach", [None]),
    ],
)
def test_a_fit_in_another_shape_is_left_out_and_the_rest_is_shown(
    tmp_path, write_records, one_fit, key, value
):
    write_records(tmp_path, 2)
    (tmp_path / "bad").mkdir()
    for folder, entry in ((tmp_path, one_fit), (tmp_path / "bad", {**one_fit, key: value})):
        (folder / "fits.json").write_text(json.dumps([entry]), encoding="utf-8")
    report = write_report(tmp_path)
    assert [path for path, _ in report.unread] in ([], [tmp_path / "bad" / "fits.json"])
    seen = Parsed(report.path.read_text(encoding="utf-8")).text
    assert report.records == 2
    assert one_fit["verdict"] in seen


@settings(max_examples=25, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
@pytest.mark.long
def test_any_value_in_a_document_leaves_a_page(tmp_path_factory, studied, data):
    folder = tmp_path_factory.mktemp("drawn")
    name = data.draw(st.sampled_from(["fit/fits.json", "eval/eval.json", "heat/token_heat.json"]))
    document = json.loads((studied / name).read_text(encoding="utf-8"))
    written(folder, json.dumps(data.draw(changed(document))), name.rpartition("/")[2])
    (folder / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert write_report(folder).bytes > 1000


def test_mistakes(tmp_path, studied):
    with pytest.raises(SparsityLabError, match="There is no folder"):
        write_report(tmp_path / "none")
    with pytest.raises(SparsityLabError, match="nothing to report"):
        write_report(tmp_path)
    with pytest.raises(SparsityLabError, match="does not end like"):
        write_report(studied, output=tmp_path / "a.tex")
    with pytest.raises(SparsityLabError, match="no format"):
        write_report(studied, form="pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "name"), [("html", "report.html"), ("md", "tables.md"), ("tex", "tables.tex")]
)
def test_output_is_honoured(studied, tmp_path, form, name):
    assert write_report(studied, output=tmp_path / "a" / "b", form=form).path == tmp_path / "a" / "b" / name
    assert (
        write_report(studied, output=tmp_path / f"mine.{form}", form=form).path == tmp_path / f"mine.{form}"
    )


def test_figures_beyond_the_pages_size_are_named(studied, tmp_path, monkeypatch):
    whole = page(studied, tmp_path)
    monkeypatch.setattr(html, "PAGE_BYTES", len(whole.encode()) - 20_000)
    text = page(studied, tmp_path)
    assert len(text.encode()) <= html.PAGE_BYTES
    assert "the page would grow too large" in text
    assert "Left out for their size" in text


def test_four_hundred_records_stay_small(tmp_path, write_records):
    write_records(tmp_path, 400)
    written = write_report(tmp_path)
    assert written.records == 400
    assert written.bytes < 10_000_000


def test_the_same_records_make_the_same_tables(studied, tmp_path):
    first, second = (
        write_report(studied, output=tmp_path / name, form="tex").path.read_bytes() for name in ("a", "b")
    )
    assert first == second


def test_it_needs_nothing_but_the_standard_library(studied, tmp_path):
    script = (
        "import sys\n"
        "from sparsity_lab.cli.main import main\n"
        f"try:\n    main(['report', {str(studied)!r}, '--output', {str(tmp_path / 'a.html')!r}])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'scipy', 'numpy', 'pandas', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "14 records" in done.stdout


def test_the_command_exits_1_where_a_file_could_not_be_read(tmp_path, write_records):
    write_records(tmp_path, 1)
    (tmp_path / "fits.json").write_text("{")
    for words, named in (([], True), (["--quiet"], False)):
        done = run(*words, "report", tmp_path)
        assert done.returncode == 1, done.stderr
        assert ("fits.json" in done.stderr) is named
        assert "1 file could not be read" in done.stdout


@pytest.mark.filterwarnings("error")
def test_a_figure_of_tokens_shows_no_line_ends_or_tabs(write_heat, tmp_path):
    """matplotlib warns of a character without a shape, such as a line end before the spaces of a token."""
    write_heat(tmp_path, tokens=["The", "\n    a", "\tb", "c\nd", "\r\n", " \x00"])
    draw_heat(json.loads((tmp_path / "token_heat.json").read_text()), output=tmp_path)
    assert (tmp_path / "token_heat.png").stat().st_size > 500


def test_what_heat_writes_is_what_the_page_reads(write_heat, tmp_path):
    write_heat(tmp_path)
    assert set(json.loads((tmp_path / "token_heat.json").read_text())) == set(HEAT_KEYS)


def test_a_study_gives_the_page_its_name_its_tables_and_its_report(tmp_path):
    records.write_json(tmp_path / "study.json", {"ladder": {"name": "mine <b>"}})
    report = "# Study mine\n\n| run | a*b*c |\n|-----|------:|\n| x   |   <b> |\n"
    (tmp_path / "report.md").write_text(report)
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "versus.csv").write_text("reference,other,difference\nrelu,silu,0.25\n")
    text = write_report(tmp_path).path.read_text(encoding="utf-8")
    assert "<h1>Study mine &lt;b&gt;</h1>" in text
    assert "Pairs of activations at equal loss" in text
    assert text.count(">0.25</td>") == 1  # not among the tables that are left over
    assert unescape(text.split("<pre")[1].split(">", 1)[1].split("</pre>")[0]) == report


def test_what_runs_say_together_is_read_from_its_json(tmp_path):
    shutil.copy(RESULTS / "laptop" / "fit" / "rules" / "families.json", tmp_path)
    (tmp_path / "families.md").write_text("# What the runs say together\n")
    text = Parsed(write_report(tmp_path).path.read_text(encoding="utf-8")).text
    for words in ("Limits against parameters", "Convergence", "at 20 tokens per parameter", "ppl-increase"):
        assert words in text, words


@pytest.mark.parametrize("place", ["linked", "data", "tensorboard", "wandb", "model"])
def test_a_report_reads_folders_whatever_they_are_called(place, studied, tmp_path):
    """Links among them, names of other programs' folders, and the folder of a model."""
    if place == "linked":
        (tmp_path / place).symlink_to(studied)
    else:
        shutil.copytree(studied, tmp_path / place)
    if place == "model":
        for name in ("config.json", "model.safetensors", "logo.png", "scores.csv"):
            (tmp_path / place / name).write_bytes(b"{}")
    found = find(tmp_path)
    plain = find(studied)
    assert set(found.records) == set(plain.records)
    assert {path.name for path in found.documents} == {path.name for path in plain.documents}
    assert len(found.figures) == len(plain.figures), "a model's own figures are not results"
    assert len(found.csvs) == len(plain.csvs)
    assert (found.left_out, found.unread) == ([], [])


def test_a_report_says_what_it_does_not_read(studied, tmp_path):
    shutil.copytree(studied, tmp_path / "kept")
    for name in (".cache", "__pycache__", "node_modules", "wandb/offline-run-1"):
        shutil.copytree(studied / "eval", tmp_path / "kept" / name)
    (tmp_path / "kept" / "round").symlink_to("..")
    (tmp_path / "kept" / "gone").symlink_to("nowhere")
    written = write_report(tmp_path)
    text = written.path.read_text(encoding="utf-8")
    for name in (".cache", "__pycache__", "node_modules", "wandb/offline-run-1", "round", "gone"):
        assert f"kept/{name}" in text
    assert [path.name for path, _ in written.unread] == ["gone"]


@pytest.mark.slow
def test_every_fit_has_its_own_figure_on_the_page(tmp_path):
    rows = [(name, 2.0**i, 0.2 + 0.1 / 2**i) for name in ("org/m", "org_m", "all", "ORG_M") for i in range(8)]
    (tmp_path / "t.csv").write_text(
        "run,d,a\n" + "".join(f"{name},{d},{a}\n" for name, d, a in rows), encoding="utf-8"
    )
    spec = FitSpec(draws=0, law="power", rivals=("linear",))
    fit_table(tmp_path / "t.csv", output=tmp_path / "out", spec=spec, mapping=Columns(("d",), "a", "run"))
    found = find(tmp_path)
    shown = figures_of([fits.section(found)])
    assert shown == set(found.figures)
    assert len(shown) == 5
