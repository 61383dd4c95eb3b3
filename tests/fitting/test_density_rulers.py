"""Rulers from runs with a validation loss, and how far rulers disagree on the models they share."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.compare_rulers import run_rulers
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.report import table_rows
from sparsity_lab.fitting.density.rulers import sigmoid
from sparsity_lab.fitting.density.rulers.disagreement import Placements
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.ladder import of_family, read_ladder
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore, bundled_targets
from sparsity_lab.store import bundled

CORPORA = ("c4", "redpajama", "refinedweb")
TASKS = {"arc_easy": 0.25, "hellaswag": 0.25, "piqa": 0.5, "openbook_qa": 0.25, "lambada_openai": 0.0}
PATH = bundled.path("overtraining")


def test_one_validation_loss_serves_all_tasks_of_a_family():
    ladder = of_family(read_ladder(PATH), "refinedweb", PATH)
    assert (len(ladder.runs), len(ladder.tasks)) == (35, 46)
    largest = max(ladder.runs, key=lambda run: run.params)
    # mlfoundations/scaling, exp_data: rw_original-open_lm_7b-1.0
    assert (largest.params, largest.tokens) == (6889410560, 137788211200)
    assert largest.final_loss("piqa") == largest.final_loss("hellaswag")
    assert set(ladder.units.values()) == {"nats per token of a validation text"}


@pytest.mark.long
def test_a_family_of_a_ladder_must_be_named(tmp_path):
    with pytest.raises(SparsityLabError, match="3 families"):
        of_family(read_ladder(PATH), None, PATH)
    with pytest.raises(SparsityLabError, match="refinedweb"):
        of_family(read_ladder(PATH), "refinedwep", PATH)
    with pytest.raises(SparsityLabError, match="no family"):
        of_family(read_ladder(bundled.path("olmo-ladder")), "c4", PATH)
    bare = tmp_path / "bare.csv"
    bare.write_text("run,params,tokens,mine_acc\na,1e8,1e9,0.5\n")
    with pytest.raises(SparsityLabError, match="validation_nats"):
        read_ladder(bare)


def held_out_errors(losses, scores, sizes, predict):
    """Errors of the score on sizes above a cut, fitted to those up to it, given the loss; each cut from the third."""
    errors = []
    for cut in sorted(set(sizes))[2:-1]:
        kept = sizes <= cut
        errors.append(scores[~kept] - predict(losses[kept], scores[kept], losses[~kept]))
    return np.concatenate(errors)


def by_sigmoid(chance):
    def predict(losses, scores, beyond):
        curve, _ = sigmoid.fit(-losses, scores[None], floor=chance, ceiling=1.0, floor_room=0.1)
        return curve.score(-beyond)

    return predict


def by_exponential(chance):
    """Err = e - k exp(-gamma L), `decay_ours` of mlfoundations/scaling, arXiv 2403.08540."""

    def predict(losses, scores, beyond):
        def error(loss, k, gamma, e):
            return e - k * np.exp(-gamma * loss)

        best = min(
            (curve_fit(error, losses, 1 - scores, p0=(k, gamma, 1 - chance), maxfev=20_000)[0]
             for k in (1, 3, 10) for gamma in (0.3, 0.7, 1.5)),
            key=lambda p: float(np.sum((error(losses, *p) - 1 + scores) ** 2)),
        )  # fmt: skip
        return 1 - error(beyond, *best)

    return predict


@pytest.mark.filterwarnings("ignore::scipy.optimize.OptimizeWarning", "ignore::RuntimeWarning")
def test_the_second_step_is_a_sigmoid_because_it_predicts_held_out_sizes_better():
    table = read_ladder(PATH)
    errors = {by_sigmoid: [], by_exponential: []}
    for corpus in CORPORA:
        runs = of_family(table, corpus, PATH).runs
        sizes, losses = np.array([r.params for r in runs]), np.array([r.final_loss("piqa") for r in runs])
        for task, chance in TASKS.items():
            scores = np.array([run.final_score(task) for run in runs])
            for form, found in errors.items():
                found.append(np.sqrt(np.mean(held_out_errors(losses, scores, sizes, form(chance)) ** 2)))
    ours, published = (np.array(errors[form]) for form in (by_sigmoid, by_exponential))
    assert np.median(ours) < np.median(published)
    assert np.sqrt(np.mean(ours**2)) < 0.8 * np.sqrt(np.mean(published**2))


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_rulers_of_the_corpora_give_their_own_runs_back(corpus):
    ruler = read_ruler(shipped()[f"openlm-{corpus}"])
    assert set(ruler.tasks) == set(TASKS)
    runs = of_family(read_ladder(PATH), corpus, PATH).runs
    largest = max(runs, key=lambda run: run.params)
    for task in TASKS:
        curve = replace(ruler.curves[task], tokens=largest.tokens)
        assert curve.score(np.log(largest.params))[0] == pytest.approx(largest.final_score(task), abs=0.06)
        assert np.std(curve.form_error) > 0


def test_rulers_are_compared_at_the_same_score():
    """Two rulers' ratio on a model is that of the sizes at which they reach its score."""
    c4, refinedweb = (read_ruler(shipped()[f"openlm-{name}"]) for name in ("c4", "refinedweb"))
    model = Target("m", "m", 7e9, {"HellaSwag": TaskScore(0.6)})
    found = Placements([model], SizeConvention()).agreement(c4, refinedweb, ("HellaSwag", "MMLU"))
    sizes = [ruler.curve(("hellaswag",)).ln_size(np.array(0.6))[0] for ruler in (c4, refinedweb)]
    assert found.tasks == ("HellaSwag",)
    assert found.ratios["m"] == pytest.approx(np.exp(sizes[0] - sizes[1]))
    assert found.one_harness


def test_a_model_beyond_one_of_two_rulers_is_not_shared():
    c4, refinedweb = (read_ruler(shipped()[f"openlm-{name}"]) for name in ("c4", "refinedweb"))
    models = [Target(f"m{s}", "m", 7e9, {"hellaswag": TaskScore(s)}) for s in (0.6, 0.999)]
    found = Placements(models, SizeConvention()).agreement(c4, refinedweb, ("hellaswag",))
    assert set(found.ratios) == {"m0.6"}


@pytest.mark.long
def test_every_ruler_that_can_place_the_models_is_listed(tmp_path):
    rows, pairs = run_rulers(output=tmp_path, options=DensityOptions(tasks=("MMLU", "HumanEval")))
    by_name = {row["ruler"]: row for row in rows}
    assert {"Qwen2.5", "Qwen1.5", "Llama-2", "obs-llama", "olmo-ladder"} <= set(by_name)
    assert "openlm-c4" not in by_name
    assert (by_name["Qwen2.5"]["same_harness"], by_name["obs-llama"]["same_harness"]) == ("yes", "no")
    assert (by_name["Qwen2.5"]["steps"], by_name["olmo-ladder"]["steps"]) == (1, 2)
    (pair,) = (p for p in pairs if {p["ruler"], p["other"]} == {"Qwen2", "Qwen2.5"})
    assert pair["ratio_low"] < pair["ratio"] < pair["ratio_high"]
    assert pair["factor"] >= pair["factor_beyond_level"] >= 1
    with (tmp_path / "rulers.csv").open() as stream:
        assert [row["ruler"] for row in csv.DictReader(stream)] == [row["ruler"] for row in rows]
    assert len(json.loads((tmp_path / "rulers.json").read_text())["pairs"]) == len(pairs)


def test_rulers_of_one_harness_stay_in_it(tmp_path):
    rows, _ = run_rulers(output=tmp_path, options=DensityOptions(harness=("swallow",), tasks=("MMLU",)))
    assert {row["ruler"] for row in rows if row["same_harness"] == "yes"} >= {"Qwen3", "Qwen2.5"}
    assert all(row["harness"] == "swallow" for row in rows if row["same_harness"] == "yes")


def test_an_unknown_task_of_the_rulers(tmp_path):
    with pytest.raises(SparsityLabError, match="MMLUU"):
        run_rulers(output=tmp_path, options=DensityOptions(tasks=("MMLUU",)))


@pytest.mark.long
def test_every_density_carries_what_the_other_rulers_make_of_it():
    options = DensityOptions(ruler="Qwen2.5", tasks=("MMLU", "HumanEval"), sensitivity=False)
    report = measure_density(options=options)
    by_qwen2 = measure_density(options=replace(options, ruler="Qwen2"))
    rows = {row["model"]: row for row in table_rows(report)}
    other = {d.target.model: d.rho for d in by_qwen2.densities}
    mistral = rows["Mistral-7B"]
    assert mistral["other_rulers"] >= 4
    assert mistral["rho_low_others"] <= other["Mistral-7B"] <= mistral["rho_high_others"]
    (against,) = (a for a in report.agreements if a.first == "Qwen2")
    assert against.ratios["Mistral-7B"] == pytest.approx(other["Mistral-7B"] / mistral["rho"])
    assert all(row["rho"] for row in rows.values() if row["other_rulers"])
    assert len(rows) == len(bundled_targets())
