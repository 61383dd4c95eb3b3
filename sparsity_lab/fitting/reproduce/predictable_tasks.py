"""Which tasks scale predictably: the share of Lourie et al. on runs of Gadre et al., by a rule that can be recounted.

Lourie et al. (arXiv 2507.00885) sort 46 tasks of 104 runs (Gadre et al., arXiv 2403.08540) by eye: 18 of 46, 39 %, show
a close fit to y = a exp(c x) + b, with y a task's score and x the validation loss. They state no bound on the fit. Here
the same form is fitted to the error of each task, a curve for each of the three corpora, and the share is given for
five bounds on R^2. R^2 is of all curves together, about each corpus's own mean, and negative where the error rises as
the loss falls: inverse scaling is not a prediction. Its interval resamples runs within each corpus.

A fit is not yet a prediction, so that the same curves are also fitted without the two largest sizes, and asked for
their errors; next to them is the mean error of the largest size kept.

`python -m sparsity_lab.fitting.reproduce.predictable_tasks FOLDER` writes `predictable.{csv,md,json}`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.laws._law import Array
from sparsity_lab.provenance import provenance
from sparsity_lab.store import bundled
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.density import PREDICTABLE

RUNS, PUBLISHED = "overtraining", "overtraining-published"
LOSS, SCORE = "validation_nats", "_acc"
BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9)
# Per nat. At 0 the curve is a straight line; beyond 6 it is a step at one end of the losses.
CURVATURES = np.linspace(-6.0, 6.0, 121)
LARGE = 1e9
DRAWS = 400


@dataclass(frozen=True)
class CorpusRuns:
    """Runs on one corpus: parameters (counts), validation loss (nats per token); shapes (n,)."""

    corpus: str
    params: Array
    loss: Array
    errors: dict[str, Array]

    @property
    def large(self) -> NDArray[np.bool_]:
        """Which runs are of the sizes held out."""
        return np.asarray(self.params > LARGE)


def run_predictable(*, output: Path, seed: int = 0) -> dict[str, object]:
    """Judge every task; the document of `predictable.json`, written next to the tables."""
    prepare_output(output)
    behaviours = {row["task"]: row["behaviour"] for row in bundled.rows(PUBLISHED)}
    corpora = corpora_of(bundled.rows(RUNS))
    rows = [_row(task, behaviour, corpora, seed=seed) for task, behaviour in behaviours.items()]
    rows.sort(key=lambda row: -float(str(row["r2"])))
    document: dict[str, object] = {
        "loss": LOSS, "runs": sum(len(of.loss) for of in corpora), "tasks": len(rows),
        "published_predictable": sum(bool(row["published_predictable"]) for row in rows),
        "shares": [share_of(rows, bound) for bound in BOUNDS],
        "beats_flat": sum(bool(row["beats_flat"]) for row in rows),
        "rows": rows, "seed": seed, "provenance": provenance(),
    }  # fmt: skip
    PREDICTABLE.write(output, rows)
    write_json(output / "predictable.json", document)
    return document


def corpora_of(rows: Sequence[dict[str, str]]) -> list[CorpusRuns]:
    """The runs of the table by corpus, in the order of its rows."""
    tasks = [name.removesuffix(SCORE) for name in rows[0] if name.endswith(SCORE)]
    return [
        CorpusRuns(
            corpus, _column(of, "params"), _column(of, LOSS), {t: 1 - _column(of, t + SCORE) for t in tasks}
        )
        for corpus in dict.fromkeys(row["family"] for row in rows)
        if (of := [row for row in rows if row["family"] == corpus])
    ]


def share_of(rows: Sequence[dict[str, object]], bound: float) -> dict[str, object]:
    """How many tasks reach a bound on R^2, and how many of them are those that were sorted so by eye."""
    reach = [row for row in rows if float(str(row["r2"])) >= bound]
    low, high = (sum(float(str(row[end])) >= bound for row in rows) for end in ("r2_low", "r2_high"))
    return {
        "r2": bound,
        "tasks": len(reach),
        "share": len(reach) / len(rows),
        "surely": low,
        "perhaps": high,
        "published_among_them": sum(bool(row["published_predictable"]) for row in reach),
    }


def signed_r2(corpora: Sequence[CorpusRuns], task: str, weights: Sequence[Array]) -> Array:
    """R^2 of y = a exp(c x) + b, one curve a corpus, negative where errors rise as losses fall; shape (draws,).

    Args:
        corpora: the runs.
        task: whose errors.
        weights: of each corpus's runs, shape (draws, n); ones for the table as it is.
    """
    explained, total, rising = (np.zeros(len(weights[0])) for _ in range(3))
    for of, weight in zip(corpora, weights, strict=True):
        r, square = _correlations(of.loss, of.errors[task], weight)
        best = np.take_along_axis(r, np.argmax(r**2, axis=1)[:, None], 1)[:, 0]
        explained += best**2 * square
        rising += np.sign(best) * best**2 * square
        total += square
    return np.asarray(np.sign(rising) * explained / np.maximum(total, np.finfo(float).tiny))


def _correlations(loss: Array, errors: Array, weight: Array) -> tuple[Array, Array]:
    """Correlations with every curvature's curve, (draws, curvatures), and the errors' sum of squares, (draws,)."""
    share = weight / weight.sum(1, keepdims=True)
    curves = _curves(loss)
    mean, mean_square = share @ errors, share @ errors**2
    spread = np.maximum(share @ (curves**2).T - (share @ curves.T) ** 2, 0)
    both = share @ (curves * errors).T - (share @ curves.T) * mean[:, None]
    variance = np.maximum(mean_square - mean**2, 0)
    return both / np.sqrt(np.maximum(spread * variance[:, None], 1e-18)), variance * weight.sum(1)


def _curves(loss: Array) -> Array:
    """Curves that rise with the loss from 0 to 1 over its range, shape (curvatures, n)."""
    place = loss - loss.min()
    steep = np.where(np.abs(CURVATURES) < 1e-9, 1e-6, CURVATURES)[:, None]
    return np.asarray(np.expm1(steep * place) / np.expm1(steep * place.max()))


def held_out(of: CorpusRuns, task: str) -> tuple[Array, Array]:
    """What the large runs' errors are off by: by the curve through the others, and by the largest of these."""
    kept, errors = ~of.large, of.errors[task]
    r, _ = _correlations(of.loss[kept], errors[kept], np.ones((1, int(kept.sum()))))
    steep = CURVATURES[int(np.argmax(r[0] ** 2))] or 1e-6
    rise = np.expm1(steep * (of.loss - of.loss[kept].min()))
    slope, level = np.polyfit(rise[kept], errors[kept], 1)
    flat = errors[of.params == of.params[kept].max()].mean()
    return (level + slope * rise - errors)[of.large], (flat - errors)[of.large]


def _row(task: str, behaviour: str, corpora: Sequence[CorpusRuns], *, seed: int) -> dict[str, object]:
    ones = [np.ones((1, len(of.loss))) for of in corpora]
    rng = np.random.default_rng(seed)
    counts = [rng.multinomial(n := len(of.loss), np.full(n, 1 / n), DRAWS).astype(float) for of in corpora]
    low, high = np.quantile(signed_r2(corpora, task, counts), [0.025, 0.975])
    off, flat = (np.concatenate(parts) for parts in zip(*(held_out(of, task) for of in corpora), strict=True))
    rmse, flat_rmse = (float(np.sqrt(np.mean(each**2))) for each in (off, flat))
    return {
        "task": task,
        "behaviour": behaviour,
        "published_predictable": behaviour == "predictable",
        "r2": float(signed_r2(corpora, task, ones)[0]),
        "r2_low": float(low),
        "r2_high": float(high),
        "r2_one_corpus_low": min(_alone(corpora, task)),
        "r2_one_corpus_high": max(_alone(corpora, task)),
        "held_out_rmse": rmse,
        "flat_rmse": flat_rmse,
        "beats_flat": rmse < flat_rmse,
    }


def _alone(corpora: Sequence[CorpusRuns], task: str) -> list[float]:
    return [float(signed_r2([of], task, [np.ones((1, len(of.loss)))])[0]) for of in corpora]


def _column(rows: Sequence[dict[str, str]], name: str) -> Array:
    return np.array([float(row[name]) for row in rows])


if __name__ == "__main__":
    run_predictable(output=Path(sys.argv[1]))
