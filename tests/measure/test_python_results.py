"""A measurement as a result of Python: readable, plain, and kept as it is."""

import copy
import json
import pickle
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from sparsity_lab import measure, sparsified
from sparsity_lab.measure.api import sparsified as of_the_room
from sparsity_lab.store.record_keys import RECORD_KEYS
from sparsity_lab.store.table_columns.measured import TABLE


class Watching:
    """A progress that notes what was tracked."""

    def __init__(self):
        self.labels = []

    def track(self, label, total):
        from sparsity_lab.progress import SILENT

        self.labels.append(label)
        return SILENT.track(label, total)


@pytest.fixture(scope="module")
def model(trained):
    return AutoModelForCausalLM.from_pretrained(trained)


@pytest.fixture(scope="module")
def ids(trained, sources):
    from transformers import AutoTokenizer

    return torch.tensor(AutoTokenizer.from_pretrained(trained)(sources[:6_000], verbose=False)["input_ids"])


@pytest.fixture(scope="module")
def result(model, ids):
    return measure(model, ids, knob=0.1, window=64)


def test_to_dict_is_json_under_the_keys_of_a_record(result):
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(document) <= set(RECORD_KEYS)
    assert document["activation_ratio"] == result.activation_ratio
    assert document["tokens"] == result.dense.seen.sum()
    assert len(document["activation_ratio_per_layer"]) == len(result.sizes)
    assert document["ppl_increase_target"] is None


def test_numbers_that_do_not_exist_are_null(result):
    broken = replace(result, errors=replace(result.errors, activation_ratio=float("nan")))
    document = json.loads(json.dumps(broken.to_dict(), allow_nan=False))
    assert document["activation_ratio_se"] is None
    assert all(len(line) <= 80 for line in repr(broken).splitlines())


def test_the_frame_has_columns_of_the_table_in_their_order(result):
    table = result.to_frame()
    assert list(table.columns) == [key for key in TABLE.header if key in table.columns]
    assert table["activation_ratio"].tolist() == [result.activation_ratio]
    assert table["flags"].tolist() == [" ".join(result.flags)]


def test_it_is_shown_short_with_names_escaped(result):
    lines = repr(result).splitlines()
    assert len(lines) < 16
    assert all(len(line) <= 80 for line in lines)
    assert f"{result.activation_ratio:.3g}" in lines[0]
    html = replace(result, criterion="<script>")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_is_copied_pickled_and_still_applied(result, model, clone):
    other = clone(result)
    assert other.to_dict() == result.to_dict()
    assert sparsified is of_the_room
    with sparsified(model, other) as under:
        assert under is model


@pytest.mark.long
def test_where_progress_is_reported_does_not_change_the_numbers(model, ids, result):
    watching = Watching()
    for progress in (watching, True, False):
        again = measure(model, ids, knob=0.1, window=64, progress=progress)
        assert again.to_dict() == result.to_dict()
    assert watching.labels
