"""Locks of laws of several inputs: round trip, and every status that `check` gives them."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from sparsity_lab import registry
from sparsity_lab.cli.main import app
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.locks import check, lock_file
from sparsity_lab.fitting.locks.since import since
from sparsity_lab.fitting.spec import FitSpec

LAW = registry.load("laws", "loss-power").LAW
COLUMNS = Columns(("n", "d"), "l")


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(8)
    x = np.exp(generator.uniform(np.log([5e7, 1e9]), np.log([1e10, 3e11]), size=(60, 2)))
    truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
    y = LAW.predict(truth, x) * np.exp(generator.normal(0, 2e-3, 60))
    return [(float(n), float(d), float(loss)) for (n, d), loss in zip(x, y, strict=True)]


def table(path, rows):
    path.write_text("n,d,l\n" + "".join(f"{n!r},{d!r},{loss!r}\n" for n, d, loss in rows), encoding="utf-8")


def fit_and_lock(path, output, reason, *, columns=COLUMNS):
    spec = FitSpec(robust=True, draws=0)
    fit_table(path, mapping=columns, spec=spec, output=output, lock=reason, plots=False)


@pytest.fixture(scope="module")
def locked(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    table(folder / "t.csv", rows)
    fit_and_lock(folder / "t.csv", folder / "out", "planted")
    return folder


@pytest.fixture
def study(locked, tmp_path):
    """A copy of the locked ladder for each test to change."""
    return shutil.copytree(locked, tmp_path, dirs_exist_ok=True)


def only(study):
    (finding,) = check.check([study / "out"])
    return finding


@pytest.mark.long
def test_a_lock_reads_back_and_passes(study):
    path = study / "out" / "locks" / "t-loss-power.toml"
    lock = lock_file.read(path)
    assert lock_file.to_toml(lock) == path.read_text(encoding="utf-8")
    assert lock.table == "../t.csv"
    assert lock.columns == COLUMNS
    assert len(lock.probes) == 10
    assert only(study).status == check.PASS


@pytest.mark.long
def test_one_number_moved_by_a_percent_is_stale(study, rows):
    moved = list(rows)
    moved[3] = (*moved[3][:2], moved[3][2] * 1.01)
    table(study / "t.csv", moved)
    finding = only(study)
    assert finding.status == check.STALE
    assert "n = " in finding.details[1]


@pytest.mark.parametrize(("key", "told"), [("y", "it predicts"), ("value", "refitted")])
@pytest.mark.long
def test_a_locked_number_moved_by_a_percent_is_drift(study, key, told):
    path = study / "out" / "locks" / "t-loss-power.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = ") and i > 12)
    place = place if key == "value" else next(i for i, text in enumerate(lines) if text == "[[probes]]") + 2
    lines[place] = f"{key} = {float(lines[place].split('=')[1]) * 1.01!r}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    finding = only(study)
    assert finding.status == check.DRIFT
    assert told in finding.details[0]


@pytest.mark.long
def test_fits_json_is_guarded_too(study):
    beside = study / "out" / "fits.json"
    entries = json.loads(beside.read_text(encoding="utf-8"))
    entries[0]["coefficients"]["E"]["value"] *= 1.01
    beside.write_text(json.dumps(entries), encoding="utf-8")
    finding = only(study)
    assert finding.status == check.DRIFT
    assert finding.details[0].startswith("E in fits.json is")


@pytest.mark.slow
def test_a_ladder_that_lost_its_limit_is_unidentified(study):
    path = study / "out" / "locks" / "t-loss-power.toml"
    generator = np.random.default_rng(5)
    x = np.exp(generator.uniform(np.log([1e8, 1e10]), np.log([1e9, 1e11]), size=(40, 2)))
    limitless = {"alpha": 0.06, "beta": 0.07, "a": 3.0, "b": 4.0, "E": 0.0}
    y = LAW.predict(limitless, x) * np.exp(generator.normal(0, 4e-3, 40))
    table(study / "t.csv", [(*map(float, at), float(loss)) for at, loss in zip(x, y, strict=True)])
    digest = read_series(study / "t.csv", mapping=COLUMNS)[0].sha256
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(lock_file.read(path).points_sha256, digest), encoding="utf-8")
    finding = only(study)
    assert finding.status == check.UNIDENTIFIED
    assert "open below" in finding.details[0]


def test_a_table_that_is_gone_is_missing(study):
    (study / "t.csv").unlink()
    assert only(study).status == check.MISSING
    path = study / "out" / "locks" / "t-loss-power.toml"
    with pytest.raises(SparsityLabError, match="Cannot update"):
        check.update(path, reason="x")


@pytest.mark.long
def test_an_update_keeps_tolerances_and_says_what_changed(study, rows):
    path = study / "out" / "locks" / "t-loss-power.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("1e-07", "2e-07"), encoding="utf-8")
    table(study / "t.csv", rows[:50])
    old, new = check.update(path, reason="fewer points")
    assert new.prediction_tolerance.absolute == 2e-7
    assert any(line.startswith("points: 60") for line in check.differences(old, new))
    assert check.check([path])[0].details[0].startswith("alpha in fits.json is")


@pytest.mark.long
def test_a_reason_and_a_whole_lock_are_needed(study, rows):
    with pytest.raises(SparsityLabError, match="needs a reason"):
        fit_and_lock(study / "t.csv", study / "again", " ")
    path = study / "out" / "locks" / "t-loss-power.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("points_sha256", "points_sha"), encoding="utf-8")
    with pytest.raises(SparsityLabError, match="not complete"):
        check.check([path])


@pytest.mark.parametrize("other", ["y", "group", "table"])
def test_a_lock_of_another_fit_is_not_replaced(study, other):
    """The file's name has the table and the law alone."""
    text = (study / "t.csv").read_text(encoding="utf-8")
    copied = [line + "," + line.split(",")[-1] + ",run" for line in text.splitlines()]
    (study / "t.csv").write_text("n,d,l,m,g\n" + "\n".join(copied[1:]) + "\n", encoding="utf-8")
    (study / "moved").mkdir()
    (study / "moved" / "t.csv").write_bytes((study / "t.csv").read_bytes())
    before = {path: path.read_bytes() for path in (study / "out").rglob("*") if path.is_file()}
    source = study / "moved" / "t.csv" if other == "table" else study / "t.csv"
    columns = Columns(("n", "d"), "m" if other == "y" else "l", "g" if other == "group" else None)
    with pytest.raises(SparsityLabError, match="locks another fit"):
        fit_and_lock(source, study / "out", "a second one", columns=columns)
    assert {path: path.read_bytes() for path in (study / "out").rglob("*") if path.is_file()} == before


def test_since_asks_for_series_of_checkpoints(study):
    with pytest.raises(SparsityLabError, match="several inputs"):
        since([study / "out"], study / "t.csv")


@pytest.mark.long
def test_the_command_locks_and_exits_1_on_drift(study, rows):
    made = CliRunner().invoke(app, [
        "fit", str(study / "t.csv"), "--x", "n,d", "--y", "l", "--bootstrap", "0", "--no-plots",
        "--lock", "by hand", "--output", str(study / "by-hand"),
    ])  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "identified" in made.output
    assert CliRunner().invoke(app, ["check", str(study / "by-hand")]).exit_code == 0
    table(study / "t.csv", [(n, d, loss * 1.01) for n, d, loss in rows])
    assert CliRunner().invoke(app, ["check", str(study / "by-hand")]).exit_code == 1


def test_a_lock_holds_no_prediction_where_the_law_has_none(tmp_path):
    generator = np.random.default_rng(2)
    shares, sizes = generator.uniform(0.1, 0.9, 40), np.exp(generator.uniform(11, 18, 40))
    losses = 1.5 + 30.0 * (1 - shares) ** 0.7 * sizes**-0.3 + generator.normal(0, 1e-3, 40)
    table(tmp_path / "t.csv", zip(sizes.tolist(), shares.tolist(), losses.tolist(), strict=True))
    spec = FitSpec(law="c + a*(1 - S)^p*N^-q; inputs N, S; p=0.1:3", draws=0)
    fit_table(
        tmp_path / "t.csv", mapping=COLUMNS, spec=spec, output=tmp_path / "out", lock="planted", plots=False
    )
    (path,) = (tmp_path / "out" / "locks").glob("*.toml")
    assert all(np.isfinite(probe.y) for probe in lock_file.read(path).probes)
    (finding,) = check.check([path])
    assert finding.status == check.PASS
