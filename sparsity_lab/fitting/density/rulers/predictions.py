"""Predicts large runs from small ones: the published recipe, and our own choice with intervals.

The OLMo ladder's own recipe is followed step by step, so that its published 13B predictions come out. Loss step: the
last five checkpoints' mean, one start. Score step: least-squares sigmoid a / (1 + exp(-k (L - L0))) + b on all
checkpoints after the first tenth, running means of five, with one artificial point: a perfect score at zero loss. That
point drives the extrapolation: ARC-C comes out at 0.603 with it and 0.473 without; the model scores 0.638. So it is an
option by name, and not what our own choice does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.ladder import ROLES, Ladder, Run, read_ladder, smoothed_points
from sparsity_lab.fitting.density.rulers.loss_law import PUBLISHED_START, fit_runs, stack
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import DRAWS, TwoStepRuler, two_step_ruler
from sparsity_lab.fitting.density.scores.metrics import given_chances, refuse_unknown_words
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.registry import unknown
from sparsity_lab.store import bundled
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.density import PREDICTIONS

BUNDLED = "olmo-ladder"
PUBLISHED_RUN = "13B-5T"
REFERENCE, TARGET = ROLES


@dataclass(frozen=True)
class Predictions:
    """One row a target and task; `held` counts actual scores inside our own 95 % intervals."""

    rows: tuple[dict[str, object], ...]
    held: int
    largest_gap: float | None


@dataclass(frozen=True)
class PredictedRuns:
    """Which runs are predicted, each from the others.

    Attributes:
        ladder: a table of runs, or the name of a bundled one; None for the bundled ladder.
        targets: names of runs; none for those whose role is `target`.
        artificial_point: whether the recipe has its perfect score at zero loss.
        chances: of tasks that the table of names does not know, as `mine=0.25`.
    """

    ladder: Path | None = None
    targets: Sequence[str] = ()
    artificial_point: bool = True
    chances: Sequence[str] = ()


def run_predictions(
    *, output: Path, runs: PredictedRuns | None = None, seed: int = 0, progress: Progress = SILENT
) -> Predictions:
    """Predict runs of a ladder, each from the others, and write `predictions.{csv,md,json}`.

    No target takes part in a prediction of another, unless it is a reference run of the ladder. The recipe takes the
    sixteen published runs on the bundled ladder and all reference runs elsewhere.

    Raises:
        SparsityLabError: no such run, none is named and none is a target, or too few references.
    """
    runs = runs or PredictedRuns()
    prepare_output(output)
    table = read_ladder(bundled.table(runs.ladder or BUNDLED))
    refuse_unknown_words(given_chances(runs.chances), table.tasks, flag="--chance")
    rows: list[dict[str, object]] = []
    targets: list[dict[str, object]] = []
    for name in _targets(runs, table):
        of_target, references = _predicted(name, table, runs, seed=seed, progress=progress)
        rows += of_target
        targets.append({"target": name, **references, "held": sum(bool(row["held"]) for row in of_target)})
    held = sum(bool(row["held"]) for row in rows)
    gaps = [gap for row in rows if isinstance(gap := row["published_gap"], float)]
    largest = max(gaps) if gaps else None
    document = {
        "targets": targets, "artificial_point": runs.artificial_point, "held": held,
        "largest_gap_to_published": largest, "rows": rows, "seed": seed, "provenance": provenance(),
    }  # fmt: skip
    PREDICTIONS.write(output, rows)
    write_json(output / "predictions.json", document)
    return Predictions(tuple(rows), held, largest)


def _targets(runs: PredictedRuns, table: Ladder) -> tuple[str, ...]:
    """Names of the runs to predict, each once.

    Raises:
        SparsityLabError: there is no such run, or none at all.
    """
    known = [run.name for run in table.runs]
    for name in runs.targets:
        if name not in known:
            raise unknown(name, kind="run", known=known)
    targets = runs.targets or [run.name for run in table.runs if run.role == TARGET]
    if not targets:
        raise SparsityLabError(
            f"No run of {runs.ladder} has the role {TARGET}",
            fix=f"Name runs with --target: {', '.join(known)}",
        )
    return tuple(dict.fromkeys(targets))


def _predicted(
    name: str, table: Ladder, runs: PredictedRuns, *, seed: int, progress: Progress
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of one target, and the runs it is predicted from."""
    goal, of_bundle = table.run(name), runs.ladder is None
    if goal.role != TARGET:
        table = replace(table, runs=tuple(run for run in table.runs if run.name != name))
    references = published_runs(table) if of_bundle else table.references
    steps = predict_published(table, goal, runs=references, artificial_point=runs.artificial_point)
    recipe = RulerRecipe(seed=seed, draws=DRAWS, chances=given_chances(runs.chances))
    shipped_ruler = of_bundle and goal.role == TARGET
    ruler = _our_choice(table, recipe, bundled_ladder=shipped_ruler, progress=progress)
    published = _published() if of_bundle and name == PUBLISHED_RUN and runs.artificial_point else {}
    used: dict[str, object] = {
        "recipe_runs": [r.name for r in references],
        "own_runs": [r.name for r in table.references],
    }
    return [{"target": name, **_row(step, goal, ruler, published)} for step in steps], used


def _our_choice(
    ladder: Ladder, recipe: RulerRecipe, *, bundled_ladder: bool, progress: Progress
) -> TwoStepRuler:
    if bundled_ladder and recipe.seed == 0:
        ruler = read_ruler(shipped()[BUNDLED])
        if isinstance(ruler, TwoStepRuler):
            return ruler
        raise SparsityLabError(f"The bundled ruler {BUNDLED} is damaged", fix="Install the package again")
    return two_step_ruler("own choice", ladder, recipe=recipe, progress=progress)


def _row(
    step: RecipePrediction, goal: Run, ruler: TwoStepRuler, published: dict[tuple[str, str], float]
) -> dict[str, object]:
    task = step.task
    curve = replace(ruler.curves[task], tokens=goal.tokens)
    scores = curve.score(np.log(goal.params))
    low, high = (float(v) for v in np.quantile(scores[1:], [0.025, 0.975]))
    actual = goal.final_score(task)
    steps = {"loss": step.loss, "score given loss": step.score_given_loss, "chained": step.chained}
    gaps = [abs(value - published[task, name]) for name, value in steps.items() if (task, name) in published]
    return {
        "task": task,
        "actual_loss": goal.final_loss(task),
        "recipe_loss": step.loss,
        "actual_score": actual,
        "recipe_score_given_loss": step.score_given_loss,
        "recipe_chained": step.chained,
        "own_chained": float(scores[0]),
        "own_low": low,
        "own_high": high,
        "held": low <= actual <= high,
        "published_gap": max(gaps) if gaps else None,
    }


def _published() -> dict[tuple[str, str], float]:
    rows = bundled.rows("olmo-ladder-published")
    return {(row["task"], row["prediction"]): float(row["published"]) for row in rows}


PERFECT_POINT = (0.0, 1.0)
SIZES = ("190M", "370M", "760M", "1B")
MULTIPLES = ("1xC", "2xC", "5xC", "10xC")


@dataclass(frozen=True)
class RecipePrediction:
    """One task's three predictions for one target run; losses in the ladder's unit, scores 0 to 1."""

    task: str
    loss: float
    score_given_loss: float
    chained: float


def published_runs(ladder: Ladder) -> tuple[Run, ...]:
    """The sixteen runs the publication fits: 190M to 1.3B at 1, 2, 5 and 10 times Chinchilla."""
    wanted = {f"{size}-{multiple}" for size in SIZES for multiple in MULTIPLES}
    return tuple(run for run in ladder.references if run.name in wanted)


def predict_published(
    ladder: Ladder, target: Run, *, runs: Sequence[Run] | None = None, artificial_point: bool = True
) -> list[RecipePrediction]:
    """Predict a target run's tasks by the published recipe."""
    runs = published_runs(ladder) if runs is None else runs
    return [_predict(task, runs, target, artificial_point=artificial_point) for task in ladder.tasks]


def fit_score_curve(losses: Array, scores: Array) -> Array:
    """(a, L0, k, b) of the least-squares sigmoid, a in [-1, 0], b in [0, 1].

    Raises:
        SparsityLabError: the optimizer finds no minimum.
    """
    start = [max(scores.min() - 1, -1.0), 0.9, 3.0, 1.0]
    box = ([-1.0, -np.inf, -np.inf, 0.0], [0.0, np.inf, np.inf, 1.0])
    try:
        curve, _ = curve_fit(score_curve, losses, scores, p0=start, bounds=box, maxfev=100_000)
    except RuntimeError as error:
        raise SparsityLabError(
            "The sigmoid of score against loss has no minimum",
            why=str(error),
            fix="Give a --ladder whose runs span more losses, or switch --artificial-point",
        ) from error
    return curve


def score_curve(loss: Array | float, a: float, middle: float, k: float, b: float) -> Array:
    """a / (1 + exp(-k (L - L0))) + b."""
    return a / (1 + np.exp(-k * (np.asarray(loss) - middle))) + b


def _predict(task: str, runs: Sequence[Run], target: Run, *, artificial_point: bool) -> RecipePrediction:
    law = stack([fit_runs(task, runs, starts=[PUBLISHED_START])])
    loss = float(law.predict(target.params, target.tokens)[0])
    losses, scores = smoothed_points(task, runs)
    if artificial_point:
        losses, scores = np.append(losses, PERFECT_POINT[0]), np.append(scores, PERFECT_POINT[1])
    curve = fit_score_curve(losses, scores)
    return RecipePrediction(
        task, loss, float(score_curve(target.final_loss(task), *curve)), float(score_curve(loss, *curve))
    )
