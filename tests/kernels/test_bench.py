"""The benchmark checks before it times, says when there is no GPU, and leaves whole files."""

import json
from itertools import islice

import pytest
import torch

from sparsity_lab import registry
from sparsity_lab.bench.kernels import cases, correctness, run
from sparsity_lab.cli.main import main
from sparsity_lab.fitting.plots.roofline import roofline

CPU = torch.device("cpu")


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(correctness, "SHAPES", ((1, 63), (5, 172)))


@pytest.fixture
def _two_cases(monkeypatch):
    every = cases.cases
    monkeypatch.setattr(run, "cases", lambda device, seed: islice(every(device, seed), 2))


@pytest.mark.usefixtures("_small")
def test_the_references_pass_their_own_checks():
    assert correctness.failures(CPU) == (2 * 3 * len(correctness.CHECKS), [])


@pytest.mark.usefixtures("_small")
def test_a_kernel_that_miscounts_is_found_and_nothing_is_timed(monkeypatch, tmp_path, capsys):
    right = correctness.topk_threshold

    def wrong(scores, k, *, backend):
        return right(scores, max(1, k - 1), backend=backend)

    monkeypatch.setattr(correctness, "topk_threshold", wrong)
    monkeypatch.setattr(run.timing, "timed", lambda *_, **__: pytest.fail("timed in spite of it"))
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kernels", "--device", "cpu", "--output", str(tmp_path)])
    assert stop.value.code == 1
    assert "6 of 30 checks failed, nothing was timed: kth_largest in torch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kernels", "--output", str(tmp_path)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: No CUDA device is at hand")
    assert line.endswith("with --device cpu.")


@pytest.mark.usefixtures("_small", "_two_cases")
@pytest.mark.long
def test_cpu_timings_leave_json_table_and_plot(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kernels", "--device", "cpu", "--no-compile", "--output", str(tmp_path)])
    assert not stop.value.code
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".md", ".png", ".svg"}
    (path,) = tmp_path.glob("*.json")
    found = json.loads(path.read_text())
    assert found["implementation"] == "torch"
    assert found["bars"] == []
    assert found["copy_bytes_per_second"] > 1e8
    assert {row["dtype"] for row in found["cases"]} == {"float32"}
    assert found["matmul_operations_per_second"] > 1e9, "a product in the numbers of the cases"
    for row in found["cases"]:
        assert row["copy_share"] == pytest.approx(
            row["gigabytes"] * 1e12 / row["milliseconds"] / found["copy_bytes_per_second"]
        )
        assert row["times_eager"] == pytest.approx(row["eager_milliseconds"] / row["milliseconds"])
    assert "relu, 2,048 x 1,536" in capsys.readouterr().out


@pytest.mark.long
def test_every_kernel_is_timed_and_eager_code_gives_the_same_numbers():
    seen = set()
    for case in cases.cases(CPU, 0):
        seen.add(case.kernel)
        ours, eager = case.ours(), case.eager()
        if case.kernel == "gated-threshold":
            assert torch.equal(ours.total[0], eager[3]) or "silu" in case.shape
            assert (ours.total[0] - eager[3]).abs() < 50  # silu differs in the last place
        elif case.kernel == "score-histogram":
            assert torch.equal(ours.bins[1:], eager[0][1:])
            assert ours.maximum == eager[2]
        else:
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)
    assert seen == set(registry.names("kernels"))


def test_bars_are_held_against_what_was_reached():
    row = {"kernel": "gated-threshold", "shape": "s", "bar": "gated", "copy_share": 0.9, "times_eager": 2.5}
    held = run.bars([{**row, "times_compiled": None}])
    assert [(bar["reached"], bar["holds"]) for bar in held] == [(0.9, True), (2.5, False)]
    dense = run.bars([{"kernel": "tail-norms", "shape": "s", "bar": "tails", "times_dense": 0.1}])
    assert [bar["holds"] for bar in dense] == [True, False]


@pytest.mark.long
def test_the_roofline_draws_every_kernel(tmp_path):
    names = ("gated-threshold", "score-histogram", "tail-norms", "topk-threshold", "sparse-down")
    found = {
        "device": "a device",
        "copy_bytes_per_second": 4e12,
        "matmul_operations_per_second": 8e14,
        "cases": [
            {"kernel": name, "operations_per_byte": 0.5 * (i + 1), "operations": 1e9, "milliseconds": 1.0,
             "eager_milliseconds": 3.0, "dtype": "bfloat16"}
            for i, name in enumerate(names)
        ],
    }  # fmt: skip
    png, svg = roofline(found, tmp_path / "device")
    assert png.stat().st_size > 10_000
    again = roofline(found, tmp_path / "again")
    assert again[0].read_bytes() == png.read_bytes()
    assert svg.read_text().count("<use") > 10
