"""What the figure of a measured table tells apart, from a few curves to hundreds."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from sparsity_lab.fitting.plots.canvas.frames import read_frame
from sparsity_lab.fitting.plots.measured import MOST_CURVES, _along_training, _by_place

KNOBS = (0.05, 0.1, 0.2)


def table(series, checkpoints):
    """Rows of so many series of so many checkpoints, each at three knobs."""
    return pd.DataFrame(
        [
            {"series": f"run-{run}", "model": f"run-{run}/step-{step}", "rule": "fixed", "knob": knob,
             "trained_tokens": 1e6 * step, "activation_ratio": 0.1 + knob, "activation_ratio_se": 0.001}
            for run in range(series) for step in range(1, checkpoints + 1) for knob in KNOBS
        ]
    )  # fmt: skip


def test_names_of_runs_stay_words(tmp_path):
    (tmp_path / "t.csv").write_text("series,knob,flags\nNA,0.1,\n01,,nan\n1,0.3,\n", encoding="utf-8")
    frame = read_frame(tmp_path / "t.csv")
    assert frame["series"].tolist() == ["NA", "01", "1"]
    assert frame["knob"].isna().tolist() == [False, True, False]


@pytest.fixture
def axes():
    drawn, axes = plt.subplots()
    yield axes
    plt.close(drawn)


def legend(axes):
    (found,) = axes.figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_few_series_are_told_apart(axes):
    _by_place(axes, table(2, 3))
    assert legend(axes) == [f"run-{run}, fixed knob {knob}" for run in range(2) for knob in KNOBS]
    assert [1, 2, 3] in [list(line.get_xdata()) for line in axes.lines]


def test_checkpoints_named_one_by_one_stand_side_by_side(axes):
    """Two hundred series of one checkpoint would be two hundred names on one spot."""
    _by_place(axes, table(200, 1))
    assert legend(axes) == [f"200 series, fixed knob {knob}" for knob in KNOBS]
    assert sorted({x for line in axes.lines for x in line.get_xdata()}) == list(range(1, 201))
    assert len(axes.containers) == len(KNOBS)


def test_many_runs_in_training_keep_their_lines(axes):
    runs = MOST_CURVES // len(KNOBS) + 1
    _along_training(axes, table(runs, 4))
    assert legend(axes) == [f"{runs} series, fixed knob {knob}" for knob in KNOBS]
    assert len(axes.containers) == runs * len(KNOBS)
    assert len({line.lines[0].get_color() for line in axes.containers}) == len(KNOBS)


def test_each_rule_says_how_many_series_it_has(axes):
    frame = table(MOST_CURVES, 4)
    few = frame["series"].isin(["run-0", "run-1"])
    _along_training(axes, frame[few | (frame["knob"] == KNOBS[0])])
    assert legend(axes) == [
        f"{count} series, fixed knob {knob}" for count, knob in zip((MOST_CURVES, 2, 2), KNOBS, strict=True)
    ]
