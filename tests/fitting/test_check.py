"""Locks and the guard: what passes, is drift, stale, missing or unidentified; and this repository's own."""

import json
import re
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Columns
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.locks import check, check_report, lock_file
from sparsity_lab.fitting.locks.since import since
from sparsity_lab.fitting.locks.written import disagreements
from sparsity_lab.fitting.spec import FitSpec

ROOT = Path(__file__).parents[2]


def points(count=20):
    generator = np.random.default_rng(3)
    d = np.geomspace(1.0, 60.0, count)
    return d, 0.4 - 0.1 * d**-0.6 + generator.normal(0, 5e-4, count)


def write_table(path, d, y):
    rows = [f"run,silu,{round(a * 1e9)},{float(b)!r}" for a, b in zip(d, y, strict=True)]
    path.write_text("series,activation,tokens,activation_ratio\n" + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_table(folder / "table.csv", *points())
    spec = FitSpec(draws=20, law="power")
    fit_table(folder / "table.csv", output=folder / "study", spec=spec, lock="first agreed fit", plots=False)
    return folder


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made, tmp_path / "all")
    return tmp_path / "all"


def lock_path(study):
    return study / "study" / "locks" / "run.toml"


def test_an_undisturbed_study_passes(study):
    (finding,) = check.check([study])
    assert (finding.status, finding.details) == (check.PASS, ())


def test_a_lock_reads_back_as_it_was_written(study):
    lock = lock_file.read(lock_path(study))
    assert lock_file.to_toml(lock) == lock_path(study).read_text(encoding="utf-8")
    assert len(lock.probes) == 10
    assert lock.reason == "first agreed fit"


@pytest.mark.parametrize(
    "reason", ["\x7f", "a\x00b", "tab\t", 'quote " and \\', "a\u2028b", "\x9f", "é\n\r", "#[x]"]
)
def test_any_reason_reads_back(study, reason):
    lock = replace(lock_file.read(lock_path(study)), reason=reason)
    lock_file.write(lock, lock_path(study))
    assert lock_file.read(lock_path(study)) == lock


@pytest.mark.long
def test_a_coefficient_of_any_name_reads_back(study, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{n},{1 + 2 / n}\n" for n in range(1, 9)), encoding="utf-8")
    spec = FitSpec(law="α + β*x^-κ; κ=0.1:5", rivals=("constant",), draws=0)
    columns = Columns(("x",), "y")
    fit_table(table, output=tmp_path / "out", spec=spec, mapping=columns, lock="agreed", plots=False)
    lock = lock_file.read(tmp_path / "out" / "locks" / "all.toml")
    assert sorted(lock.coefficients) == ["α", "β", "κ"]
    assert [finding.status for finding in check.check([tmp_path / "out"])] == [check.PASS]


def test_one_number_of_the_table_one_percent_off_is_stale(study):
    d, y = points()
    y[4] *= 1.01
    write_table(study / "table.csv", d, y)
    (finding,) = check.check([study])
    assert finding.status == check.STALE
    assert "sha256" in finding.details[0]


def test_one_number_of_a_followed_table_one_percent_off_is_drift(study):
    lock = lock_file.read(lock_path(study))
    lock_file.write(replace(lock, pinned=False), lock_path(study))
    d, y = points()
    y[4] *= 1.01
    write_table(study / "table.csv", d, y)
    (finding,) = check.check([study])
    assert finding.status == check.DRIFT
    assert any("predicts" in detail for detail in finding.details)


def test_a_coefficient_in_fits_json_one_percent_off_is_drift(study):
    path = study / "study" / "fits.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    entries[0]["coefficients"]["A0"]["value"] *= 1.01
    path.write_text(json.dumps(entries), encoding="utf-8")
    (finding,) = check.check([study])
    assert finding.status == check.DRIFT
    assert finding.details[0].startswith("A0 in fits.json")


@pytest.mark.parametrize("part", ["probes", "coefficients"])
def test_a_number_of_the_lock_one_percent_off_is_drift(study, part):
    lock = lock_file.read(lock_path(study))
    if part == "probes":
        changed = replace(lock, probes=(replace(lock.probes[0], y=lock.probes[0].y * 1.01), *lock.probes[1:]))
    else:
        alpha = lock.coefficients["alpha"]
        moved = replace(alpha, value=alpha.value * 1.01)
        changed = replace(lock, coefficients={**lock.coefficients, "alpha": moved})
    lock_file.write(changed, lock_path(study))
    (finding,) = check.check([study])
    assert finding.status == check.DRIFT


def test_a_missing_table_and_a_missing_series(study):
    write_table(study / "table.csv", *points())
    text = (study / "table.csv").read_text(encoding="utf-8")
    (study / "table.csv").write_text(text.replace("run,", "walk,"), encoding="utf-8")
    assert check.check([study])[0].status == check.MISSING
    (study / "table.csv").unlink()
    assert check.check([study])[0].status == check.MISSING


def test_data_that_no_longer_show_a_limit_are_unidentified(study):
    lock = lock_file.read(lock_path(study))
    assert lock.verdict == "identified"
    lock_file.write(replace(lock, pinned=False), lock_path(study))
    d, _ = points()
    noise = np.random.default_rng(0).normal(0, 5e-4, len(d))
    write_table(study / "table.csv", d, 0.2 + 0.01 * np.log(d) + noise)
    assert check.check([study])[0].status == check.UNIDENTIFIED


def test_new_checkpoints_inside_and_outside_the_band(study):
    d, y = points()
    ahead = np.array([70.0, 90.0, 110.0])
    inside = 0.4 - 0.1 * ahead**-0.6
    write_table(study / "more.csv", np.append(d, ahead), np.append(y, inside))
    (finding,) = since([study / "study"], study / "more.csv")
    assert (finding.status, finding.details) == (check.PASS, ("3 newer checkpoints, all inside the band",))
    write_table(study / "more.csv", np.append(d, ahead), np.append(y, inside - [0, 0.01, 0]))
    (finding,) = since([study / "study"], study / "more.csv")
    assert finding.status == check.DRIFT
    assert len(finding.details) == 1


def test_no_claim_beyond_the_last_probe(study):
    d, y = points()
    write_table(study / "more.csv", np.append(d, 1000.0), np.append(y, 0.9))
    (finding,) = since([study / "study"], study / "more.csv")
    assert finding.status == check.PASS
    assert "no claim there" in finding.details[0]


def test_the_band_holds_new_points_of_the_same_law_nineteen_times_in_twenty(study):
    held = []
    for seed in range(200):
        generator = np.random.default_rng([7, seed])
        d, y = points()
        ahead = np.geomspace(65.0, 170.0, 4)
        new = 0.4 - 0.1 * ahead**-0.6 + generator.normal(0, 5e-4, 4)
        write_table(study / "more.csv", np.append(d, ahead), np.append(y, new))
        held.append(since([study / "study"], study / "more.csv")[0].status == check.PASS)
    assert 0.88 <= np.mean(held) <= 1.0


def test_an_update_keeps_tolerances_and_takes_the_reason(study):
    d, y = points()
    write_table(study / "table.csv", d, y + 0.01)
    old, new = check.update(lock_path(study), reason="measured anew")
    assert new.reason == "measured anew"
    assert new.coefficients["A0"].value - old.coefficients["A0"].value == pytest.approx(0.01, abs=1e-6)
    assert any(line.startswith("A0: ") for line in check.differences(old, new))
    details = check.check([study])[0].details
    assert details
    assert all(" in fits." in detail for detail in details), "the published numbers are still the old ones"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.replace("format = 2", "format = 9"), "format 9"),
        (lambda t: t.replace('reason = "first agreed fit"', 'reason = " "'), "reason is empty"),
        (lambda t: t.replace("points_sha256", "points_sha"), "points_sha256"),
        (lambda t: t + "[", "Cannot read the lock"),
    ],
)
def test_damaged_locks_are_the_users_mistake(study, change, told):
    path = lock_path(study)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SparsityLabError, match=told):
        check.check([study])


@pytest.mark.parametrize(
    "content",
    ["3", "null", "[1]", '[{"series": "run"}]', '"words"', "[" * 50_000], ids=len,
)  # fmt: skip
def test_a_fits_json_in_another_shape_is_the_users_mistake(study, content):
    lock = lock_file.read(lock_path(study))
    assert disagreements(lock, study / "study") == []
    path = study / "study" / "fits.json"
    entry = json.loads(path.read_text(encoding="utf-8"))[0]
    for other in (
        content,
        json.dumps([{**entry, "coefficients": [1]}]),
        json.dumps([{**entry, "coefficients": {"A0": {"value": "x"}}}]),
        json.dumps([{**entry, "verdict": 3}]),
    ):
        path.write_text(other, encoding="utf-8")
        with pytest.raises(SparsityLabError, match=r"Cannot read .*fits\.json"):
            disagreements(lock, study / "study")


def test_no_locks_at_all(tmp_path):
    with pytest.raises(SparsityLabError, match="No locks under"):
        check.check([tmp_path])


ALIKE = (
    "org/m",
    "org_m",
    "org m",
    "Org_m",
    "all",
    "CON",
    "x" * 300,
    "café",
    "cafe\u0301",
    "模型",
    "-a",
    "limits",
)


def write_series(path, names):
    """Points of several series, with two columns of values."""
    d, y = points(8)
    rows = [
        f"{name},{float(a)!r},{float(b) + i!r},{float(b) + i!r}"
        for i, name in enumerate(names)
        for a, b in zip(d, y, strict=True)
    ]
    path.write_text("run,d,a,z\n" + "\n".join(rows) + "\n", encoding="utf-8")


COLUMNS = Columns(("d",), "a", "run")


def fit_and_lock(path, output, *, columns=COLUMNS, law="power", reason="agreed", plots=False):
    spec = FitSpec(draws=0, law=law, rivals=("linear",))
    return fit_table(path, output=output, spec=spec, mapping=columns, lock=reason, plots=plots)


@pytest.mark.slow
def test_series_whose_names_look_alike_have_a_lock_and_a_figure_each(tmp_path):
    write_series(tmp_path / "t.csv", ALIKE)
    fit_and_lock(tmp_path / "t.csv", tmp_path / "out", plots=True)
    names = [path.name for path in (tmp_path / "out" / "locks").glob("*.toml")]
    assert len({unicodedata.normalize("NFD", name).casefold() for name in names}) == len(ALIKE)
    figures = [path.stem for path in (tmp_path / "out" / "plots").glob("*.png")]
    assert len({unicodedata.normalize("NFD", name).casefold() for name in figures}) == len(ALIKE) + 1, (
        "and all"
    )
    assert {finding.series for finding in check.check([tmp_path])} == set(ALIKE)
    text = (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    linked = re.findall(r"\(plots/(.*?)\.png\)", text)
    assert sorted(linked) == sorted(set(figures) - {"all"})


@pytest.mark.slow
def test_a_lock_keeps_its_file_whichever_other_series_there_are(tmp_path):
    for count in (1, 2):
        write_series(tmp_path / "t.csv", ALIKE[:count])
        fit_and_lock(tmp_path / "t.csv", tmp_path / "out")
    assert len(list((tmp_path / "out" / "locks").glob("*.toml"))) == 2


def test_a_lock_under_an_earlier_name_is_found_and_replaced(tmp_path):
    write_series(tmp_path / "t.csv", ["org/m"])
    fit_and_lock(tmp_path / "t.csv", tmp_path / "out")
    folder = tmp_path / "out" / "locks"
    (path,) = folder.glob("*.toml")
    path.rename(folder / "org_m.toml")
    assert check.check([tmp_path])[0].status == check.PASS
    fit_and_lock(tmp_path / "t.csv", tmp_path / "out", reason="again")
    assert [left.name for left in folder.glob("*.toml")] == [path.name]
    assert [finding.status for finding in check.check([tmp_path])] == [check.PASS]


@pytest.mark.thorough(1)
@pytest.mark.parametrize("other", ["table", "column", "law"])
def test_a_lock_of_another_fit_is_not_replaced(tmp_path, other):
    write_series(tmp_path / "t.csv", ["a"])
    fit_and_lock(tmp_path / "t.csv", tmp_path / "out")
    locked = {path: path.read_bytes() for path in tmp_path.rglob("*.toml")}
    fits = (tmp_path / "out" / "fits.json").read_bytes()
    shutil.copy(tmp_path / "t.csv", tmp_path / "u.csv")
    changed = {
        "table": {"path": tmp_path / "u.csv"},
        "column": {"columns": Columns(("d",), "z", "run")},
        "law": {"law": "linear"},
    }[other]
    for reason in ("as published", None):
        with pytest.raises(SparsityLabError, match="locks another fit") as caught:
            fit_and_lock(
                **{"path": tmp_path / "t.csv", "output": tmp_path / "out", "reason": reason, **changed}
            )
        assert "a.toml" in caught.value.what
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.toml")} == locked
    assert (tmp_path / "out" / "fits.json").read_bytes() == fits, "refused before anything is fitted"
    fit_and_lock(**{"path": tmp_path / "t.csv", "output": tmp_path / "other", **changed})


def test_a_table_is_not_written_over(tmp_path):
    write_series(tmp_path / "fits.csv", ["a"])
    before = (tmp_path / "fits.csv").read_bytes()
    with pytest.raises(SparsityLabError, match="written over"):
        fit_and_lock(tmp_path / "fits.csv", tmp_path)
    assert (tmp_path / "fits.csv").read_bytes() == before


@pytest.mark.thorough
@pytest.mark.parametrize(
    "place", ["linked", ".hidden", "data", "wandb", "__pycache__", "node_modules", "tensorboard"]
)
def test_locks_are_found_wherever_they_are(study, place):
    results = study.parent / "results"
    results.mkdir()
    if place == "linked":
        (results / place).symlink_to(study / "study")
        (results / place / "round").symlink_to(results)
    else:
        shutil.copytree(study / "study", results / place)
        write_table(results / "table.csv", *points())
    (finding,) = check.check([results])
    assert finding.status == check.PASS
    d, y = points()
    table = (study if place == "linked" else results) / "table.csv"
    write_table(table, d, y * 1.01)
    assert [finding.status for finding in check.check([results])] == [check.STALE]
    assert [finding.status for finding in check.check([results / place])] == [check.STALE]


def test_locks_are_found_whatever_capitals_their_names_have(study):
    lock_path(study).rename(study / "study" / "run.TOML")
    (study / "study" / "locks").rename(study / "study" / "Locks")
    (study / "study" / "run.TOML").rename(study / "study" / "Locks" / "run.TOML")
    assert [finding.status for finding in check.check([study])] == [check.PASS]


def test_a_folder_that_cannot_be_searched_is_a_finding(study):
    (study / "elsewhere").symlink_to("nowhere")
    findings = check.check([study])
    assert [finding.status for finding in findings] == [check.PASS, check.UNSEARCHED]
    assert check_report.summary(findings) == "1 locks: 1 pass, 1 unsearched"
    assert "elsewhere" in check_report.render(findings, "table")


def test_formats(study):
    findings = [*check.check([study]), check.Finding("a/locks/b.toml", "b", check.DRIFT, ("50 % off",))]
    assert json.loads(check_report.render(findings, "json"))[1]["status"] == "drift"
    assert check_report.render(findings, "markdown").count("\n") == 3
    github = check_report.render(findings, "github").splitlines()
    assert github == ["::error file=a/locks/b.toml,title=b%3A drift::50 %25 off", "2 locks: 1 drift, 1 pass"]
    assert "pass         run" in check_report.render(findings, "table")


LOCKED = sorted({path.parent.parent for path in (ROOT / "results").rglob("locks/*.toml")})


@pytest.mark.thorough(1)
@pytest.mark.parametrize("folder", LOCKED, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_this_repositorys_own_results_hold(folder):
    findings = check.check([folder])
    assert findings
    assert all(finding.status == check.PASS for finding in findings), check_report.render(findings, "table")
