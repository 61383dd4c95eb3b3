"""Ends that are known beforehand are confirmed where a walk would end there, and nowhere else."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.judge import windows
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import check, lock_file
from sparsity_lab.fitting.reproduce.published import drops
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.both_ends import Numbers, both_ends
from sparsity_lab.fitting.uncertainty.intervals import Wanted, intervals
from sparsity_lab.fitting.uncertainty.known_ends import KnownEnds, SearchEdges
from sparsity_lab.fitting.uncertainty.walk import OutwardWalk
from sparsity_lab.store import bundled

STUDY = Path(__file__).parents[2] / "results" / "sparsing-law"
SERIES = {s.name: s.without_leading(drops()[s.name]) for s in read_series(bundled.path("sparsing-law"))}
PLAIN = Wanted(box=(0.0, 1.0), curves=False)


def solved(name, law, objective=SQUARES):
    problem = Problem.of(load_law(law), SERIES[name].x, SERIES[name].y, objective=objective)
    solution = engine.solve(problem)
    return problem, solution, noise.scale_of(problem, solution)


@pytest.fixture
def walks(monkeypatch):
    """The number of lanes of each walk."""
    counted, ends = [], OutwardWalk.ends

    def counting(self, lanes, **resumed):
        counted.append(len(self.lane))
        return ends(self, lanes, **resumed)

    monkeypatch.setattr(OutwardWalk, "ends", counting)
    return counted


def ends_of(profiles):
    return {name: profile.ends for name, profile in profiles.items()}


def same(ends, others):
    for name, (low, high) in others.items():
        width = high - low if math.isfinite(high - low) else abs(high if math.isnan(low) else low)
        assert ends[name] == pytest.approx((low, high), abs=1e-3 * width, nan_ok=True), name


@pytest.mark.parametrize(
    ("name", "law", "objective", "most_lanes"),
    [
        ("0.8B-relu", "logspace-power", SQUARES, 0),
        ("0.2B-relu", "logspace-power", SQUARES, 0),
        ("0.8B-relu", "logspace-power", HUBER, 0),
        # Of one search coordinate the whole range is scanned, which costs less than to confirm its ends.
        ("0.8B-silu", "power", SQUARES, 2),
    ],
)
def test_known_ends_are_confirmed_without_a_walk(walks, name, law, objective, most_lanes):
    given = solved(name, law, objective)
    walked = ends_of(intervals(*given, PLAIN).profiles)
    assert sum(walks) == 2 * len(walked)
    walks.clear()
    again = intervals(*given, replace(PLAIN, known=walked)).profiles
    assert sum(walks) <= most_lanes
    same(ends_of(again), walked)


@pytest.mark.parametrize("share", [0.03, -0.03])
def test_an_end_that_is_elsewhere_is_walked_to(share):
    given = solved("0.8B-relu", "logspace-power")
    walked = ends_of(intervals(*given, PLAIN).profiles)
    for name, (low, high) in walked.items():
        for moved in ((low + share * (high - low), high), (low, high + share * (high - low))):
            again = intervals(*given, replace(PLAIN, known={**walked, name: moved})).profiles
            same(ends_of(again), walked)


def test_an_open_end_is_not_taken_for_a_closed_one_nor_the_reverse():
    closed, half_open = solved("0.8B-relu", "logspace-power"), solved("0.4B-relu", "logspace-power")
    walked = intervals(*closed, PLAIN).profiles
    nothing = dict.fromkeys(walked, (math.nan, math.nan))
    assert all(profile.closed for profile in walked.values())
    same(ends_of(intervals(*closed, replace(PLAIN, known=nothing)).profiles), ends_of(walked))
    profiles = intervals(*half_open, PLAIN).profiles
    assert any(math.isnan(end) for profile in profiles.values() for end in profile.ends)
    # A walk has an end on each side all the same: where the law's own search ends.
    everything = {name: (profile.low, profile.high) for name, profile in profiles.items()}
    same(ends_of(intervals(*half_open, replace(PLAIN, known=everything)).profiles), ends_of(profiles))


def test_a_bound_is_that_of_a_walk():
    given = solved("0.4B-relu", "logspace-power")
    full = intervals(*given, replace(PLAIN, curves=True)).profiles
    again = intervals(*given, replace(PLAIN, known=ends_of(full))).profiles
    assert math.isfinite(full["A0"].one_sided)
    assert again["A0"].one_sided == pytest.approx(full["A0"].one_sided, rel=1e-6)


@dataclass
class Curve:
    """Lanes along one curve of objectives over values, without coordinates."""

    values: list[float]
    objectives: list[float]
    seen: list[float] = field(default_factory=list)

    def least(self, rows, values, near):
        self.seen += values.tolist()
        return np.interp(values, self.values, self.objectives), near

    def elsewhere(self, rows, values):
        return None

    def scanned(self):
        return None


def both(curve, step, known):
    """The upper end of a number that is best at 0, by walks of this first step up to a level of 1."""
    nothing = np.zeros((1, 0))
    numbers = Numbers(
        np.zeros(1), nothing, nothing, np.array([step]), np.ones((2, 1)), np.array([[-9.0, 9.0]])
    )
    edges = SearchEdges(np.empty((0, 2)), np.ones(1, dtype=bool))
    given = None if known is None else KnownEnds(np.array([[-1.0], [known]]), edges)
    walked = both_ends(numbers, curve, least=0.0, known=given)
    return math.nan if walked.high.is_open[0] else float(walked.high.value[0])


@pytest.mark.parametrize("step", [0.3, 1.1, 1.6, 2.5])
@pytest.mark.parametrize("known", [1.0, 1.5, 2.0, math.nan])
def test_of_several_crossings_it_is_the_one_that_a_walk_ends_at(step, known):
    # Above the level from 1 to 1.5 and from 2 on.
    curve = Curve([-9, 0, 1, 1.25, 1.5, 1.75, 2, 9], [81, 0, 1, 2, 1, 0.5, 1, 50])
    assert both(curve, step, known) == pytest.approx(both(curve, step, None), rel=2e-3)


@pytest.mark.parametrize("known", [math.nan, 3.0, 9.0])
def test_an_end_that_is_only_the_end_of_the_search_is_open(known):
    curve = Curve([-9, 0, 9], [81, 0, 0.9])
    assert math.isnan(both(curve, 1.0, known))
    assert math.isnan(both(curve, 1.0, None))
    hill = Curve([-9, 0, 2, 4, 9], [81, 0, 1.2, 0.8, 0.9])  # it is above the level on the way
    assert both(hill, 1.0, known) == pytest.approx(both(hill, 1.0, None), rel=2e-3)
    assert math.isfinite(both(hill, 1.0, None))


@pytest.mark.parametrize("shift", [0.0, 5e-3, 2e-2])
def test_windows_agree_whether_or_not_their_ends_are_wanted(shift):
    problem, solution, scale = solved("0.8B-relu", "logspace-power")
    limit = intervals(problem, solution, scale, PLAIN).profiles["A0"]
    for sign in (-1, 1):
        moved = replace(limit, value=limit.value + sign * shift)
        full, quick = (
            windows.refitted(problem, moved, scale, box=(0.0, 1.0), ends=ends) for ends in (True, False)
        )
        assert [each.agrees for each in quick] == [each.agrees for each in full]
        for one, other in zip(quick, full, strict=True):
            assert one.value == pytest.approx(other.value)
            if not other.agrees:
                assert one == other


@pytest.fixture
def checked(tmp_path):
    """Checks a committed lock in which numbers or words are changed, and fits.json next to it with it."""
    fits = json.loads((STUDY / "fits.json").read_text(encoding="utf-8"))
    (tmp_path / "locks").mkdir()

    def status(series, ends=None, **words):
        lock = lock_file.read(STUDY / "locks" / f"{series}.toml")
        coefficients, entry = dict(lock.coefficients), next(one for one in fits if one["series"] == series)
        entry = {**entry, **words, "coefficients": dict(entry["coefficients"])}
        for (name, end), value in (ends or {}).items():
            coefficients[name] = replace(coefficients[name], **{end: value})
            said = None if math.isnan(value) else value
            entry["coefficients"][name] = {**entry["coefficients"][name], end: said}
        (tmp_path / "fits.json").write_text(json.dumps([entry]), encoding="utf-8")
        lock_file.write(replace(lock, coefficients=coefficients, **words), tmp_path / "locks" / "a.toml")
        return check.check_one(tmp_path / "locks" / "a.toml").status

    return status


@pytest.mark.parametrize("name", ["alpha", "c", "A0"])
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_locked_end_that_is_off_is_drift(checked, name, end):
    number = lock_file.read(STUDY / "locks" / "0.8B-relu.toml").coefficients[name]
    place, width = getattr(number, end), number.high - number.low
    for moved, expected in {
        0.0: check.PASS,
        0.015: check.PASS,
        -0.03: check.DRIFT,
        0.03: check.DRIFT,
    }.items():
        assert checked("0.8B-relu", {(name, end): place + moved * width}) == expected
    assert checked("0.8B-relu", {(name, end): math.nan}) == check.DRIFT


def test_an_open_end_that_is_locked_as_closed_is_drift(checked):
    open_ends = 0
    for path in sorted((STUDY / "locks").glob("*.toml")):
        lock = lock_file.read(path)
        if lock.verdict == NOT:
            continue
        for name, number in lock.coefficients.items():
            for end, sign in (("low", -2), ("high", 2)):
                if math.isnan(getattr(number, end)):
                    open_ends += 1
                    closed = {(name, end): number.value + sign * number.se}
                    assert checked(lock.series, closed) == check.DRIFT
    assert open_ends > 0


def test_a_lock_that_is_not_identified_is_held_to_its_bound_and_verdict(checked):
    assert checked("2.4B-relu") == check.PASS
    assert checked("2.4B-relu", bound="A0 <= 0.0754") == check.DRIFT
    assert checked("2.4B-relu", verdict="weakly identified") == check.UNIDENTIFIED
    assert checked("0.8B-relu", verdict=NOT) == check.DRIFT
