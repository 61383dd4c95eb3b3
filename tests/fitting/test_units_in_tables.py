"""Tables of a user's in other units: the same numbers, or one paragraph; what was read is said and kept."""

import json

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.locks import check
from sparsity_lab.fitting.locks.since import since
from sparsity_lab.fitting.spec import FitSpec, load_law

TOKENS = np.geomspace(2e7, 4e9, 9).round(-4)
RATIOS = 0.2 - 0.02 * (TOKENS / 1e9) ** -0.3
FEW = FitSpec(law="power", rivals=("power", "constant"), draws=0)


def table(folder, *, tokens="tokens", by=1.0, ratio="activation_ratio", times=1.0, extra=None, name="t.csv"):
    head, more = extra or ("", "")
    rows = [f"series,{tokens},{ratio}{head}"]
    rows += [f"run,{d / by:.12g},{float(a * times)!r}{more}" for d, a in zip(TOKENS, RATIOS, strict=True)]
    path = folder / name
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("tokens", "by", "unit"),
    [
        ("tokens_b", 1e9, ()), ("tokens (1e9)", 1e9, ()), ("trained_tokens_m", 1e6, ()),
        ("tokens", 1e9, ("tokens=1e9",)), ("tokens", 1e6, ("tokens=million",)),
    ],
)  # fmt: skip
def test_tokens_in_any_named_unit_are_the_same_tokens(tmp_path, tokens, by, unit):
    (plain,) = read_series(table(tmp_path, name="plain.csv"))
    (one,) = read_series(table(tmp_path, tokens=tokens, by=by), mapping=Columns(unit=unit))
    np.testing.assert_allclose(one.x, plain.x, rtol=1e-9)
    assert one.x_variable == plain.x_variable
    assert one.units[tokens].startswith(f"1e{9 if by == 1e9 else 6} tokens")
    assert plain.units["tokens"].startswith("tokens (")


@pytest.mark.parametrize("by", [1e9, 1e6])
def test_tokens_in_an_unnamed_unit_are_refused(tmp_path, by):
    with pytest.raises(SparsityLabError, match="--unit tokens=1e9"):
        read_series(table(tmp_path, by=by))


@pytest.mark.parametrize(
    ("ratio", "unit"),
    [
        ("activation_ratio_pct", ()),
        ("activation_ratio (%)", ()),
        ("activation_ratio", ("activation_ratio=percent",)),
    ],
)
def test_a_ratio_in_percent_is_a_fraction(tmp_path, ratio, unit):
    (one,) = read_series(table(tmp_path, ratio=ratio, times=100.0), mapping=Columns(unit=unit))
    np.testing.assert_allclose(one.y, RATIOS, rtol=1e-12)
    assert one.y_box == (0.0, 1.0)
    assert "percent" in one.units[ratio]


def test_a_ratio_in_unnamed_percent_or_a_fraction_called_percent_is_refused(tmp_path):
    with pytest.raises(SparsityLabError, match="--unit activation_ratio=percent"):
        read_series(table(tmp_path, times=100.0))
    with pytest.raises(SparsityLabError, match="below 1 percent"):
        read_series(table(tmp_path, ratio="activation_ratio_pct"))


def test_errors_have_the_unit_of_the_ratio(tmp_path):
    path = table(tmp_path, times=100.0, extra=(",activation_ratio_se", ",0.5"))
    (one,) = read_series(path, mapping=Columns(unit=("activation_ratio=percent",)))
    np.testing.assert_allclose(one.se, 0.005)


@pytest.mark.parametrize(
    ("size", "cell", "unit", "count"),
    [
        ("params_b", "0.8", (), 8e8),
        ("params_total", "800", ("params=1e6",), 8e8),
        ("params", "0.8B", (), 8e8),
    ],
)
def test_sizes_have_units_too(tmp_path, size, cell, unit, count):
    path = table(tmp_path, extra=(f",{size}", f",{cell}"))
    assert read_series(path, mapping=Columns(unit=unit))[0].parameters == pytest.approx(count)


@pytest.mark.parametrize("cell", ["800", "0.8", "many"])
def test_sizes_that_cannot_be_counts_are_refused(tmp_path, cell):
    with pytest.raises(SparsityLabError, match="params"):
        read_series(table(tmp_path, extra=(",params_total", f",{cell}")))


def test_a_unit_of_no_column_is_refused(tmp_path):
    with pytest.raises(SparsityLabError, match="flops"):
        read_series(table(tmp_path), mapping=Columns(unit=("flops=1e18",)))


def test_mapped_columns_say_their_unit(tmp_path):
    path = table(tmp_path, tokens="flops (1e18)", by=1e6, ratio="loss_bits", times=10.0)
    (one,) = read_series(path, mapping=Columns(("flops (1e18)",), "loss_bits", "series"))
    assert (one.x_variable.unit, one.y_variable.unit) == ("1e18 FLOPs", "bits")
    np.testing.assert_allclose(one.x, TOKENS / 1e6)
    path = table(tmp_path, tokens="flops", by=1e9, ratio="loss", times=10.0)
    with pytest.raises(SparsityLabError, match="--unit flops=1e18"):
        read_series(path, mapping=Columns(("flops",), "loss", "series"))


@pytest.mark.long
def test_the_unit_stands_in_the_fits_and_in_the_lock_and_check_reads_by_it(tmp_path, caplog):
    caplog.set_level("INFO", logger="sparsity_lab")
    source, out = table(tmp_path, by=1e9), tmp_path / "out"
    fit_table(source, output=out, spec=FEW, mapping=Columns(unit=("tokens=1e9",)), lock="as measured")
    assert "tokens read in 1e9 tokens (as asked for)" in caplog.text
    (entry,) = json.loads((out / "fits.json").read_text(encoding="utf-8"))
    assert entry["units"]["tokens"] == "1e9 tokens (as asked for)"
    assert "Units: tokens in 1e9 tokens" in (out / "fits.md").read_text(encoding="utf-8")
    (lock,) = (out / "locks").glob("*.toml")
    assert 'unit = ["tokens=1e9"]' in lock.read_text(encoding="utf-8")
    assert [one.status for one in check.check([out])] == [check.PASS]
    plain = table(tmp_path, name="plain.csv")
    with pytest.raises(SparsityLabError, match="above 1e\\+15"):
        since([out], plain)
    assert [one.status for one in since([out], plain, unit=("tokens=1",))] == [check.PASS]


N, D = np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10])
LOSS = 1.7 + 400 * N**-0.34 + 400 * D**-0.28


def ladder(folder, *, head="params,tokens,loss", by=(1.0, 1.0, 1.0)):
    rows = [
        ",".join(f"{value / scale:.12g}" for value, scale in zip(row, by, strict=True))
        for row in zip(N.ravel(), D.ravel(), LOSS.ravel(), strict=True)
    ]
    path = folder / "ladder.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("head", "by", "unit"),
    [
        ("params_m,tokens_b,loss", (1e6, 1e9, 1.0), ()),
        ("N,D,loss", (1e6, 1e9, 1.0), ("N=1e6", "D=1e9")),
        ("N,D,L", (1.0, 1e9, np.log(2)), ("tokens=1e9", "loss=bits")),
        ("params,tokens,loss (bits)", (1.0, 1.0, np.log(2)), ()),
    ],
)
def test_two_inputs_in_any_named_unit_give_the_same_law(tmp_path, head, by, unit):
    law, names = load_law("loss-power"), head.split(",")
    path = ladder(tmp_path, head=head, by=by)
    (series,) = read_series(path, mapping=Columns(tuple(names[:2]), names[2], unit=unit), law=law)
    order = np.argsort((np.log(N) + np.log(D)).ravel(), kind="stable")
    np.testing.assert_allclose(series.x.prod(axis=1), (N * D).ravel()[order], rtol=1e-9)
    np.testing.assert_allclose(np.sort(series.y), np.sort(LOSS.ravel()), rtol=1e-9)


@pytest.mark.parametrize("by", [(1e6, 1.0, 1.0), (1.0, 1e9, 1.0), (1e9, 1e9, 1.0)])
@pytest.mark.parametrize("head", ["params,tokens,loss", "N,D,L"])
def test_two_inputs_in_an_unnamed_unit_are_refused(tmp_path, head, by):
    names = head.split(",")
    with pytest.raises(SparsityLabError, match="--unit"):
        read_series(
            ladder(tmp_path, head=head, by=by),
            mapping=Columns(tuple(names[:2]), names[2]),
            law=load_law("loss-power"),
        )


@pytest.mark.long
def test_units_of_two_inputs_stand_in_fits_and_lock(tmp_path):
    out = tmp_path / "out"
    path = ladder(tmp_path, by=(1.0, 1e9, 1.0))
    columns = Columns(("params", "tokens"), "loss", unit=("tokens=1e9",))
    fit_table(path, mapping=columns, spec=FitSpec(draws=0), output=out, lock="so", plots=False)
    (entry,) = json.loads((out / "fits.json").read_text(encoding="utf-8"))
    assert entry["units"]["tokens"] == "1e9 tokens (as asked for)"
    assert [one.status for one in check.check([out])] == [check.PASS]


@pytest.mark.parametrize("reach", [12.5, -0.1, 1.5])
def test_reach_is_in_the_unit_of_y(tmp_path, reach):
    with pytest.raises(SparsityLabError, match="--reach"):
        fit_table(table(tmp_path), output=tmp_path / "out", spec=FitSpec(draws=0, reach=(reach,)))
    assert not list(tmp_path.glob("out/*"))
