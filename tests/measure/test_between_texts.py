"""How texts differ: against published numbers, exact cases and simulated texts, and in the table of a transfer."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

from sparsity_lab.measure.sources.named import named_texts
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.texts.between import between_rows
from sparsity_lab.measure.texts.matrices import transfer_markdown
from sparsity_lab.measure.texts.random_effects import pooled
from sparsity_lab.measure.texts.transfer import measure_transfer
from sparsity_lab.settings import HEAD, THE_CORPUS, THIS_TEXT
from sparsity_lab.store.records import read_record
from tests.at_hand import at_hand

# Nine laboratories' means and variances: Kacker 2004, Metrologia 41, 132, first row of its table 1, tau = .8399.
LABORATORIES = np.array([61.00, 61.40, 62.21, 62.30, 62.34, 62.60, 62.70, 62.84, 65.90])
VARIANCES = np.array([0.2025, 1.2100, 0.0900, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225])


def test_published_laboratories():
    found = pooled(LABORATORIES, np.sqrt(VARIANCES))
    assert found.between == pytest.approx(0.8399, abs=5e-5)
    # metafor's rma(method = "PM"), as in the tests of statsmodels 0.15
    assert found.between**2 == pytest.approx(0.705395309224248, rel=1e-9)
    assert found.mean == pytest.approx(62.4076199113286, rel=1e-12)
    half = stats.t.ppf(0.975, 8) * 0.338030602684471
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), rel=1e-9)
    # statsmodels 0.15, combine_effects(method_re="pm", use_t=True): the interval of Hartung and Knapp
    assert (found.low, found.high) == pytest.approx((61.62812011, 63.18711953), abs=2e-6)
    assert found.new_low < found.mean - half < found.mean + half < found.new_high
    assert found.within == pytest.approx(np.sqrt(VARIANCES).mean())


# Both by statsmodels 0.15: where errors explain all differences, the interval of Hartung and Knapp and the normal one.
@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ([0.081, 0.0845, 0.079], (0.0751837811264, 0.0870806111976)),
        ([0.081, 0.082, 0.0808], (0.07843673053026748, 0.083866894203208)),
    ],
    ids=["as they should", "too well"],
)
def test_numbers_that_agree(values, interval):
    found = pooled(np.array(values), np.array([0.002, 0.003, 0.0025]))
    assert found.between == 0.0
    assert (found.low, found.high) == pytest.approx(interval, rel=1e-9)


@pytest.mark.parametrize("texts", [2, 3, 5, 10])
def test_without_errors_within_the_intervals_are_those_of_a_plain_sample(texts):
    values = np.random.default_rng(texts).normal(0.2, 0.03, texts)
    found = pooled(values, np.zeros(texts))
    deviation = values.std(ddof=1)
    assert found.between == pytest.approx(deviation, rel=1e-6)
    for low, high, error in (
        (found.low, found.high, deviation / math.sqrt(texts)),
        (found.new_low, found.new_high, deviation * math.sqrt(1 + 1 / texts)),
    ):
        plain = stats.t.interval(0.95, texts - 1, values.mean(), error)
        assert (low, high) == pytest.approx(plain, rel=1e-6)


def test_equal_numbers_are_as_sure_as_their_errors():
    found = pooled(np.array([0.07, 0.07]), np.array([0.002, 0.002]))
    half = stats.norm.ppf(0.975) * 0.002 / math.sqrt(2)
    for low, high in ((found.low, found.high), (found.new_low, found.new_high)):
        assert (low, high) == pytest.approx((0.07 - half, 0.07 + half), rel=1e-9)
    exact = pooled(np.array([0.07, 0.07, 0.07]), np.zeros(3))
    assert {exact.mean, exact.low, exact.high, exact.new_low, exact.new_high} == {0.07}
    assert exact.between == exact.within == 0.0


def test_a_number_without_error_among_others():
    found = pooled(np.array([0.07, 0.0704, 0.0699]), np.array([0.0, 0.001, 0.001]))
    assert found.between == 0.0
    assert found.mean == pytest.approx(0.07, abs=1e-9)
    assert np.isfinite([found.low, found.high, found.new_low, found.new_high]).all()


def test_units_do_not_matter():
    values, errors = np.array([0.07, 0.09, 0.075]), np.array([0.002, 0.001, 0.004])
    plain, scaled = pooled(values, errors), pooled(5 - 300 * values, 300 * errors)
    assert scaled.between == pytest.approx(300 * plain.between)
    assert (scaled.mean, scaled.low, scaled.new_low) == pytest.approx(
        (5 - 300 * plain.mean, 5 - 300 * plain.high, 5 - 300 * plain.new_high)
    )


@pytest.mark.parametrize("tau", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("texts", [2, 3, 5, 10])
@pytest.mark.long
def test_intervals_hold_the_truth_as_often_as_they_say(texts, tau):
    draws, sets = np.random.default_rng([texts, int(tau)]), 600
    errors = np.exp(draws.normal(0.0, 0.5, (sets, texts)))
    values = draws.normal(0.0, tau, (sets, texts)) + errors * draws.standard_normal((sets, texts))
    new = draws.normal(0.0, tau, sets)
    found = pooled(values, errors)
    mean = np.mean((found.low <= 0) & (found.high >= 0))
    of_new = np.mean((found.new_low <= new) & (found.new_high >= new))
    assert 0.92 <= mean <= 0.996
    assert 0.92 <= of_new <= (1.0 if tau == 0.0 else 0.99)


def a_row(calibrated_on, measured_on, calibration, **changed):
    return {
        "model": "m", "revision": None, "commit": None, "series": "m", "criterion": "cett", "rule": "ppl-increase",
        "ppl_increase_target": 0.01, "activation_ratio_target": None, "knob": 0.2, "calibrated_on": calibrated_on,
        "measured_on": measured_on, "calibration": calibration, "calibration_flags": " ".join(calibration["flags"]),
        "activation_ratio": 0.1, "activation_ratio_se": 0.001, "ppl_ratio": 1.01, "ppl_ratio_se": 0.001,
        "loss_dense_nats": 3.0, "loss_sparse_nats": 3.01, "loss_delta_se_nats": 0.001, "flags": "",
        "errors_hold_for": THE_CORPUS, **changed,
    }  # fmt: skip


@pytest.fixture
def four_texts():
    """The rows of a transfer of four texts, of numbers that are easy to tell apart."""
    names = "abcd"
    calibrations = {
        name: {
            "activation_ratio": 0.05 * place, "activation_ratio_se": 0.001 * (1 + place), "loss_dense_nats": 3.0,
            "loss_sparse_nats": 3.01, "loss_delta_se_nats": 0.002, "flags": ["noisy"] if name == "b" else [],
            "errors_hold_for": THE_CORPUS,
        }
        for place, name in enumerate(names)
    }  # fmt: skip
    return [
        a_row(x, y, calibrations[x], loss_sparse_nats=3.0 + 0.01 * i + 0.001 * j, loss_delta_se_nats=0.0001 * (1 + j))
        for i, x in enumerate(names)
        for j, y in enumerate(names)
    ]  # fmt: skip


def test_thresholds_on_other_texts(four_texts):
    own, *others = between_rows(four_texts)
    assert (own["quantity"], own["calibrated_on"], own["texts"]) == ("activation_ratio", None, 4)
    assert own["mean"] == pytest.approx(0.075, abs=0.002)
    assert own["within_se"] == pytest.approx(0.0025)
    assert own["flags"] == "noisy"
    assert own["mean_low"] == own["new_low"] == 0.0, "a ratio is not below 0"
    assert [(row["quantity"], row["calibrated_on"], row["texts"]) for row in others] == [
        ("loss_rise_nats", name, 3) for name in "abcd"
    ]
    rises, errors = np.array([0.01, 0.012, 0.013]), np.array([0.0001, 0.0003, 0.0004])
    expected = pooled(rises, errors)  # of b on a, c and d
    assert others[1]["mean"] == pytest.approx(expected.mean)
    assert others[1]["between_sd"] == pytest.approx(expected.between)
    assert (others[1]["new_low"], others[1]["new_high"]) == pytest.approx(
        (expected.new_low, expected.new_high)
    )
    assert others[1]["flags"] == ""


@pytest.mark.parametrize(
    ("targets", "quantities"),
    [
        ({"ppl_increase_target": 0.01}, ["activation_ratio"]),
        ({"activation_ratio_target": 0.1}, ["loss_rise_nats"]),
        ({}, ["activation_ratio", "loss_rise_nats"]),
    ],
)
def test_what_was_asked_for_is_no_finding(four_texts, targets, quantities):
    none = {"ppl_increase_target": None, "activation_ratio_target": None}
    two = [
        {**row, **none, **targets} for row in four_texts if {row["calibrated_on"], row["measured_on"]} <= {"a", "b"}
    ]  # fmt: skip
    assert [row["quantity"] for row in between_rows(two)] == quantities


def test_checkpoints_that_failed_and_errors_of_one_text(four_texts):
    four_texts[0]["calibration"]["errors_hold_for"] = THIS_TEXT
    failed = {**dict.fromkeys(four_texts[0]), "model": "n", "flags": "", "failed": "no weights"}
    own, *_, last = between_rows([failed, *four_texts])
    assert own["errors_hold_for"] == THIS_TEXT
    assert last == failed
    of_a, of_b = (row for row in between_rows(four_texts) if row["calibrated_on"] in ("a", "b"))
    assert of_a["errors_hold_for"] == of_b["errors_hold_for"] == THE_CORPUS


@pytest.mark.parametrize("sample", [None, HEAD])
@pytest.mark.long
def test_the_table_of_a_transfer_is_of_its_records(tmp_path, sample):
    paths = []
    for name in ("wikitext2.valid", "tinyshakespeare"):
        words = at_hand(f"text/{name}.txt").read_text(encoding="utf-8")
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_text(words[:100_000], encoding="utf-8")
    changed = {} if sample is None else {"sample": sample}
    spec = MeasureSpec(text=paths[0], ppl_increase=0.05, tokens=1024, window=64, **changed)
    models, output = expand([str(at_hand("models/relu-2m"))]), tmp_path / "out"
    rows = measure_transfer(spec, models, texts=named_texts(paths[0], [str(paths[1])]), output=output)
    (row,) = csv.DictReader((output / "texts.csv").read_text(encoding="utf-8").splitlines())
    found = [read_record(output / "records" / f"{rows[place]['calibration_key']}.json") for place in (0, 3)]
    assert found[0]["text_sha256"] != found[1]["text_sha256"]
    values = np.array([record["activation_ratio"] for record in found])
    errors = np.array([record["activation_ratio_se"] for record in found])
    assert errors[0] > 1.2 * rows[0]["activation_ratio_se"], "the noise of the knob found is in it"
    expected = pooled(values, errors)
    numbers = {key: float(row[key]) for key in ("mean", "between_sd", "within_se", "mean_low", "new_high")}
    assert numbers == pytest.approx(
        {
            "mean": expected.mean, "between_sd": expected.between, "within_se": errors.mean(),
            "mean_low": max(expected.low, 0.0), "new_high": min(expected.new_high, 1.0),
        }
    )  # fmt: skip
    assert (row["quantity"], row["texts"], row["calibrated_on"], row["knob"]) == (
        "activation_ratio",
        "2",
        "",
        "",
    )
    assert (row["rule"], row["ppl_increase_target"]) == ("ppl-increase", "0.05")
    assert row["errors_hold_for"] == (THIS_TEXT if sample == HEAD else THE_CORPUS)
    assert row["flags"] == " ".join(dict.fromkeys(word for record in found for word in record["flags"]))
    shown = transfer_markdown(rows, [text.stem for text in paths])
    assert f"{expected.mean:.4f}" in shown
    assert f"{values[1]:.4f} ± {errors[1]:.4f}" in shown
