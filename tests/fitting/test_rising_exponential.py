"""The stretched exponential that rises, as a rival of the power law."""

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.judge import rivals
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.spec import RIVALS, FitSpec, choose_law
from sparsity_lab.store import bundled


@pytest.mark.parametrize(("run", "better"), [("1.2B-silu", 45), ("0.4B-silu", 25)])
def test_it_beats_the_power_law_where_no_points_are_left_out(run, better):
    series = next(one for one in read_series(bundled.path("sparsing-law")) if one.name == run)
    found = rivals.compare(
        [Problem.of(load_law(name), series.x, series.y) for name in RIVALS], extrapolate=False
    )
    gap = found.find("power").aicc_gap - found.find("rising-exponential").aicc_gap
    assert gap == pytest.approx(better, abs=0.6)


def test_a_rise_near_its_end_is_identified():
    """Near the limit at the last point, where logspace-power can only say that A0 lies far above."""
    from dataclasses import replace

    from sparsity_lab.fitting.solved import solve_and_judge

    x = np.geomspace(1, 60, 20)
    y = 0.4 - 0.2 * np.exp(-0.15 * x**0.6) + 0.0005 * np.random.default_rng(1).standard_normal(20)
    series = next(iter(read_series(bundled.path("sparsing-law"))))
    series = replace(series, x=x, y=y, se=None, activation=None, y_box=(0.0, 1.0))
    compared = rivals.compare([Problem.of(load_law(name), x, y) for name in RIVALS], extrapolate=False)
    law, why = choose_law(series, FitSpec(), compared, describes=lambda law: True)
    assert (law.name, why) == ("rising-exponential", "best AICc among the laws with a limit")
    found = solve_and_judge(series, law, comparison=compared)
    assert found.verdict.word != NOT
    assert found.profiles["A0"].low < 0.4 < found.profiles["A0"].high
