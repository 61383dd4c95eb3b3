"""Predicts a large run from small ones: the published recipe, and our own choice with intervals.

The OLMo ladder's own recipe is followed step by step, so that its published 13B predictions come out. Loss step: the
last five checkpoints' mean, one start. Score step: least-squares sigmoid a / (1 + exp(-k (L - L0))) + b on all
checkpoints after the first tenth, running means of five, with one artificial point: a perfect score at zero loss. That
point drives the extrapolation: ARC-C comes out at .603 with it and .473 without; the model scores .638. So it is an
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
from sparsity_lab.fitting.density.rulers.ladder import Ladder, Run, read_ladder, smoothed_points
from sparsity_lab.fitting.density.rulers.loss_law import PUBLISHED_START, fit_runs, stack
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import DRAWS, TwoStepRuler, two_step_ruler
from sparsity_lab.fitting.density.scores.metrics import given_chances, refuse_unknown_words
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.registry import unknown
from sparsity_lab.settings import PREDICTED_RUN
from sparsity_lab.store import bundled
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.density import PREDICTIONS

BUNDLED = "olmo-ladder"


@dataclass(frozen=True)
class Predictions:
    """One row a task; `held` counts actual scores inside our own 95 % intervals."""

    rows: tuple[dict[str, object], ...]
    held: int
    largest_gap: float | None


@dataclass(frozen=True)
class PredictedRun:
    """Which run is predicted from which others.

    Attributes:
        ladder: a table of runs; None for the bundled ladder.
        target: the run's name.
        artificial_point: whether the recipe has its perfect score at zero loss.
        chances: of tasks that the table of names does not know, as `mine=0.25`.
    """

    ladder: Path | None = None
    target: str = PREDICTED_RUN
    artificial_point: bool = True
    chances: Sequence[str] = ()


def run_predictions(
    *, output: Path, run: PredictedRun | None = None, seed: int = 0, progress: Progress = SILENT
) -> Predictions:
    """Predict one run of a ladder from the others and write `predictions.{csv,md,json}`.

    The recipe takes the sixteen published runs on the bundled ladder and all reference runs elsewhere.

    Raises:
        SparsityLabError: no such run, or too few references.
    """
    run = run or PredictedRun()
    ladder, target, artificial_point = run.ladder, run.target, run.artificial_point
    prepare_output(output)
    given = given_chances(run.chances)
    table = read_ladder(bundled.table(ladder or BUNDLED))
    refuse_unknown_words(given, table.tasks, flag="--chance")
    names = [reference.name for reference in table.runs]
    if target not in names:
        raise unknown(target, kind="run", known=names)
    goal = table.run(target)
    if goal.role != "target":
        table = replace(table, runs=tuple(r for r in table.runs if r.name != target))
    runs = published_runs(table) if ladder is None else table.references
    steps = predict_published(table, goal, runs=runs, artificial_point=artificial_point)
    recipe = RulerRecipe(seed=seed, draws=DRAWS, chances=given)
    of_bundle = ladder is None and goal.role == "target"
    ruler = _our_choice(table, recipe, bundled_ladder=of_bundle, progress=progress)
    published = _published() if ladder is None and target == PREDICTED_RUN and artificial_point else {}
    rows = [_row(step, goal, ruler, published) for step in steps]
    held = sum(bool(row["held"]) for row in rows)
    gaps = [gap for row in rows if isinstance(gap := row["published_gap"], float)]
    largest = max(gaps) if gaps else None
    document = {
        "target": target, "artificial_point": artificial_point, "recipe_runs": [r.name for r in runs],
        "own_runs": [r.name for r in table.references], "held": held, "largest_gap_to_published": largest,
        "rows": rows, "seed": seed, "provenance": provenance(),
    }  # fmt: skip
    PREDICTIONS.write(output, rows)
    write_json(output / "predictions.json", document)
    return Predictions(tuple(rows), held, largest)


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
        SparsityLabError: the optimiser finds no minimum.
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
