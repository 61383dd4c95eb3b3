"""The bench times the same training twice; its figures hang together."""

import json
from dataclasses import replace

import pytest

from sparsity_lab.bench.train import bench_ladder, compare_throughput
from sparsity_lab.errors import SparsityLabError


@pytest.mark.long
def test_both_take_the_same_steps_and_the_ratio_is_of_pairs(tiny, tiny_data):
    found = compare_throughput(tiny.runs[0], data=tiny_data, pairs=6)
    assert len(found.trainer_seconds) == len(found.loop_seconds) == 6
    assert min(*found.trainer_seconds, *found.loop_seconds) > 0
    assert found.trainer_loss == pytest.approx(found.loop_loss, rel=1e-5)
    row = found.row()
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def test_two_learning_rates_and_a_decay_are_the_loops_as_well(tiny, tiny_data):
    run = tiny.runs[0]
    odd = replace(
        run.training, matrix_learning_rate=1e-2, learning_rate=1e-3, weight_decay=0.3, schedule="wsd"
    )
    found = compare_throughput(replace(run, training=odd), data=tiny_data, pairs=12)
    assert found.trainer_loss == pytest.approx(found.loop_loss, rel=1e-5)


@pytest.mark.slow
def test_the_loop_may_have_a_process_of_its_own(tiny, tiny_data):
    together = compare_throughput(tiny.runs[0], data=tiny_data, pairs=3)
    found = compare_throughput(tiny.runs[0], data=tiny_data, pairs=3, apart=True)
    assert found.row()["apart"]
    assert not together.row()["apart"]
    assert found.loop_loss == pytest.approx(together.loop_loss, rel=1e-5)
    assert found.trainer_loss == pytest.approx(found.loop_loss, rel=1e-5)
    assert len(found.loop_seconds) == 3


def test_it_writes_its_tables(tiny, tmp_path):
    rows = bench_ladder(tiny, names=["tiny"], pairs=3, output=tmp_path)
    assert json.loads((tmp_path / "bench-train.json").read_text())["rows"] == rows
    assert len((tmp_path / "bench-train.csv").read_text().splitlines()) == 2


def test_an_unknown_run_is_refused(tiny, tmp_path):
    with pytest.raises(SparsityLabError, match="Did you mean 'tiny'"):
        bench_ladder(tiny, names=["tinny"], pairs=3, output=tmp_path)
