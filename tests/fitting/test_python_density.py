"""`from sparsity_lab import density`: data frames and keywords, and results that can be read, copied and kept."""

import copy
import json
import pickle
from datetime import date

import pandas as pd
import pytest

from sparsity_lab import density
from sparsity_lab.errors import SparsityLabError, UnknownNameError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.report import table_rows
from sparsity_lab.store.table_columns.density import TABLE

QUICK = {"ruler": "obs-qwen2", "tasks": "MMLU", "hindcast": False, "sensitivity": False}
MODELS = pd.DataFrame(
    {
        "model": ["mine-1B", "mine-1B-v2", "mine-3B", "<b>mine</b>-3B-v2"],
        "family": "mine",
        "params_b": [1.1, 1.1, 3.2, 3.2],
        "release_date": ["2024-03-01", "2024-09-01", "2025-02-01", "2025-06-01"],
        "MMLU": [0.42, 0.47, 0.61, 0.66],
    }
)


@pytest.fixture(scope="module")
def found():
    return density(MODELS, **QUICK)


def test_a_frame_gives_the_numbers_of_its_csv(found, tmp_path):
    path = tmp_path / "models.csv"
    MODELS.to_csv(path, index=False)
    options = DensityOptions(targets=path, **{**QUICK, "tasks": ("MMLU",)})
    assert table_rows(found) == table_rows(measure_density(options=options))
    dated = MODELS.assign(release_date=pd.to_datetime(MODELS["release_date"]))
    assert table_rows(density(dated, **QUICK)) == table_rows(found)


def test_no_place_of_this_machine_is_in_the_notes(found, tmp_path):
    assert not [note for note in found.notes if "/" in note and str(tmp_path.parent) in note]


def test_the_frame_has_the_columns_of_the_table(found):
    table = found.to_frame()
    assert list(table.columns) == TABLE.header
    assert table["rho"].tolist() == [each.rho for each in found.by_date]


def test_to_dict_is_the_document_of_density_json(found, tmp_path):
    written = density(MODELS, output=tmp_path, **QUICK)
    document = json.loads((tmp_path / "density.json").read_text())
    ours = json.loads(json.dumps(written.to_dict(), allow_nan=False))
    assert list(ours) == list(document)
    assert ours["models"] == document["models"] == found.to_dict()["models"]


def test_days_are_dates_texts_or_timestamps(found):
    days = [date(2026, 1, 1), "2026-01-01", pd.Timestamp("2026-01-01")]
    projected = [density(MODELS, project_to=day, **QUICK).projections[0].on for day in days]
    assert found.trend is not None
    assert projected == [date(2026, 1, 1)] * 3
    with pytest.raises(SparsityLabError):
        density(MODELS, project_to="next year", **QUICK)


def test_unknown_words_and_tables_are_refused():
    with pytest.raises(UnknownNameError):
        density(MODELS, rulers="obs-qwen2")
    with pytest.raises(UnknownNameError):
        density("nowhere.csv")
    with pytest.raises(SparsityLabError):
        density(MODELS.drop(columns="params_b"), **QUICK)
    for settings in ({"convention": "active"}, {"d0_tokens": "many"}, {"models": 3}, {"progress": "yes"}):
        with pytest.raises(SparsityLabError):
            density(MODELS, **QUICK, **settings)


def test_it_is_shown_short_with_names_escaped(found):
    text, html = repr(found), found._repr_html_()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "mine-3B" in text
    assert "<b>" not in html
    assert "&lt;b&gt;mine" in html


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_is_copied_and_pickled(found, clone):
    assert clone(found).to_dict()["models"] == found.to_dict()["models"]
