"""Two-step rulers against the public laws, a planted ladder and the OLMo ladder's published predictions."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped, write_ruler
from sparsity_lab.fitting.density.rulers.ladder import Ladder, Run, read_ladder, running_mean
from sparsity_lab.fitting.density.rulers.loss_law import PUBLISHED_START, fit_loss_law
from sparsity_lab.fitting.density.rulers.predictions import (
    PredictedRuns,
    predict_published,
    published_runs,
    run_predictions,
)
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import two_step_ruler
from sparsity_lab.fitting.solve.objective import DELTA
from sparsity_lab.fitting.solve.packed import huber
from sparsity_lab.store import bundled

pytestmark = pytest.mark.usefixtures("unrendered")

SHARED = Path(__file__).parents[2].parent / "shared"
TASK = "arc_easy"


@pytest.fixture(scope="module")
def olmo():
    return read_ladder(bundled.path("olmo-ladder"))


def planted_ladder(noise=0.0, seed=0):
    """Runs of a known law: L = 30 N^-.2 + 400 D^-.3 + .3 and S from .25 to 1 around L = 1."""
    rng = np.random.default_rng(seed)
    runs = []
    for params in (2e8, 4e8, 8e8, 1.6e9, 3.2e9):
        for multiple in (1, 2, 5, 10):
            tokens = 20 * params * multiple * np.linspace(0.05, 1, 40)
            losses = 30 * params**-0.2 + 400 * tokens**-0.3 + 0.3
            losses = losses * np.exp(noise * rng.standard_normal()) * np.ones_like(tokens)
            scores = 0.25 + 0.75 / (1 + np.exp(4 * (losses - 1.0))) + noise * rng.standard_normal(len(tokens))
            runs.append(
                Run(f"{params:g}-{multiple}", "reference", params, tokens[-1], {TASK: losses}, {TASK: scores})
            )
    return Ladder(tuple(runs), (TASK,), {TASK: "bits per byte of the gold answer"})


@pytest.mark.long
def test_all_24_published_predictions(olmo):
    """Eight tasks, three predictions each, within 0.0005."""
    with bundled.path("olmo-ladder-published").open() as stream:
        published = {(r["task"], r["prediction"]): float(r["published"]) for r in csv.DictReader(stream)}
    assert len(published) == 24
    for found in predict_published(olmo, olmo.run("13B-5T")):
        assert abs(found.loss - published[found.task, "loss"]) < 5e-4
        assert abs(found.score_given_loss - published[found.task, "score given loss"]) < 5e-4
        assert abs(found.chained - published[found.task, "chained"]) < 5e-4


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the checkout")
def test_the_carried_predictions_are_the_published_ones():
    source = json.loads((SHARED / "data" / "olmo_ladder_published.json").read_text())
    numbers = sorted(round(float(row["Pred"]), 5) for step in source.values() for row in step)
    with bundled.path("olmo-ladder-published").open() as stream:
        carried = sorted(round(float(row["published"]), 5) for row in csv.DictReader(stream))
    np.testing.assert_allclose(carried, numbers, atol=2e-5)


def test_the_artificial_point_drives_the_extrapolation(olmo):
    target = olmo.run("13B-5T")
    small = replace(olmo, tasks=("arc_challenge",))
    (with_point,) = predict_published(small, target)
    (without,) = predict_published(small, target, artificial_point=False)
    assert with_point.score_given_loss == pytest.approx(0.603, abs=5e-4)
    assert without.score_given_loss == pytest.approx(0.473, abs=1e-3)
    assert target.final_score("arc_challenge") == pytest.approx(0.638, abs=5e-4)


def test_the_published_runs(olmo):
    assert len(published_runs(olmo)) == 16
    assert len(olmo.references) == 30


@pytest.mark.long
def test_predictions_are_of_all_targets(olmo, tmp_path):
    found = run_predictions(output=tmp_path)
    assert [row["target"] for row in found.rows] == ["7B-4T"] * 8 + ["13B-5T"] * 8
    assert found.largest_gap < 5e-4
    assert {row["target"] for row in found.rows if row["published_gap"] is not None} == {"13B-5T"}
    holds = [row["own_low"] <= row["actual_score"] <= row["own_high"] for row in found.rows]
    assert [row["held"] for row in found.rows] == holds
    written = json.loads((tmp_path / "predictions.json").read_text())
    assert [of["held"] for of in written["targets"]] == [sum(holds[:8]), sum(holds[8:])] == [6, 8]
    assert written["held"] == found.held == 14
    references = {run.name for run in olmo.references}
    assert all(set(of["own_runs"]) == references for of in written["targets"])


@pytest.mark.slow
def test_a_reference_run_is_predicted_without_itself(tmp_path):
    found = run_predictions(output=tmp_path, runs=PredictedRuns(targets=["13B-5T", "7B-4T", "3B-10xC"]))
    last = json.loads((tmp_path / "predictions.json").read_text())["targets"][-1]
    assert "3B-10xC" not in last["own_runs"]
    assert "3B-5xC" in last["own_runs"]
    assert (last["held"], found.held, len(found.rows)) == (7, 21, 24)


def test_a_ladder_without_targets_names_its_runs(tmp_path):
    table = tmp_path / "ladder.csv"
    table.write_text("run,params,tokens,x_bpb,x_acc\na,1e9,1e10,1,0.5\n")
    with pytest.raises(SparsityLabError) as failed:
        run_predictions(output=tmp_path / "out", runs=PredictedRuns(table, chances=["x=0.25"]))
    assert failed.value.fix.endswith(" a")


def test_the_loss_law_is_at_a_minimum_no_start_improves(olmo):
    runs = published_runs(olmo)
    params, tokens = (np.array([getattr(r, name) for r in runs]) for name in ("params", "tokens"))
    losses = np.array([r.final_loss("mmlu") for r in runs])
    theta, objective = fit_loss_law(params, tokens, losses, starts=[PUBLISHED_START])
    predicted = np.exp(theta[0]) * params ** -theta[2] + np.exp(theta[1]) * tokens ** -theta[3] + theta[4]
    assert objective == pytest.approx(huber(np.log(predicted) - np.log(losses), DELTA).sum())
    rng = np.random.default_rng(0)
    for _ in range(200):
        nearby = np.maximum(theta * (1 + 0.01 * rng.standard_normal(5)), 0)
        other = (
            np.exp(nearby[0]) * params ** -nearby[2] + np.exp(nearby[1]) * tokens ** -nearby[3] + nearby[4]
        )
        assert huber(np.log(other) - np.log(losses), DELTA).sum() >= objective * (1 - 1e-6)


def test_a_planted_ladder_is_recovered():
    ruler = two_step_ruler("planted", planted_ladder(), recipe=RulerRecipe(draws=3), d0_tokens=1e12)
    curve = ruler.curve((TASK,))
    for params in (3e8, 1e9, 3e9):
        loss = 30 * params**-0.2 + 400 * 1e12**-0.3 + 0.3
        score = 0.25 + 0.75 / (1 + np.exp(4 * (loss - 1.0)))
        assert curve.score(np.log(params))[0] == pytest.approx(score, abs=2e-3)
        assert np.exp(curve.ln_size(np.array(score)))[0] == pytest.approx(params, rel=0.05)


def test_the_chain_agrees_with_the_public_laws():
    """Our batched inverse against `loss-to-score` and `loss-power`, coefficient by coefficient."""
    ruler = read_ruler(shipped()["olmo-ladder"])
    curve = ruler.curve((TASK,))
    score_law, loss_law = (registry.load("laws", name).LAW for name in ("loss-to-score", "loss-power"))
    for draw in (0, 1, 50):
        d, c = float(curve.floor[draw]), float(curve.scores.span[draw])
        coefficients = {
            "gamma": -float(curve.scores.gamma[draw]),
            "l": -float(curve.scores.middle[draw]),
            "c": c,
            "d": d,
        }
        powers = {
            "alpha": float(curve.loss.alpha[draw]), "beta": float(curve.loss.beta[draw]),
            "a": float(np.exp(curve.loss.ln_a[draw])), "b": float(np.exp(curve.loss.ln_b[draw])),
            "E": float(curve.loss.e[draw]),
        }  # fmt: skip
        score = float(curve.score(np.log(8e8))[draw])
        loss = score_law.invert(coefficients, score)
        size = loss_law.parameters_for(powers, loss, tokens=curve.tokens)
        assert np.exp(curve.ln_size(np.array(score)))[draw] == pytest.approx(size, rel=1e-6)
        assert size == pytest.approx(8e8, rel=1e-6)


def test_beyond_the_references_the_form_error_bends_draws_and_inverts_back():
    curve = read_ruler(shipped()["olmo-ladder"]).curve(("hellaswag",))
    beyond = curve.ln_largest + 0.5
    for draw in range(1, 40):
        score = curve.score(beyond)[draw]
        back = curve.ln_size(np.full(curve.floor.shape, score))[draw]
        if np.isfinite(back) and back > curve.ln_largest:
            assert curve.score(back)[draw] == pytest.approx(score, abs=1e-3)
            assert back <= beyond + 1e-3


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_rulers_read_and_write(name, tmp_path):
    ruler = read_ruler(shipped()[name])
    again = read_ruler(write_ruler(ruler, tmp_path / "again.json"))
    curve, other = ruler.curve(ruler.tasks), again.curve(again.tasks)
    middle = np.array(0.5 * (curve.floor[0] + curve.ceiling[0]))
    np.testing.assert_allclose(curve.ln_size(middle)[:20], other.ln_size(middle)[:20], rtol=1e-4)
    assert ruler.source
    assert ruler.harness


def test_a_damaged_ruler(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("{}")
    with pytest.raises(SparsityLabError, match="not a ruler"):
        read_ruler(path)
    document = json.loads(shipped()["obs-qwen15"].read_text())
    del document["points"]
    path.write_text(json.dumps(document))
    with pytest.raises(SparsityLabError, match="damaged"):
        read_ruler(path)


def test_too_small_a_ladder():
    ladder = planted_ladder()
    with pytest.raises(SparsityLabError, match="8 runs of 2 sizes"):
        two_step_ruler("x", replace(ladder, runs=ladder.runs[:8]), recipe=RulerRecipe())


def test_running_means():
    values = np.arange(8.0)
    slow = [np.mean(values[max(0, i - 4) : i + 1]) for i in range(8)]
    np.testing.assert_allclose(running_mean(values), slow)


def test_ladder_tables_name_the_row(tmp_path):
    path = tmp_path / "ladder.csv"
    path.write_text("run,params,tokens,x_bpb,x_acc\na,1e9,2e10,1.0,50\n")
    with pytest.raises(SparsityLabError, match="row 2, column x_acc"):
        read_ladder(path)
    path.write_text("run,params,tokens,x_bpb,x_acc\na,1e9,2e10,1.0,.5\na,2e9,3e10,1.0,.5\n")
    with pytest.raises(SparsityLabError, match="row 2, column params"):
        read_ladder(path)
