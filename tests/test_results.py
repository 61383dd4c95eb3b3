"""Results of Python as text and HTML, however large and whatever their names; and how progress is chosen."""

import sys

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.extras import MissingPackageError
from sparsity_lab.progress import SILENT, TqdmBars, chosen, in_notebook
from sparsity_lab.store.results import MOST_HTML_ROWS, MOST_ROWS, Shown, plain

KEYS = [f"column {number}" for number in range(20)]


class Large(Shown):
    """A result of many rows and columns, with long and hostile names."""

    def to_dict(self):
        return {}

    def _title(self):
        return "<i>title</i> " * 20

    def _table(self):
        rows = [{key: f"{key} | <b>{'long ' * 20}" for key in KEYS} for _ in range(100)]
        return rows, {key: key for key in KEYS}


def test_text_is_bounded_and_says_what_is_left_out():
    lines = repr(Large()).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) < MOST_ROWS + 10
    assert f"{100 - MOST_ROWS}" in lines[-1]


def test_html_is_escaped_and_says_what_is_left_out():
    html = Large()._repr_html_()
    assert "<b>" not in html
    assert "<i>" not in html
    assert html.count("<tr>") == MOST_HTML_ROWS + 1
    assert f"{100 - MOST_HTML_ROWS}" in html[-60:]


def test_plain_has_types_of_json_alone():
    import numpy as np

    value = plain({1: (np.float64("nan"), np.int64(3), True, None, "x", float("inf"))})
    assert value == {"1": [None, 3.0, True, None, "x", None]}


def test_progress_is_silent_outside_notebooks_unless_asked_for(monkeypatch):
    pytest.importorskip("tqdm", reason="the extra `measure` is not installed")
    assert not in_notebook()
    assert chosen(None) is chosen(False) is SILENT
    assert isinstance(chosen(True), TqdmBars)
    bars = TqdmBars()
    assert chosen(bars) is bars
    with pytest.raises(SparsityLabError):
        chosen("yes")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr("sparsity_lab.extras.is_installed", lambda package: package != "tqdm")
    with pytest.raises(MissingPackageError):
        chosen(True)


def test_a_bar_counts_and_goes(capsys):
    pytest.importorskip("tqdm", reason="the extra `measure` is not installed")
    with TqdmBars().track("work", 2) as advance:
        advance(1)
        advance(1)
    assert "work" in capsys.readouterr().err
