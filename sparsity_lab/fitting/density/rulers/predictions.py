"""Predicts a large run from small ones: the published recipe, and our own choice with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.ladder import Ladder, Run, read_ladder
from sparsity_lab.fitting.density.rulers.published_recipe import Prediction, predict_published, published_runs
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import DRAWS, TwoStepRuler, two_step_ruler
from sparsity_lab.fitting.density.scores.metrics import given_chances, refuse_unknown_words
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
    table = read_ladder(bundled.path(BUNDLED) if ladder is None else ladder)
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
    step: Prediction, goal: Run, ruler: TwoStepRuler, published: dict[tuple[str, str], float]
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
