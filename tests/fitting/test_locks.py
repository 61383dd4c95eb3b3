"""Locks that guard what readers read: weights, intervals, published files, deleted locks, tables measured anew."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sparsity_lab import registry
from sparsity_lab.cli.main import app
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.locks import check, lock_file, toml
from sparsity_lab.fitting.locks.since import since
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.store import bundled

LOSS = registry.load("laws", "loss-power").LAW
QUICK = FitSpec(law="power", rivals=("constant",), draws=0)
COLUMNS = {False: Columns(("t",), "y", se="se"), True: Columns(("n", "d"), "y", se="se")}


def curve(seed, noise=5e-4, truth=(0.4, 0.1, 0.6), count=20, rho=0.0):
    generator, t = np.random.default_rng(seed), np.geomspace(1.0, 60.0, count)
    shocks = generator.normal(size=count)
    for i in range(1, count):
        shocks[i] = rho * shocks[i - 1] + np.sqrt(1 - rho**2) * shocks[i]
    return t, truth[0] - truth[1] * t ** -truth[2] + noise * shocks


def table(path, seed=3, several=False, factor=1.0):
    """Points of a power law in t, or of a loss law in n and d, with standard errors that differ."""
    if several:
        x = np.exp(np.random.default_rng(8).uniform(np.log([5e7, 1e9]), np.log([1e10, 3e11]), size=(40, 2)))
        truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
        y = factor * LOSS.predict(truth, x) * np.exp(np.random.default_rng(seed).normal(0, 2e-3, 40))
        columns = {"n": x[:, 0], "d": x[:, 1], "y": y}
    else:
        t, y = curve(seed)
        columns = {"t": t, "y": factor * y}
    columns["se"] = 1e-3 * (1.0 + np.arange(len(columns["y"])) % 4)
    rows = [",".join(repr(float(value)) for value in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")
    return path


def locked(path, *, several=False, spec=None, follow=False):
    spec = spec or (FitSpec(draws=0) if several else QUICK)
    (result,) = fit_table(
        path,
        output=path.parent / "out",
        mapping=COLUMNS[several],
        spec=spec,
        lock="agreed",
        follow=follow,
        plots=False,
    )
    return result


def only(folder):
    (finding,) = check.check([folder])
    return finding


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.long
def test_a_weighted_lock_passes_and_guards_its_weights(tmp_path, several):
    path = table(tmp_path / "t.csv", several=several)
    result = locked(
        path, several=several, spec=replace(FitSpec(draws=0) if several else QUICK, weighted=True)
    )
    assert only(tmp_path).status == check.PASS, only(tmp_path)
    (lock,) = (lock_file.read(found) for found in (tmp_path / "out" / "locks").glob("*.toml"))
    assert {name: number.value for name, number in lock.coefficients.items()} == result.values
    path.write_text(path.read_text(encoding="utf-8").replace("0.002", "0.0021"), encoding="utf-8")
    finding = only(tmp_path)
    assert finding.status == check.STALE
    assert "standard errors" in finding.details[0]


@pytest.fixture(scope="module", params=[False, True], ids=["one input", "two inputs"])
def agreed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreed")
    locked(table(folder / "t.csv", several=request.param), several=request.param)
    return folder, "E" if request.param else "A0"


def change_json(key, change):
    def changed(text, limit):
        entries = json.loads(text)
        place = entries[0]["coefficients"][limit] if key in ("value", "low", "high") else entries[0]
        place[key] = change(place[key])
        return json.dumps(entries)

    return changed


def change_csv(column, change):
    def changed(text, limit):
        rows = list(csv.DictReader(text.splitlines()))
        name = column.format(limit)
        rows[0][name] = str(change(float(rows[0][name])))
        return "\n".join([",".join(rows[0]), ",".join(f'"{cell}"' for cell in rows[0].values())]) + "\n"

    return changed


def change_md(text, limit):
    """The first number of the limit's cell in the summary."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("| series"))
    place = [cell.strip() for cell in lines[head].split("|")].index(limit)
    cells = lines[head + 2].split("|")
    cells[place] = re.sub(r"\d\.\d+", lambda found: f"{float(found[0]) * 1.1:.3g}", cells[place], count=1)
    lines[head + 2] = "|".join(cells)
    return "\n".join(lines) + "\n"


def grown(value):
    return value * 1.05


CHANGES = {
    "value": ("fits.json", change_json("value", grown)),
    "low": ("fits.json", change_json("low", lambda value: value * 0.8)),
    "high": ("fits.json", change_json("high", lambda value: None)),
    "bound": ("fits.json", change_json("bound", lambda value: "A0 >= 0.9")),
    "limit": ("fits.json", change_json("limit", grown)),
    "points": ("fits.json", change_json("points", lambda value: value - 1)),
    "dropped": ("fits.json", change_json("dropped_points", lambda value: value + 1)),
    "sse": ("fits.json", change_json("sse", grown)),
    "verdict": ("fits.json", change_json("verdict", lambda value: "weakly identified")),
    "csv value": ("fits.csv", change_csv("{}", grown)),
    "csv low": ("fits.csv", change_csv("{}_low", lambda value: value * 0.8)),
    "csv points": ("fits.csv", change_csv("points", lambda value: int(value) - 1)),
    "md": ("fits.md", change_md),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_published_number_that_was_changed_is_drift(agreed, name):
    folder, limit = agreed
    file, change = CHANGES[name]
    path = folder / "out" / file
    before = path.read_text(encoding="utf-8")
    (place,) = (folder / "out" / "locks").glob("*.toml")
    lock = lock_file.read(place)
    path.write_text(change(before, limit), encoding="utf-8")
    try:
        details = check.disagreements(lock, folder / "out")
    finally:
        path.write_text(before, encoding="utf-8")
    assert len(details) == 1, details
    assert file in details[0]
    assert check.disagreements(lock, folder / "out") == []


def test_fits_json_has_to_be_there_and_unusual_tolerances_are_told(agreed, tmp_path):
    folder, limit = agreed
    (place,) = (folder / "out" / "locks").glob("*.toml")
    lock = lock_file.read(place)
    assert check.disagreements(lock, tmp_path) == ["there is no fits.json next to the locks"]
    number = lock.coefficients[limit]
    wide = toml.Tolerance(0.0, 0.001, 10.0)
    changed = replace(
        lock, coefficient_tolerance=wide,
        coefficients={**lock.coefficients, limit: replace(number, value=number.value * 1.0001)},
    )  # fmt: skip
    lock_file.write(changed, place)
    try:
        finding = only(folder)
    finally:
        lock_file.write(lock, place)
    assert finding.status == check.PASS
    assert "of coefficients 0, 0.001 of the value or 10 standard errors rather than" in finding.details[0]


def test_a_deleted_lock_is_missing_and_a_new_fit_does_not_forgive_it(agreed, tmp_path):
    folder, _ = agreed
    (place,) = (folder / "out" / "locks").glob("*.toml")
    text = place.read_bytes()
    place.unlink()
    try:
        finding = only(folder)
        assert (finding.status, finding.lock) == (check.MISSING, str(place))
        toml.note_locks(folder / "out", [])
        assert only(folder).status == check.MISSING
    finally:
        place.write_bytes(text)
    assert only(folder).status == check.PASS
    manifest = place.parent / toml.MANIFEST
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / toml.MANIFEST).write_text('{"locks": 3}', encoding="utf-8")
    with pytest.raises(SparsityLabError, match=toml.MANIFEST):
        check.check([tmp_path])
    assert json.loads(manifest.read_text(encoding="utf-8")) == {"locks": [place.name]}


def test_the_bound_of_a_fit_that_is_not_identified_is_guarded(tmp_path):
    t = np.geomspace(1, 20, 14)
    y = 0.3 + 0.02 * np.log(t) + np.random.default_rng(1).normal(0, 3e-3, 14)
    rows = [f"{a!r},{b!r}" for a, b in zip(map(float, t), map(float, y), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["t,activation_ratio", *rows]) + "\n", encoding="utf-8")
    columns = Columns(("t",), "activation_ratio")
    (result,) = fit_table(
        tmp_path / "t.csv", output=tmp_path / "out", mapping=columns, spec=QUICK, lock="agreed", plots=False
    )
    assert result.verdict.bound.startswith("A0 >= "), "the example is of this kind"
    assert only(tmp_path).status == check.PASS
    (place,) = (tmp_path / "out" / "locks").glob("*.toml")
    lock_file.write(replace(lock_file.read(place), bound="A0 >= 0.9"), place)
    finding = only(tmp_path)
    assert finding.status == check.DRIFT
    assert any("bound was A0 >= 0.9" in detail for detail in finding.details)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.long
def test_a_lock_that_follows_its_table_passes_noise_and_finds_drift(tmp_path, several):
    path = table(tmp_path / "t.csv", several=several)
    locked(path, several=several, follow=True)
    (place,) = (tmp_path / "out" / "locks").glob("*.toml")
    lock = lock_file.read(place)
    assert (lock.pinned, lock.prediction_tolerance, lock.coefficient_tolerance) == (False, *toml.FOLLOWED)
    assert only(tmp_path).status == check.PASS
    table(path, seed=4, several=several)
    assert only(tmp_path).status == check.PASS, only(tmp_path)
    table(path, seed=4, several=several, factor=1.1)
    assert only(tmp_path).status == check.DRIFT


def test_a_lock_that_follows_with_more_room_than_its_curve_has_is_told(tmp_path, caplog):
    x = np.geomspace(1, 5, 7)
    noise = [0.0, 0.05, -0.05, -0.03, 0.05, 0.03, -0.05]
    rows = [f"a,{t!r},{0.1 + 0.08 / t + e!r}" for t, e in zip(x.tolist(), noise, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["series,t,y", *rows]) + "\n")
    words = ["fit", str(tmp_path / "t.csv"), "--x", "t", "--y", "y", "--law", "power", "--rivals", "constant",
             "--bootstrap", "0", "--no-plots", "--output", str(tmp_path / "out"), "--lock", "so"]  # fmt: skip
    for follow in ([], ["--follow"]):
        caplog.clear()
        assert CliRunner().invoke(app, [*words, *follow]).exit_code == 0
        assert "a is locked in" in caplog.text
        assert ("guards little" in caplog.text) == bool(follow)


def test_following_is_asked_for_with_a_lock(tmp_path):
    path = table(tmp_path / "t.csv")
    words = ["fit", str(path), "--x", "t", "--y", "y", "--law", "power", "--rivals", "constant", "--bootstrap", "0",
             "--no-plots", "--output", str(tmp_path / "out"), "--follow"]  # fmt: skip
    refused = CliRunner().invoke(app, words)
    assert "without --lock" in refused.exception.what
    assert CliRunner().invoke(app, [*words, "--lock", "measured anew each night"]).exit_code == 0
    assert "pinned = false" in next((tmp_path / "out" / "locks").glob("*.toml")).read_text(encoding="utf-8")


def test_locks_of_the_first_format_are_read(tmp_path):
    """One of each kind, as earlier versions wrote them."""
    tail = "\n".join([
        "[prediction_tolerance]", "absolute = 1e-07", "relative = 1e-05", "standard_errors = 0.01",
        "[coefficient_tolerance]", "absolute = 0.0", "relative = 0.001", "standard_errors = 0.02",
        "[coefficients.A0]", "value = 0.4", "se = 0.01", "[[probes]]",
    ])  # fmt: skip
    one = f"""format = 1
series = "run"
law = "power"\nverdict = "identified"\nreason = "so"\nweighted = true\nseed = 2
        [input]\ntable = "t.csv"\npoints_sha256 = "00"\npinned = true\npoints = 9\ndropped_points = 1\nlast_x = 60.0
        x = "t"\ny = "y"\n[noise]\nnoise_sd = 0.1\nfreedom = 6\n{tail}\nx = 1.0\ny = 0.3\nse = 0.01\n"""
    two = f"""format = 1\nkind = "runs"\nseries = "t-loss-power"\nlaw = "loss-power"\nverdict = "identified"
        reason = "so"\nhuber = true\nseed = 0\n[input]\ntable = "t.csv"\npoints_sha256 = "00"\npoints = 9
        x = ["n", "d"]\ny = "l"\nexclude = "bad"\n{tail}\nx = [1.0, 2.0]\ny = 0.3\nse = 0.01\n"""
    for name, text in (("one", one), ("two", two)):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    first, second = (lock_file.read(tmp_path / f"{name}.toml") for name in ("one", "two"))
    assert (first.columns.x, first.dropped_points, first.spec.weighted, first.spec.seed) == (
        ("t",),
        1,
        True,
        2,
    )
    assert (first.noise_sd, first.freedom, first.inflation, first.probes[0].x) == (0.1, 6, 1.0, (1.0,))
    assert (second.columns, second.spec.robust, second.pinned) == (
        Columns(("n", "d"), "l", exclude="bad"),
        True,
        True,
    )
    assert second.probes[0].x == (1.0, 2.0)


def test_the_doubling_time_is_written_locked_and_guarded(tmp_path):
    t = 60.0 * np.arange(12)
    y = 0.0073 * t + np.random.default_rng(0).normal(0, 0.3, 12)
    rows = [f"{a!r},{b!r}" for a, b in zip(t.tolist(), y.tolist(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["t,y", *rows]) + "\n", encoding="utf-8")
    spec = FitSpec(law="densing", rivals=("constant",), draws=0)
    (result,) = fit_table(
        tmp_path / "t.csv", output=tmp_path / "out", mapping=Columns(("t",), "y"), spec=spec, lock="agreed",
        plots=False,
    )  # fmt: skip
    time, rate = result.derived["doubling"], result.coefficients["A"]
    assert (time.value, time.low, time.high) == pytest.approx(np.log(2) / [rate.value, rate.high, rate.low])
    assert "doubling, the time in which" in (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    assert only(tmp_path).status == check.PASS
    (place,) = (tmp_path / "out" / "locks").glob("*.toml")
    lock = lock_file.read(place)
    assert lock.derived["doubling"].se == pytest.approx(
        time.value * lock.coefficients["A"].se / rate.value, rel=1e-9
    )
    slower = replace(lock.derived["doubling"], value=1.01 * time.value)
    lock_file.write(replace(lock, derived={"doubling": slower}), place)
    details = only(tmp_path).details
    assert [detail.partition(" is ")[0] for detail in details] == [
        "doubling refitted", "doubling in fits.json", "doubling in fits.csv", "doubling in fits.md"
    ]  # fmt: skip


@pytest.mark.long
def test_the_written_numbers_of_a_fit_that_is_not_identified_are_guarded_too(tmp_path):
    """Their standard errors are of any size: by these alone a bound of 0.3 could become one of 0.1."""
    series = next(one for one in read_series(bundled.path("sparsing-law")) if one.name == "0.1B-silu")
    points = zip(series.x[10:].tolist(), series.y[10:].tolist(), strict=True)
    rows = [f"{a!r},{b!r},0.1" for a, b in points]
    (tmp_path / "t.csv").write_text("\n".join(["t,y,se", *rows]) + "\n", encoding="utf-8")
    limit = locked(tmp_path / "t.csv").coefficients["A0"]
    (place,) = (tmp_path / "out" / "locks").glob("*.toml")
    assert lock_file.read(place).coefficients["A0"].se > 10 * abs(limit.value)
    path = tmp_path / "out" / "fits.json"
    whole = path.read_text(encoding="utf-8")
    for end, changed in (("value", 1.1 * limit.value), ("low", 0.9 * limit.low)):
        entries = json.loads(whole)
        entries[0]["coefficients"]["A0"][end] = changed
        path.write_text(json.dumps(entries), encoding="utf-8")
        assert [detail.partition(" in ")[0] for detail in only(tmp_path).details] == [
            "A0" if end == "value" else "A0 low"
        ]
    path.write_text(whole, encoding="utf-8")
    assert only(tmp_path).status == check.PASS


def test_newer_models_have_smaller_losses_and_are_looked_for_there(tmp_path):
    losses = np.linspace(0.3, 2.2, 25)
    scores = 0.25 + 0.7 / (1 + np.exp(4 * (losses - 1.1)))
    scores += np.random.default_rng(0).normal(0, 4e-3, 25)

    def write(name, *more):
        rows = [f"{a!r},{b!r}" for a, b in [*zip(losses.tolist(), scores.tolist(), strict=True), *more]]
        (tmp_path / name).write_text("\n".join(["L,S", *rows]) + "\n", encoding="utf-8")
        return tmp_path / name

    spec = FitSpec(law="loss-to-score", rivals=("constant",), draws=0)
    fit_table(
        write("t.csv"),
        output=tmp_path / "out",
        mapping=Columns(("L",), "S"),
        spec=spec,
        lock="so",
        plots=False,
    )
    assert only(tmp_path).status == check.PASS
    (finding,) = since([tmp_path / "out"], write("new.csv", (0.2, 0.93), (0.15, 0.5), (0.05, 0.9)))
    assert finding.status == check.DRIFT
    assert [detail.partition(" ")[0] for detail in finding.details] == ["at", "1"]
    assert "at x = 0.15 the table has 0.5" in finding.details[0]
    assert "1 newer points lie beyond x = 0.1" in finding.details[1]


def test_newer_points_of_a_weighted_lock_are_held_to_their_own_errors(tmp_path):
    """The same gap is a finding for a point as sure as the others, and none for one thirty times less sure."""
    t, y = curve(3)
    se = np.full(20, 5e-4)

    def write(name, *more):
        points = [*zip(t.tolist(), y.tolist(), se.tolist(), strict=True), *more]
        rows = [f"{a!r},{b!r},{c!r}" for a, b, c in points]
        (tmp_path / name).write_text("\n".join(["t,y,se", *rows]) + "\n", encoding="utf-8")
        return tmp_path / name

    result = locked(write("t.csv"), spec=replace(QUICK, weighted=True))
    place = float(result.law.predict(result.values, np.array([70.0]))[0]) + 0.01
    statuses = [
        since([tmp_path / "out"], write("n.csv", (70.0, place, of)))[0].status for of in (5e-4, 1.5e-2)
    ]
    assert statuses == [check.DRIFT, check.PASS]
    with pytest.raises(SparsityLabError, match="no standard errors above 0"):
        since([tmp_path / "out"], write("n.csv", (70.0, place, 0.0)))


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_newer_checkpoints_with_correlated_noise_raise_few_false_alarms(tmp_path, rho):
    """A band that forgets the correlation has false alarms in about 15 of 100 at 0.6."""
    count, alarms, sets = 20, 0, 120
    for seed in range(sets):
        t, y = curve([seed, 5], count=count + 5, rho=rho)
        for name, points in (("t", slice(0, count)), ("new", slice(None))):
            rows = [
                f"{a!r},{b!r},0.1" for a, b in zip(map(float, t[points]), map(float, y[points]), strict=True)
            ]
            (tmp_path / f"{name}.csv").write_text("\n".join(["t,y,se", *rows]) + "\n", encoding="utf-8")
        locked(tmp_path / "t.csv")
        (finding,) = since([tmp_path / "out"], tmp_path / "new.csv")
        alarms += finding.status == check.DRIFT
    assert alarms <= 0.1 * sets
