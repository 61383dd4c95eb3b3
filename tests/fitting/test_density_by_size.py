"""Density against size: slopes within families, and whether their intervals hold what was planted."""

from dataclasses import replace

import numpy as np
import pytest

from sparsity_lab.bench.planted import World
from sparsity_lab.fitting.density.by_size import size_rows, size_sentence
from sparsity_lab.fitting.density.curves import OneStepCurve
from sparsity_lab.fitting.density.densities import Yardstick, densities
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.one_step import family_ruler
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore
from sparsity_lab.fitting.density.trend.entering import Entering

WORLD = World()


def fitted_ruler(rng, seed, *, off):
    """A ruler whose reference scores are off the true curve, with the draws of its fit."""
    scores = np.clip(WORLD.score(np.array(WORLD.reference_sizes)) + off * rng.standard_normal(8), 0, 1)
    references = [
        Target(f"r-{i}", "r", size, {"MMLU": TaskScore(float(score))})
        for i, (size, score) in enumerate(zip(WORLD.reference_sizes, scores, strict=True))
    ]
    return family_ruler("r", references, tasks=("MMLU",), recipe=RulerRecipe(seed=seed, draws=200))


def drawn_ruler(rng, seed, *, off):
    """A ruler whose curve is off the true one by as much as its draws are off the curve; nothing is fitted."""
    ruler = family_ruler("r", SOUND, tasks=("MMLU",), recipe=RulerRecipe(seed=seed))
    apart = off * rng.standard_normal((2, 201))
    gamma, middle = 1 + apart + np.where(np.arange(201), apart[:, :1], 0)
    curve = OneStepCurve(
        np.full(201, WORLD.floor),
        np.full(201, WORLD.span),
        WORLD.gamma * gamma,
        np.log(6e9) + 2 * (middle - 1),
    )
    return replace(ruler, curves={("MMLU",): curve})


SOUND = [
    Target(f"r-{i}", "r", size, {"MMLU": TaskScore(float(WORLD.score(np.array(size))))})
    for i, size in enumerate(WORLD.reference_sizes)
]


def planted(seed, ruler_of, *, slopes, models=4, scatters=(0.2,), off=0.01):
    """What `size_rows` says of families whose ln rho has a slope in ln N, read on a ruler that is off."""
    rng = np.random.default_rng(seed)
    ruler, targets = ruler_of(rng, seed, off=off), []
    for number, slope in enumerate(slopes):
        away = np.linspace(-1.2, 1.2, models)
        ln_rho = -0.3 + slope * away + scatters[number % len(scatters)] * rng.standard_normal(models)
        ln_size = np.log(8e9) + away
        answered = rng.binomial(4000, WORLD.score(np.exp(ln_size + ln_rho))) / 4000
        targets += [
            Target(f"f{number}-{i}", f"f{number}", float(np.exp(n)), {"MMLU": TaskScore(s, questions=4000)})
            for i, (n, s) in enumerate(zip(ln_size, answered, strict=True))
        ]
    measured = densities(targets, Yardstick(ruler, RulerRecipe().convention, seed=seed), ("MMLU",))
    return size_rows(measured, Entering(), sizes=ruler.sizes, seed=seed)


def share_held(worlds, ruler_of, **world):
    """The share of intervals that hold the slope, over whole families."""
    slopes, models = world["slopes"], world.get("models", 4)
    held = [
        row["slope_low"] <= slopes[int(row["family"][1:])] <= row["slope_high"]
        for seed in range(worlds)
        for row in planted(seed, ruler_of, **world)
        if row["models"] == models
    ]
    assert len(held) > 0.9 * worlds * len(slopes)
    return np.mean(held)


@pytest.mark.parametrize(
    "world",
    [
        {"slopes": (0.0,), "models": 5, "off": 0.02},
        {"slopes": (-0.4, 0.0, 0.2), "models": 3, "off": 0.01},
        {"slopes": (0.0, 0.0, 0.0, 0.0), "scatters": (0.05,), "off": 0.1},
        {"slopes": (-0.4, 0.0, 0.2, 0.0), "scatters": (0.1, 0.2), "off": 0.02},
    ],
)
@pytest.mark.long
def test_intervals_hold_the_planted_slope(world):
    assert 0.90 <= share_held(120, drawn_ruler, **world) <= 0.985


@pytest.mark.slow
def test_intervals_hold_it_on_rulers_that_are_fitted():
    assert 0.90 <= share_held(200, fitted_ruler, slopes=(-0.4, 0.0, 0.2), models=3, off=0.02) <= 0.985


@pytest.fixture(scope="module")
def bundled():
    return measure_density(options=DensityOptions(sensitivity=False))


@pytest.mark.parametrize("extrapolated", [False, True])
@pytest.mark.long
def test_the_bundled_table(bundled, extrapolated):
    entering = Entering(extrapolated=extrapolated)
    rows = size_rows(bundled.densities, entering, sizes=bundled.ruler.sizes, seed=0)
    families = [row["family"] for row in rows]
    assert {"Qwen", "Qwen1.5", "Qwen2", "Gemma-2"} <= set(families)
    assert ("Llama-2" in families) == extrapolated
    assert bundled.ruler.name not in families
    barred = {
        "reference",
        "partial tasks",
        "mixture of experts",
        *(() if extrapolated else ("extrapolated",)),
    }
    for row in rows:
        members = [
            (d.size, d.rho)
            for d in bundled.densities
            if d.target.family == row["family"] and d.rho and not barred & set(d.flags)
        ]
        ln_size, ln_rho = np.log(np.array(members)).T
        assert row["models"] == len(members)
        assert row["slope"] == pytest.approx(np.polyfit(ln_size, ln_rho, 1)[0], rel=1e-9)
        assert row["slope_low"] < row["slope"] < row["slope_high"]
        assert row["excludes_zero"] == (row["slope_low"] > 0 or row["slope_high"] < 0)
    if not extrapolated:
        assert list(bundled.by_size) == rows


def test_two_sizes_are_no_slope(bundled):
    two = [d for d in bundled.densities if d.target.model in ("Qwen2-7B", "Qwen2-72B")]
    assert [d.rho is not None for d in two] == [True, True]
    assert size_rows(two, Entering(), sizes=bundled.ruler.sizes, seed=0) == []
    assert size_sentence([]) == ""
