"""The report's parts about structure, predictors, decoding, transfer and criteria, on what the commands wrote."""

import csv
import json
import re
import shutil
from decimal import Decimal
from html import unescape
from pathlib import Path

import pytest

from sparsity_lab.fitting.page.layout import measured, percent
from sparsity_lab.fitting.page.write import write_report

RESULTS = Path(__file__).parents[3] / "results"
TRANSFER = """series,model,revision,criterion,rule,calibrated_on,measured_on,\
activation_ratio,activation_ratio_se,ppl_ratio,ppl_ratio_se
tiny,models/tiny,,cett,ppl-increase,wiki,wiki,0.0801,0.0012,1.0102,0.0009
tiny,models/tiny,,cett,ppl-increase,wiki,code,0.0911,0.0013,1.0231,0.0021
tiny,models/tiny,,cett,ppl-increase,code,wiki,0.0702,0.0011,1.0157,0.0010
tiny,models/tiny,,cett,ppl-increase,code,code,0.0821,0.0012,1.0099,0.0019
"""
AFFINITY = {
    "affinity": [
        {"name": "tiny", "text": "wiki", "convention": "output-side", "tokens": 1, "ffn_share": 0.6935,
         "ffn_share_se": 0.00016, "ffn_speedup": 1.442, "ffn_speedup_se": 0.0003, "model_share": 0.833,
         "model_speedup": 1.2005, "model_speedup_se": 0.0001},
        {"name": "tiny", "text": "wiki", "convention": "output-side", "tokens": 8, "ffn_share": 0.9},
    ],
    "affinity_decode": [{"name": "tiny", "text": "wiki", "prompt_tokens": 32, "timed_tokens": 16, "ratio": 0.75,
                         "ratio_low": 0.5, "ratio_high": 0.875, "ideal": 1.19}],
    "assumptions": ["every weight is read once <b>"],
    "provenance": {"command": "sparsity-lab affinity n"},
}  # fmt: skip


def words(page):
    """What a page says, its markup and its data left out."""
    body = page.split("<main", 1)[1].split("</main>", 1)[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body))).replace(" ,", ",")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reports of one folder with everything: HTML, Markdown, LaTeX."""
    root = tmp_path_factory.mktemp("told") / "all"
    for place in ("structure/2m", "structure/drift", "predictors/2m", "criteria/2m"):
        shutil.copytree(RESULTS / place, root / place)
    (root / "transfer").mkdir()
    (root / "transfer" / "transfer.csv").write_text(TRANSFER)
    (root / "decoding").mkdir()
    (root / "decoding" / "affinity.json").write_text(json.dumps(AFFINITY))
    return {
        form: write_report(root, form=form).path.read_text(encoding="utf-8") for form in ("html", "md", "tex")
    }


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_each_command_has_its_part_and_nothing_is_shown_twice(pages):
    found = headings(pages["html"])
    assert found == [
        "Summary", "Criteria side by side (criteria/2m)", "Thresholds on other texts (transfer)",
        "Structure (structure/2m)", "Structure (structure/drift)", "Predictors (predictors/2m)", "Decoding (decoding)",
    ]  # fmt: skip
    assert pages["html"].count("(criteria/2m/criteria.svg)</figcaption>") == 1
    assert pages["html"].count("(structure/drift/drift.svg)</figcaption>") == 1
    assert "command</dt><dd>sparsity-lab structure" in pages["html"]


def rows(place, file, /, **wanted):
    """Rows of a results table with these cells."""
    with (RESULTS / place / file).open(encoding="utf-8") as stream:
        found = [row for row in csv.DictReader(stream) if wanted.items() <= row.items()]
    assert found
    return found


def plus_minus(row, key, *, times=1, error=None):
    """A value and its error at the error's two digits, in decimal arithmetic."""
    value, around = (Decimal(row[one]) * times for one in (key, error or f"{key}_se"))
    digit = Decimal(1).scaleb(min(around.adjusted() - 1, 0))
    return f"{value.quantize(digit)} ± {around.quantize(digit)}"


def share(text):
    """A share as a percentage at three digits."""
    value = Decimal(text) * 100
    return f"{value.quantize(Decimal(1).scaleb(value.adjusted() - 2))} %"


def test_the_sentences_say_what_the_files_hold(pages):
    said = words(pages["html"]).replace("\u00a0", " ")
    (cluster,) = rows("structure/2m", "clusters.csv", name="relu-2m", text="wikitext", layer="all", best="4")
    (neurons,) = rows("structure/2m", "specialised.csv", name="relu-2m", what="neurons")
    drift = [float(r["inside"]) for r in rows("structure/drift", "clusters.csv", layer="all", best="4")]
    named = {"name": "relu-2m", "text": "wikitext", "layer": "all", "budget": "1.0"}
    trained = max(
        rows("predictors/2m", "predictors.csv", method="predictor", **named), key=lambda r: float(r["recall"])
    )
    (frequent,) = rows("predictors/2m", "predictors.csv", method="frequent", **named)
    criteria = rows("criteria/2m", "table.csv", series="relu-2m")
    fewest = min(criteria, key=lambda row: float(row["activation_ratio"]))
    for sentence in (
        f"of a token's active neurons {plus_minus(cluster, 'inside', times=100)} % on wikitext (random clusters "
        f"{share(cluster['random'])}, frequency-matched {share(cluster['matched'])})",
        f"{share(neurons['share'])} of its neurons prefer one of wikitext, stories, shakespeare (with permuted labels "
        f"{share(neurons['share_if_permuted'])} on average, p = {neurons['p_share']}); "
        f"{share(neurons['twice_share'])} fire twice as often",
        f"Of {len(drift)} checkpoints, the best 4 of 16 clusters hold {share(min(drift))} to {share(max(drift))} of",
        f"a predictor of rank {trained['rank']} finds {plus_minus(trained, 'recall', times=100)} % of the active ones "
        f"for {share(trained['ffn_share'])} of the FFN's weights; the most frequent "
        f"{plus_minus(frequent, 'recall', times=100)} %",
        f"of {len(criteria)} criteria {fewest['criterion']} keeps the fewest neurons, "
        f"{plus_minus(fewest, 'activation_ratio')}",
        "thresholds from wiki raise the perplexity of code to 1.0231 ± 0.0021 times the dense one; with its own "
        "1.0099 ± 0.0019",
        "output-side reads 69.350 ± 0.016 % of the FFN's bytes, an ideal speed-up of the whole model of "
        "1.20050 ± 0.00010",
        "decoding as timed ran at 0.75 [0.5, 0.875] times the dense speed; ideal is 1.19",
        "2 checkpoints on 3 texts (structure/2m); 6 checkpoints on 1 text (structure/drift)",
        "every weight is read once <b>",
    ):
        assert sentence in said, sentence


@pytest.mark.parametrize("form", ["md", "tex"])
def test_the_tables_are_there_in_every_format(pages, form):
    for title in ("Activity inside the best clusters", "Routing to clusters", "Preference for a text",
                  "Checkpoints compared", "Recall, all layers together", "Criteria side by side", "Every cell",
                  "Bytes read and ideal speed-ups, one token a pass", "Decoding timed"):  # fmt: skip
        assert title in pages[form], title
    plus_minus = "±" if form == "md" else r"$\pm$"
    assert f"1.0231 {plus_minus} 0.0021" in pages[form]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(0.8045, 0.0022, "0.8045±0.0022"), (12.4, 0.0728, "12.400±0.073"), (1234.5, 12.3, "1,234±12"),
     (0.5, 0, "0.5"), (0.5, None, "0.5"), ("x", 1, "unknown"), (None, None, "unknown")],
)  # fmt: skip
def test_a_value_has_the_digits_its_error_leaves_it(value, error, text):
    assert measured(value, error, space="") == text
    assert percent(1.0).replace("\u00a0", "") == "100%"


@pytest.mark.parametrize(
    "files",
    [
        {"structure.json": "[]", "clusters.csv": "name,text,layer,neurons_share,best\na,b,all,none,1\n"},
        {"structure.json": '{"rows": 3}', "clusters.csv": "layer\nall\n", "settled.csv": "series\nx\n"},
        {"structure.json": "null", "specialised.csv": "what,name\nneurons,a\n"},
        {"predictors.json": '{"rows": [1]}', "predictors.csv": "layer,recall,budget,method\nall,.5,1,predictor\n"},
        {"predictors.json": "7", "predictors.csv": "layer,recall,budget\nall,high,1\n"},
        {"affinity.json": '{"affinity": {"a": 1}, "affinity_decode": [1, {}], "assumptions": 3, "timed_on": "x"}'},
        {"affinity.json": '{"affinity": [{"tokens": 1, "convention": "oracle", "ffn_share": "much"}]}'},
        {"transfer.csv": "calibrated_on,measured_on,activation_ratio,ppl_ratio\na,b,,\n"},
        {"transfer.csv": "calibrated_on,measured_on\na,b\n"},
        {"table.csv": "series,criterion,rule,activation_ratio,ppl_ratio\na,b,fixed,,\na,c,fixed,,\na,d,fixed,x,\n",
         "sweep.csv": "a,b\n1\n"},
    ],
)  # fmt: skip
def test_what_is_not_as_written_by_the_commands_breaks_no_report(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for form in ("html", "md", "tex"):
        assert write_report(tmp_path, form=form, output=tmp_path / "out").path.stat().st_size
