"""One way from a table to files for one input and for several: weights, exclusions, zeros, held-out rows, resuming."""

import hashlib
import json
import logging
import re

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting import fit_table as batch
from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.report import files
from sparsity_lab.fitting.result import FIT_KEYS
from sparsity_lab.fitting.spec import FitSpec
from tests.unrendered import unrendered

ONE = Columns(("t",), "y")
TWO = Columns(("n", "d"), "y")
QUICK = FitSpec(law="power", rivals=("constant",), draws=0)
LAW = registry.load("laws", "loss-power").LAW


def write(path, **columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def curve(count=14, seed=0, noise=1e-3):
    t = np.geomspace(1, 60, count)
    return t, 0.4 - 0.2 * t**-0.5 + np.random.default_rng(seed).normal(0, noise, count)


def ladder(seed=0, noise=2e-3):
    n, d = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10]))
    y = 1.7 + 400 * n**-0.34 + 400 * d**-0.28
    return n, d, y * np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))


def fitted(path, mapping, spec=QUICK, **others):
    (result,) = fit_table(path, output=path.parent / "out", mapping=mapping, spec=spec, plots=False, **others)
    return result


SEVERAL = FitSpec(draws=0)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.long
def test_excluded_rows_are_left_out_and_a_column_that_is_not_there_is_refused(tmp_path, several):
    if several:
        n, d, y = ladder()
        path, mapping, spec = tmp_path / "t.csv", TWO, SEVERAL
        columns = {"n": n, "d": d, "y": y}
    else:
        t, y = curve()
        path, mapping, spec = tmp_path / "t.csv", ONE, QUICK
        columns = {"t": t, "y": y}
    whole = fitted(write(path, **columns), mapping, spec)
    bad = [3, 9]
    spoiled = y.copy()
    spoiled[bad] += 1.0
    flags = ["true" if i in bad else "false" for i in range(len(y))]
    write(path, **{**columns, "y": spoiled, "bad": flags})
    marked = Columns(mapping.x, "y", exclude="bad")
    without = fitted(path, marked, spec)
    assert (len(without.series.y), without.series.left_out) == (len(y) - 2, 2)
    name = "alpha"
    assert without.values[name] == pytest.approx(whole.values[name], rel=0.2)
    for key in ("exclude", "se", "by", "holdout", "group"):
        with pytest.raises(SparsityLabError, match="no column 'none'"):
            read_series(path, mapping=Columns(mapping.x, "y", **{key: "none"}))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.long
def test_weights_move_a_fit_and_their_scatter_is_told(tmp_path, several):
    columns = (
        dict(zip(("n", "d", "y"), ladder(), strict=True))
        if several
        else dict(zip("ty", curve(), strict=True))
    )
    se = np.where(np.arange(len(columns["y"])) % 2, 1e-3, 1e-2)
    path = write(tmp_path / "t.csv", **columns, se=se)
    mapping = Columns(("n", "d") if several else ("t",), "y", se="se")
    spec = SEVERAL if several else QUICK
    plain, weighted = (
        fitted(path, mapping, FitSpec(law=spec.law, rivals=spec.rivals, draws=0, weighted=w))
        for w in (False, True)
    )
    assert weighted.values != plain.values
    assert "1/se^2" in weighted.objective
    expected = np.sum((weighted.residuals / weighted.series.se) ** 2) / (len(se) - len(weighted.values))
    assert weighted.chi2_per_freedom == pytest.approx(expected)
    assert "chi squared" in (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")


def test_hashes_of_both_kinds_are_what_they_always_were(tmp_path):
    n, d, y = ladder()
    t, ratio = curve()
    (several,) = read_series(write(tmp_path / "a.csv", n=n, d=d, y=y), mapping=TWO, law=LAW)
    (alone,) = read_series(write(tmp_path / "b.csv", t=t, y=ratio), mapping=ONE)
    rows = np.column_stack([n, d, y]).astype("<f8")
    assert several.sha256 == hashlib.sha256(rows.tobytes()).hexdigest()
    assert alone.sha256 == hashlib.sha256(np.stack([t, ratio]).astype("<f8").tobytes()).hexdigest()
    assert np.all(np.diff(several.x.prod(axis=1)) >= 0)


@pytest.mark.thorough
@pytest.mark.parametrize("law", ["densing", "linear"])
@pytest.mark.parametrize("first", [0.0, -30.0])
@pytest.mark.long
def test_laws_of_any_x_take_zeros_and_negative_values(tmp_path, caplog, law, first):
    t = first + 10.0 * np.arange(12)
    path = write(tmp_path / "t.csv", t=t, y=0.5 + 0.02 * t + 0.01 * np.sin(t))
    (result,) = fit_table(path, output=tmp_path / "out", mapping=ONE, spec=FitSpec(law=law, draws=0))
    assert len(result.series.y) == 12
    assert {rival.law for rival in result.comparison.rivals} == {law, "constant"}
    assert "power, logspace-power, rising-exponential, sigmoid, logarithmic begin above 0" in caplog.text
    assert next(iter((tmp_path / "out" / "plots").glob("all.png"))).stat().st_size > 0


def test_a_law_that_begins_above_0_tells_of_zeros_and_refuses_negative_values(tmp_path, caplog):
    t, y = curve()
    path = write(tmp_path / "t.csv", t=[0.0, *t], y=[0.1, *y])
    assert fitted(path, ONE).series.left_out == 1
    assert "t is 0 there" in caplog.text
    write(path, t=[-1.0, *t], y=[0.1, *y])
    with pytest.raises(SparsityLabError, match=r"row 2, column 't': '-1\.0'"):
        fitted(path, ONE)


@pytest.mark.parametrize(
    ("t", "drop", "told"),
    [
        (np.full(14, 3.0), 0, "has 14 points, all at t = 3$"),
        (np.repeat([1.0, 7.0], 7), 0, "has 14 points at only 2 different values of t$"),
        (np.append(np.arange(1.0, 5.0), np.full(10, 7.0)), 4, "has 10 points, all at t = 7$"),
    ],
)
def test_x_that_does_not_change_is_refused_by_that_reason(tmp_path, t, drop, told):
    path = write(tmp_path / "t.csv", t=t, y=curve()[1])
    with pytest.raises(SparsityLabError, match="No series has enough different x to fit") as refused:
        fitted(path, ONE, FitSpec(law="power", rivals=("constant",), drop=drop, draws=0))
    assert re.search(told, refused.value.why)


def test_one_of_several_inputs_that_does_not_change_is_refused(tmp_path):
    n, d, y = ladder()
    path = write(tmp_path / "t.csv", n=np.full_like(n, 1e7), d=d, y=y)
    with pytest.raises(SparsityLabError, match="No series has enough different x to fit") as refused:
        fitted(path, TWO, SEVERAL)
    assert refused.value.why.endswith("16 points, all at parameters = 1e+07")


@pytest.mark.parametrize("several", [False, True])
def test_y_that_does_not_change_has_no_coefficients(tmp_path, several):
    n, d, y = ladder()
    columns = {"n": n, "d": d} if several else {"t": curve(16)[0]}
    path = write(tmp_path / "t.csv", **columns, y=np.full_like(y, 2.0))
    result = fitted(path, TWO if several else ONE, SEVERAL if several else QUICK)
    assert (result.verdict.word, result.values) == ("not identified", {})
    assert "do not change at all" in result.verdict.reason


def test_y_that_is_fitted_by_its_logarithm_is_above_0(tmp_path):
    n, d, y = ladder()
    path = write(tmp_path / "t.csv", n=n, d=d, y=np.where(np.arange(len(y)) == 4, 0.0, y))
    for spec in (FitSpec(robust=True, draws=0), FitSpec(log=True, draws=0)):
        with pytest.raises(SparsityLabError, match="row 6, column 'y'"):
            fitted(path, TWO, spec)
    for others in ({"log": True}, {"weighted": True}):
        with pytest.raises(SparsityLabError, match="exclude each other"):
            FitSpec(robust=True, **others)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_y_in_any_unit_gives_the_same_law(tmp_path, scale):
    t, y = curve()
    plain = fitted(write(tmp_path / "t.csv", t=t, y=y), ONE)
    other = fitted(write(tmp_path / "t.csv", t=t, y=y * scale), ONE)
    assert other.values["A0"] == pytest.approx(plain.values["A0"] * scale, rel=0.05)


@pytest.mark.parametrize("several", [False, True])
def test_the_largest_values_are_held_out_and_predicted_beside_baselines(tmp_path, several):
    if several:
        n, d, y = ladder()
        path = write(tmp_path / "t.csv", n=n, d=d, y=y)
        result = fitted(path, Columns(("n", "d"), "y", holdout="n"), SEVERAL)
        expected, law = (4, 12, 3e8), "loss-power"
    else:
        t, y = curve()
        path = write(tmp_path / "t.csv", t=t, y=y)
        result = fitted(path, Columns(("t",), "y", holdout="t"))
        expected, law = (4, 10, t[-4]), "power"
    held = result.holdout
    assert (held.points, held.kept, held.least) == pytest.approx(expected)
    by = {each.by: each for each in held.predictions}
    assert next(iter(by)) == law
    assert by[law].rmse < by["the largest kept"].rmse
    assert by[law].coverage >= 0.75
    assert "Held out: the 4 points" in (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert entry["holdout"]["predictions"][0]["rmse"] == held.predictions[0].rmse


def test_nothing_to_hold_out_is_said(tmp_path):
    t, y = curve()
    path = write(tmp_path / "t.csv", t=t, y=y, size=np.ones(14))
    with pytest.raises(SparsityLabError, match="Nothing can be held out"):
        fitted(path, Columns(("t",), "y", holdout="size"))


def test_each_value_of_a_column_has_a_law_of_its_own(tmp_path):
    n, d, y = ladder()
    columns = {key: np.tile(values, 2) for key, values in {"n": n, "d": d, "y": y}.items()}
    columns["y"][16:] += 0.5
    path = write(tmp_path / "t.csv", **columns, corpus=["a"] * 16 + ["b"] * 16)
    mapping = Columns(("n", "d"), "y", by="corpus")
    a, b = fit_table(path, output=tmp_path / "out", mapping=mapping, spec=SEVERAL, plots=False, lock="so")
    assert (a.name, b.name) == ("a", "b")
    assert b.values["E"] - a.values["E"] == pytest.approx(0.5, abs=0.02)
    assert sorted(p.name for p in (tmp_path / "out" / "locks").glob("*.toml")) == ["a.toml", "b.toml"]


@unrendered()
def test_both_kinds_have_the_same_keys_residuals_and_figures(tmp_path):
    n, d, y = ladder()
    path = write(tmp_path / "t.csv", n=n, d=d, y=y)
    (result,) = fit_table(path, output=tmp_path / "out", mapping=TWO, spec=SEVERAL)
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert list(entry) == list(FIT_KEYS)
    assert [variable["symbol"] for variable in entry["inputs"]] == ["N", "D"]
    assert {rival["law"] for rival in entry["rivals"]["rivals"]} == {"loss-power"}
    left = read_series(tmp_path / "out" / "residuals.csv", mapping=Columns(("fitted",), "residual"))[0]
    assert np.sum(left.y**2) == pytest.approx(result.sse)
    assert (tmp_path / "out" / "plots" / "t-loss-power.png").is_file()


def test_the_report_names_the_unit_that_is_used_and_no_interval_that_is_none(tmp_path):
    t, y = curve()
    fitted(write(tmp_path / "t.csv", t=t, y=y), ONE)
    text = (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    assert "where D is t, as in the table" in text
    assert "tokens/1e9" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| all")]
    assert len(re.findall(r"0\.\d+ \[0\.\d+, 0\.\d+\]", row)) == 3, (
        "every coefficient has an interval, without draws"
    )


def many(path, count=4):
    t, y = curve(10)
    series = [
        (f"s{i}", float(a), float(b) + 0.01 * i) for i in range(count) for a, b in zip(t, y, strict=True)
    ]
    return write(
        path, run=[s for s, _, _ in series], t=[a for _, a, _ in series], y=[b for _, _, b in series]
    )


@pytest.mark.long
def test_a_fit_that_was_ended_goes_on_with_the_series_it_has_not_fitted(tmp_path, monkeypatch, caplog):
    path, mapping = many(tmp_path / "t.csv"), Columns(("t",), "y", "run")
    spec = FitSpec(law="power", rivals=("constant",), draws=5)
    fit_table(path, output=tmp_path / "whole", mapping=mapping, spec=spec, plots=False)
    fit, done = batch.fit_series, []

    def fails(series, spec):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(series.name)
        return fit(series, spec)

    monkeypatch.setattr(batch, "fit_series", fails)
    with pytest.raises(KeyboardInterrupt):
        fit_table(path, output=tmp_path / "out", mapping=mapping, spec=spec, plots=False)
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 3
    done.clear()
    caplog.set_level(logging.INFO, logger="sparsity_lab")
    fit_table(path, output=tmp_path / "out", mapping=mapping, spec=spec, plots=False)
    assert done == ["s3"]
    assert "3 of 4 series were fitted by an earlier call" in caplog.text
    for name in ("fits.json", "fits.csv", "fits.md", "residuals.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "out" / "parts").exists()


def test_a_kept_result_of_other_points_or_choices_is_not_taken(tmp_path):
    path, mapping = many(tmp_path / "t.csv", 1), Columns(("t",), "y", "run")
    parts = batch.KeptParts(tmp_path)
    (series,) = read_series(path, mapping=mapping)
    parts.write(series, batch.fit_all([series], QUICK)[0])
    assert parts.read(series, QUICK).to_dict() == batch.fit_all([series], QUICK)[0].to_dict()
    assert parts.read(series, FitSpec(law="power", rivals=("constant",), draws=0, seed=1)) is None
    object.__setattr__(series, "y", series.y + 1e-9)
    assert parts.read(series, QUICK) is None
    for kept in (tmp_path / "parts").iterdir():
        kept.write_text("{", encoding="utf-8")
    assert batch.KeptParts(tmp_path).read(read_series(path, mapping=mapping)[0], QUICK) is None


@unrendered()
def test_the_numbers_are_written_before_the_figures_which_can_be_left_out(tmp_path, monkeypatch):
    t, y = curve()
    path = write(tmp_path / "t.csv", t=t, y=y)

    def interrupted(*arguments, **others):
        raise KeyboardInterrupt

    fit_table(path, output=tmp_path / "out", mapping=ONE, spec=QUICK)
    assert (tmp_path / "out" / "plots" / "all.png").is_file()
    assert "](plots/" in (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    fit_table(path, output=tmp_path / "out", mapping=ONE, spec=QUICK, plots=False)
    assert not list((tmp_path / "out" / "plots").iterdir()), (
        "figures of an earlier call may contradict the numbers"
    )
    assert "](plots/" not in (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    monkeypatch.setattr(files, "_sheet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_table(path, output=tmp_path / "other", mapping=ONE, spec=QUICK, lock="so")
    assert {"fits.json", "fits.csv", "fits.md", "locks"} <= {p.name for p in (tmp_path / "other").iterdir()}


def test_no_more_than_thirty_numbers_of_leading_points_are_tried(tmp_path):
    t = np.geomspace(1, 60, 400)
    path = write(
        tmp_path / "t.csv", t=t, y=0.4 - 0.2 * t**-0.5 + np.random.default_rng(0).normal(0, 1e-3, 400)
    )
    rows = fitted(path, ONE).drop_sensitivity
    assert 20 < len(rows) <= 31
    assert rows[-1].dropped > 100
