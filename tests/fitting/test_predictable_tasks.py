"""The share of tasks that scale predictably, recounted."""

import json

import numpy as np
import pytest
from scipy.optimize import curve_fit

from sparsity_lab.fitting.reproduce.predictable_tasks import (
    BOUNDS,
    PUBLISHED,
    RUNS,
    CorpusRuns,
    corpora_of,
    held_out,
    run_predictable,
    signed_r2,
)
from sparsity_lab.store import bundled


@pytest.fixture(scope="module")
def corpora():
    return corpora_of(bundled.rows(RUNS))


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    output = tmp_path_factory.mktemp("predictable")
    run_predictable(output=output)
    return json.loads((output / "predictable.json").read_text())


def r2(corpora, task):
    return float(signed_r2(corpora, task, [np.ones((1, len(of.loss))) for of in corpora])[0])


def test_the_published_share_is_that_of_the_abstract():
    rows = bundled.rows(PUBLISHED)
    assert len({row["task"] for row in rows}) == 46
    assert sum(row["behaviour"] == "predictable" for row in rows) / 46 == pytest.approx(0.39, abs=0.005)


@pytest.mark.parametrize("task", ["lambada_openai", "winogrande", "bigbench_elementary_math_qa"])
def test_r2_is_that_of_least_squares(corpora, task):
    left, total = 0.0, 0.0
    for of in corpora:
        x, y = of.loss - of.loss.mean(), of.errors[task]
        starts = [[*np.polyfit(np.exp(c * x), y, 1).tolist(), c] for c in (-3.0, -1.0, 1.0, 3.0)]
        fits = [
            curve_fit(lambda x, a, b, c: a * np.exp(c * x) + b, x, y, start, maxfev=20000)[0]
            for start in starts
        ]
        left += min(float(np.sum((a * np.exp(c * x) + b - y) ** 2)) for a, b, c in fits)
        total += float(np.sum((y - y.mean()) ** 2))
    assert abs(r2(corpora, task)) == pytest.approx(1 - left / total, abs=2e-3)


def test_the_sign_is_the_direction(corpora):
    assert r2(corpora, "hellaswag") > 0.9
    upside_down = [
        CorpusRuns(of.corpus, of.params, of.loss, {"x": -of.errors["hellaswag"]}) for of in corpora
    ]
    assert r2(upside_down, "x") == pytest.approx(-r2(corpora, "hellaswag"))
    assert r2(corpora, "agi_eval_sat_en") < 0


def test_a_curve_that_is_one_is_predicted_at_the_sizes_held_out(corpora):
    of = corpora[0]
    exact = CorpusRuns(of.corpus, of.params, of.loss, {"x": 0.9 - 0.5 * np.exp(-0.8 * of.loss)})
    off, flat = held_out(exact, "x")
    assert len(off) == int((of.params > 1e9).sum()) == 3
    assert np.abs(off).max() < 1e-9
    assert np.abs(flat).max() > 0.01


def test_39_percent_are_had_at_a_bound_of_four_fifths(document):
    shares = {share["r2"]: share for share in document["shares"]}
    assert set(shares) == set(BOUNDS)
    assert shares[0.8]["tasks"] == document["published_predictable"] == 18
    assert shares[0.8]["published_among_them"] == 15
    for bound, share in shares.items():
        assert share["tasks"] == sum(row["r2"] >= bound for row in document["rows"])
        assert share["surely"] <= share["tasks"] <= share["perhaps"]
    assert document["beats_flat"] == sum(r["held_out_rmse"] < r["flat_rmse"] for r in document["rows"])
