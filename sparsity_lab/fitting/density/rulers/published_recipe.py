"""The OLMo ladder's own recipe, step by step, so that its published 13B predictions come out.

Loss step: the last five checkpoints' mean, one start. Score step: least-squares sigmoid a / (1 + exp(-k (L
- L0))) + b on all checkpoints after the first tenth, running means of five, with one artificial point: a
perfect score at zero loss. That point drives the extrapolation: ARC-C comes out at .603 with it and .473
without; the model scores .638. So it is an option by name, and not what a run does unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.rulers.ladder import Ladder, Run, smoothed_points
from sparsity_lab.fitting.density.rulers.loss_law import PUBLISHED_START, fit_runs, stack
from sparsity_lab.laws._law import Array

PERFECT_POINT = (0.0, 1.0)
SIZES = ("190M", "370M", "760M", "1B")
MULTIPLES = ("1xC", "2xC", "5xC", "10xC")


@dataclass(frozen=True)
class Prediction:
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
) -> list[Prediction]:
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


def _predict(task: str, runs: Sequence[Run], target: Run, *, artificial_point: bool) -> Prediction:
    law = stack([fit_runs(task, runs, starts=[PUBLISHED_START])])
    loss = float(law.predict(target.params, target.tokens)[0])
    losses, scores = smoothed_points(task, runs)
    if artificial_point:
        losses, scores = np.append(losses, PERFECT_POINT[0]), np.append(scores, PERFECT_POINT[1])
    curve = fit_score_curve(losses, scores)
    return Prediction(
        task, loss, float(score_curve(target.final_loss(task), *curve)), float(score_curve(loss, *curve))
    )
