"""`sparsity-lab measure --criterion all`: every criterion at equal quality or at equal sparsity, in one table."""

import math

import numpy as np
import pandas as pd
import pytest

from sparsity_lab import registry
from tests.command import exit_code

PART = ("--tokens", 1024, "--window", 64, "--criterion", "all")


def run(*words):
    return exit_code("measure", *words)


@pytest.fixture(scope="module")
def compared(trained, source_text, tmp_path_factory):
    output = tmp_path_factory.mktemp("all") / "out"
    assert run(trained, "--text", source_text, *PART, "--ppl-increase", "2%", "--output", output) == 0
    return output


@pytest.mark.long
def test_every_criterion_has_a_row_at_the_same_perplexity(compared):
    table = pd.read_csv(compared / "table.csv")
    assert sorted(table["criterion"]) == sorted(registry.names("criteria"))
    searched = table[table["criterion"] != "relu-zero"]
    met = searched[~searched["flags"].fillna("").str.contains("off_target|not_reached")]
    assert len(met) >= 7
    rise = math.log(
        1.02
    )  # met within a tenth of it, or within half of what the noise of this short text allows
    missed = np.abs(np.log(met["ppl_ratio"]) - rise)
    assert (missed <= np.maximum(0.1 * rise, 0.5 * met["loss_delta_se_nats"]) + 1e-9).all()
    assert (table["activation_ratio_se"] > 0).all()
    shown = (compared / "criteria.md").read_text(encoding="utf-8")
    assert [line.count("|") for line in shown.splitlines()] == [9] * 12


def test_all_are_drawn(compared):
    assert (compared / "criteria.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_sweep_holds_each_criterion_along_its_range(trained, source_text, tmp_path):
    output = tmp_path / "out"
    words = ("--text", source_text, *PART, "--ppl-increase", "2%", "--sweep", "--output", output)
    assert run(trained, *words) == 0
    sweep = pd.read_csv(output / "sweep.csv")
    for criterion, rows in sweep.groupby("criterion"):
        assert len(rows) == (1 if criterion == "relu-zero" else 7)
    for name in ("criteria", "pareto"):
        assert (output / f"{name}.png").stat().st_size > 10_000
        assert (output / f"{name}.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.slow
def test_all_at_one_activation_ratio(trained, source_text, tmp_path):
    output = tmp_path / "out"
    code = run(trained, "--text", source_text, *PART, "--activation-ratio", "20%", "--output", output)
    assert code == 0
    table = pd.read_csv(output / "table.csv")
    searched = table[table["rule"] == "activation-ratio"]
    assert len(searched) == len(registry.names("criteria")) - 1
    step = 0.5 / table["intermediate_size"].iloc[0]
    assert searched["activation_ratio"].between(0.198 - step, 0.202 + step).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--knob", 0.1), "All criteria are compared at one perplexity increase"),
        (("--stabilise", "last:5"), "All criteria are compared at one perplexity increase"),
        (("--ppl-increase", "0%"), "not a positive fraction"),
        (("--window", 5000), "beyond the model's"),
    ],
)
def test_mistakes_leave_nothing_behind(trained, source_text, tmp_path, capfd, words, told):
    output = tmp_path / "out"
    assert run(trained, "--text", source_text, *PART, *words, "--output", output) == 2
    assert told in capfd.readouterr().err
    assert not output.exists()
