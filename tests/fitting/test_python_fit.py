"""`from sparsity_lab import fit`: data frames and keywords, and results that can be read, copied and kept."""

import copy
import inspect
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from sparsity_lab import fit
from sparsity_lab.errors import SparsityLabError, UnknownNameError
from sparsity_lab.fitting.api import fit as api
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit_table import fit_all
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.result import FIT_KEYS
from sparsity_lab.fitting.spec import FitSpec

QUICK = {"law": "power", "rivals": (), "draws": 0}


def frame(*names):
    """Points of a power law for each name, with a little noise and standard errors."""
    x = 2.0 ** np.arange(10)
    parts = []
    for number, name in enumerate(names):
        noise = 1e-3 * np.random.default_rng(number).standard_normal(len(x))
        parts.append(pd.DataFrame({"x": x, "y": 0.3 + 0.2 * x**-0.5 + noise, "se": 1e-3, "series": name}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fits():
    return fit(frame("one", "two"), **QUICK)


def test_a_frame_gives_the_numbers_of_its_csv(fits, tmp_path):
    frame("one", "two").to_csv(tmp_path / "table.csv", index=False)
    columns = Columns(x=("x",), y="y", se="se", group="series")
    wanted = fit_all(read_series(tmp_path / "table.csv", mapping=columns), FitSpec(**QUICK))
    assert [result.to_dict() for result in fits] == [result.to_dict() for result in wanted]
    assert fits[0].series.se is not None
    named = fit(tmp_path / "table.csv", x="x", y="y", se="se", group="series", **QUICK)
    assert named.to_dict() == fits.to_dict()


def test_levels_of_an_index_with_names_are_columns(fits):
    assert fit(frame("one", "two").set_index(["series", "x"]), **QUICK).to_dict() == fits.to_dict()
    with pytest.raises(SparsityLabError):
        fit(pd.concat({"a": frame("one")}, axis=1), **QUICK)


def test_a_frame_of_tokens_and_ratios_needs_no_names():
    table = frame("one").rename(columns={"x": "tokens_b", "y": "activation_ratio", "series": "model"})
    assert fit(table, **QUICK)[0].series.y_variable.unit == "fraction"


def test_a_faulty_cell_is_named_by_row_and_column():
    faulty = frame("one").astype({"y": object})
    faulty.loc[3, "y"] = "n/a?"
    with pytest.raises(SparsityLabError) as caught:
        fit(faulty, **QUICK)
    assert "DataFrame" in caught.value.what
    assert "row 5" in caught.value.what


@pytest.mark.parametrize(
    "settings",
    [{"rovust": True}, {"drop_rule": "mine"}, {"law": "pwoer"}],
)  # fmt: skip
def test_unknown_words_are_refused(settings):
    with pytest.raises(UnknownNameError):
        fit(frame("one"), **{**QUICK, **settings})


@pytest.mark.parametrize(
    "settings", [{"delta": 0.1}, {"by": "series"}, {"draws": -1}, {"x": "nowhere"}, {"x": 3}]
)
def test_settings_that_do_nothing_or_cannot_be_are_refused(settings):
    with pytest.raises(SparsityLabError):
        fit(frame("one"), **{**QUICK, **settings})


@pytest.mark.parametrize("table", [{"x": [1]}, None, "nowhere.csv", pd.DataFrame()])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(SparsityLabError):
        fit(table, **QUICK)


def test_a_count_dropped_is_said_to_be_asked_for():
    (result,) = fit(frame("one"), drop=2, **QUICK)
    assert (result.series.dropped, result.to_dict()["drop_rule"]) == (2, "as asked for")
    (ruled,) = fit(frame("one"), drop="auto", **QUICK)
    assert ruled.drop_rule not in ("", "as asked for", FitSpec().drop_rule)


def test_bundled_tables_are_fitted_as_their_publications_did(monkeypatch):
    asked = {}
    monkeypatch.setattr(api, "fit_all", lambda series, spec, **_: asked.setdefault("spec", spec) and [])
    fit("sparsing-law")
    assert asked.pop("spec").drop == published.drops()
    fit("chinchilla")
    assert asked.pop("spec").robust
    fit("chinchilla", log=True)
    assert not asked.pop("spec").robust


def test_the_signature_has_every_setting():
    shown = inspect.signature(fit).parameters
    assert {"law", "robust", "x", "holdout", "output", "progress"} <= set(shown)
    assert "settings" not in shown
    assert (shown["law"].default, shown["seed"].default) == ("auto", 0)


def test_to_dict_is_json_under_the_keys_of_fits_json(fits):
    document = json.loads(json.dumps(fits.to_dict(), allow_nan=False))
    assert list(document) == ["one", "two"]
    assert all(list(entry) == list(FIT_KEYS) for entry in document.values())


@pytest.mark.long
def test_with_an_output_the_files_are_written_and_the_frame_is_their_table(fits, tmp_path):
    written = fit(frame("one", "two"), output=tmp_path, **QUICK)
    table = pd.read_csv(tmp_path / "fits.csv")
    assert list(table.columns) == list(written.to_frame().columns)
    assert table["A0"].tolist() == written.to_frame()["A0"].tolist() == fits.to_frame()["A0"].tolist()
    assert json.loads((tmp_path / "fits.json").read_text()) == list(written.to_dict().values())


def test_without_an_output_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(frame("one"), **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_repr_is_short_and_says_law_interval_and_verdict(fits):
    text = repr(fit(frame("a series with a rather long name, so that lines break", "two"), **QUICK))
    for shown in (text, repr(fits), repr(fits[0])):
        assert all(len(line) <= 80 for line in shown.splitlines())
        assert len(shown.splitlines()) < 14
    assert "power" in text
    assert fits[0].verdict.word in repr(fits[0])


def test_html_escapes_names():
    for shown in (found := fit(frame("<script>alert(1)</script>"), **QUICK)), found[0]:
        html = shown._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


def test_fits_are_a_list_that_knows_its_names(fits):
    assert isinstance(fits, list)
    assert fits["two"] is fits[1]
    assert type(fits[:1]) is type(fits)
    with pytest.raises(KeyError):
        fits["three"]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_fits_are_copied_and_pickled(fits, clone):
    for value in (fits, fits[0]):
        other = clone(value)
        assert type(other) is type(value)
        assert other.to_dict() == value.to_dict()
    assert copy.copy(fits) == fits


def test_a_published_fit_of_a_bundled_table_is_found_by_its_name():
    fits = fit("over-training", draws=0)
    assert [each.name for each in fits] == ["c4", "redpajama", "refinedweb"]
    assert fits[0].values["beta"] == pytest.approx(0.24247, rel=1e-4)
