"""Two-step rulers: size and data to loss, loss to score (Densing Law of LLMs, arXiv 2412.04315).

Our own choice where the published recipe of the ladder has another: no artificial point; the sigmoid's
floor is free within 0.1 of the chance level (models favor some answers before they know any), its ceiling 1
unless a free one predicts held-out sizes better by a tenth; draws resample whole runs, for checkpoints of
one run are not independent; and beyond the largest reference size the curve gets a form error, measured on
held-out sizes: fits to the smaller sizes predict the larger ones, and the score error per unit of ln size
is the root mean square of what came out. Without it the intervals of an extrapolation hold only the errors
of a law that is taken to be true.

Gadre et al. (arXiv 2403.08540, `decay_ours` in mlfoundations/scaling) let the error be e - k exp(-gamma L) of one
validation loss instead of a sigmoid. On the 104 runs of three corpora and five tasks, fitted up to each size from the
third, the sigmoid misses the scores of larger runs by less (tests/fitting/test_density_rulers.py), so it is used for
their table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.curves import MeanCurve, RulerCurve, first_reached
from sparsity_lab.fitting.density.rulers import sigmoid
from sparsity_lab.fitting.density.rulers.ladder import Ladder, Run, smoothed_points
from sparsity_lab.fitting.density.rulers.loss_law import OWN_STARTS, LossLaw, fit_runs, stack
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.sigmoid import ScoreSigmoid
from sparsity_lab.fitting.density.scores.benchmarks import chance_of
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.settings import D0_TOKENS

DRAWS = 200
FEWEST_SIZES = 3
FEWEST_RUNS = 6
FREE_CEILING_GAIN = 0.9
FLOOR_ROOM = 0.1
FEWEST_SIZES_OF_A_CUT = 3
GRID_POINTS = 600
GRID_REACH = np.log(100.0)


def check_d0(tokens: float) -> None:
    """Refuse a D0 that is not a count of tokens.

    Raises:
        SparsityLabError: zero, negative, infinite or NaN.
    """
    if not 0 < tokens < np.inf:
        raise SparsityLabError(f"--d0 {tokens:g} is not a number of training tokens", fix="Write 1e12")


@dataclass(frozen=True)
class TwoStepCurve:
    """Score against ln N at `tokens` training tokens; entry 0 of every array is the point estimate.

    `form_error` is in score per unit of ln size beyond `ln_largest`, per draw, 0 for the point estimate.
    """

    loss: LossLaw
    scores: ScoreSigmoid
    form_error: Array
    ln_largest: float
    tokens: float
    ceiling_held: bool

    @property
    def floor(self) -> Array:
        """The score at an infinite loss, shape (1 + B,)."""
        return np.asarray(self.scores.floor)

    @cached_property
    def ceiling(self) -> Array:
        """The score of an infinite model at this much data; with form error, the best within the grid."""
        at_infinity = self.scores.score(-(self.loss.data_term(self.tokens) + self.loss.e))
        return np.where(self.form_error == 0, at_infinity, self._grid[1][-1])

    def first_draws(self, draws: int) -> TwoStepCurve:
        """The point and so many draws at most."""
        loss = LossLaw(*(getattr(self.loss, f.name)[: 1 + draws] for f in fields(self.loss)))
        scores = ScoreSigmoid(*(getattr(self.scores, f.name)[: 1 + draws] for f in fields(self.scores)))
        return replace(self, loss=loss, scores=scores, form_error=self.form_error[: 1 + draws])

    def score(self, ln_size: Array) -> Array:
        """Scores at `ln_size`."""
        loss = self.loss.size_term(ln_size) + self.loss.data_term(self.tokens) + self.loss.e
        beyond = np.maximum(np.asarray(ln_size) - self.ln_largest, 0.0)
        return np.clip(self.scores.score(-loss) + self.form_error * beyond, 0.0, 1.0)

    def ln_size(self, score: Array) -> Array:
        """ln N of a score: in closed form, and on a grid where the form error bends a draw."""
        score = np.broadcast_to(score, self.floor.shape)
        minus_loss = self.scores.inverse(score)
        exact = np.where(
            np.isfinite(minus_loss),
            self.loss.ln_params(np.where(np.isfinite(minus_loss), -minus_loss, 1.0), self.tokens),
            minus_loss,
        )
        bent = (self.form_error != 0) & (exact > self.ln_largest)
        return np.where(bent, self._on_grid(score), exact)

    @cached_property
    def _grid(self) -> tuple[Array, Array]:
        """ln sizes from the largest reference up, and running maxima of the score, shape (grid, 1 + B)."""
        ln_sizes = self.ln_largest + np.linspace(0, GRID_REACH, GRID_POINTS)
        return ln_sizes, np.maximum.accumulate(self.score(ln_sizes[:, None]), axis=0)

    def _on_grid(self, score: Array) -> Array:
        """Where the running maximum first reaches the score; +inf where it never does."""
        return first_reached(*self._grid, score)


@dataclass(frozen=True)
class TwoStepRuler(Ruler):
    """Curves of each task; means of tasks are means of curves, whose draws resample the same runs."""

    curves: dict[str, TwoStepCurve] = field(repr=False)
    loss_units: dict[str, str] = field(repr=False)
    d0_tokens: float = D0_TOKENS
    runs: tuple[str, ...] = field(default=(), kw_only=True)
    read: dict[tuple[tuple[str, ...], float], RulerCurve] = field(
        default_factory=dict, repr=False, compare=False, kw_only=True
    )

    form: ClassVar[str] = "two-step"

    @property
    def references(self) -> tuple[str, ...]:
        """Names and identities of the runs."""
        return self.runs

    @property
    def reference_count(self) -> int:
        """How many runs."""
        return len(self.runs)

    def with_draws(self, draws: int) -> TwoStepRuler:
        """The first draws of every curve."""
        curves = {task: curve.first_draws(draws) for task, curve in self.curves.items()}
        return replace(self, draws=min(draws, self.draws), curves=curves, read={})

    def curve(self, tasks: Sequence[str]) -> RulerCurve:
        """The curve of the mean over tasks at D0, kept with its grids."""
        self.require(tasks)
        key = tuple(sorted(tasks)), self.d0_tokens
        if key not in self.read:
            parts = [replace(self.curves[task], tokens=self.d0_tokens) for task in key[0]]
            self.read[key] = parts[0] if len(parts) == 1 else MeanCurve(parts)
        return self.read[key]


def two_step_ruler(
    name: str,
    ladder: Ladder,
    *,
    recipe: RulerRecipe,
    d0_tokens: float = D0_TOKENS,
    progress: Progress = SILENT,
) -> TwoStepRuler:
    """Fit every task of a ladder.

    Raises:
        SparsityLabError: fewer than six runs or three sizes, which cannot hold the loss law's five coefficients.
    """
    runs, draws = ladder.references, recipe.draws
    if why := why_too_small(runs):
        raise SparsityLabError(
            f"The ladder {name} is not a two-step ruler",
            why=why,
            fix="Add runs of further sizes to the ladder",
        )
    resampled = _resampled_runs(runs, seed=recipe.seed, draws=draws)
    curves: dict[str, TwoStepCurve] = {}
    with progress.track(f"ruler {name}", len(ladder.tasks) * (1 + draws)) as advance:
        for number, task in enumerate(ladder.tasks):
            chance = chance_of(task, recipe.chances)
            ceiling, form_error = choose_form(task, runs, chance=chance)
            fits: list[tuple[Array, Array]] = []
            for picked in [list(runs), *resampled]:
                starts = [fits[0][0]] if fits else OWN_STARTS
                fits.append(fit_task(task, picked, chance=chance, ceiling=ceiling, starts=starts))
                advance(1)
            rng = np.random.default_rng([recipe.seed, number])
            noise = form_error * rng.standard_t(held_out_groups(runs), draws)
            losses, scores = zip(*fits, strict=True)
            curves[task] = TwoStepCurve(
                stack(losses), ScoreSigmoid(*np.array(scores).T), np.concatenate([[0.0], noise]),
                float(np.log(max(run.params for run in runs))), D0_TOKENS, ceiling is not None,
            )  # fmt: skip
    sizes = [run.params for run in runs]
    references = tuple(dict.fromkeys(name for run in runs for name in (run.name, run.identity) if name))
    return TwoStepRuler(
        name=name, tasks=ladder.tasks, sizes=(min(sizes), max(sizes)), size_unit="params",
        params=recipe.convention.words, harness=recipe.harness, source=recipe.source, seed=recipe.seed,
        draws=draws, curves=curves, loss_units=ladder.units, d0_tokens=d0_tokens, runs=references,
    )  # fmt: skip


def why_too_small(runs: Sequence[Run]) -> str:
    """Why a ladder cannot hold the loss law's five coefficients; empty where it can."""
    sizes = {run.params for run in runs}
    if len(runs) >= FEWEST_RUNS and len(sizes) >= FEWEST_SIZES:
        return ""
    return (
        f"It has {len(runs)} runs of {len(sizes)} sizes; the loss law has five coefficients and "
        f"needs at least {FEWEST_RUNS} runs of {FEWEST_SIZES} sizes"
    )


def fit_task(
    task: str,
    runs: Sequence[Run],
    *,
    chance: float,
    ceiling: float | None = 1.0,
    starts: Sequence[Sequence[float] | Array] = OWN_STARTS,
) -> tuple[Array, Array]:
    """Loss coefficients (5,) and score coefficients (floor, span, gamma, middle) of one task."""
    theta = fit_runs(task, runs, starts=starts)
    losses, scores = smoothed_points(task, runs)
    curve, _ = sigmoid.fit(-losses, scores[None], floor=chance, ceiling=ceiling, floor_room=FLOOR_ROOM)
    return theta, np.concatenate([curve.floor, curve.span, curve.gamma, curve.middle])


def choose_form(task: str, runs: Sequence[Run], *, chance: float) -> tuple[float | None, float]:
    """The ceiling, 1 or None for a free one, and its form error; a small gap is a tie and keeps 1."""
    held = form_error_per_ln_size(task, runs, chance=chance, ceiling=1.0)
    free = form_error_per_ln_size(task, runs, chance=chance, ceiling=None)
    return (None, free) if free < FREE_CEILING_GAIN * held else (1.0, held)


def form_error_per_ln_size(task: str, runs: Sequence[Run], *, chance: float, ceiling: float | None) -> float:
    """Root mean square of held-out score errors per unit of ln size, 0 where too few sizes are left.

    Each cut keeps the sizes up to it (at least three) and predicts every larger run at its own N and D.
    """
    sizes = sorted({run.params for run in runs})
    errors = []
    for cut in sizes[FEWEST_SIZES_OF_A_CUT - 1 : -1]:
        kept = [run for run in runs if run.params <= cut]
        if len(kept) < FEWEST_RUNS:
            continue
        fitted = fit_task(task, kept, chance=chance, ceiling=ceiling)
        for run in (run for run in runs if run.params > cut):
            predicted = predict_run(*fitted, run)
            errors.append((run.final_score(task) - predicted) / np.log(run.params / cut))
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


def held_out_groups(runs: Sequence[Run]) -> int:
    """Pairs of a cut and a larger size: the degrees of freedom of the form error, for runs share a size's."""
    larger = len({run.params for run in runs}) - FEWEST_SIZES_OF_A_CUT
    return max(1, larger * (larger + 1) // 2)


def predict_run(theta: Array, score: Array, run: Run) -> float:
    """The chained prediction of one run."""
    loss = stack([theta]).predict(run.params, run.tokens)
    return float(ScoreSigmoid(*score).score(-loss)[0])


def _resampled_runs(runs: Sequence[Run], *, seed: int, draws: int) -> list[list[Run]]:
    """Runs drawn with replacement; draws with fewer than three sizes are drawn again."""
    rng = np.random.default_rng(seed)
    chosen: list[list[Run]] = []
    while len(chosen) < draws:
        picked = [runs[i] for i in rng.integers(0, len(runs), len(runs))]
        if len({run.params for run in picked}) >= FEWEST_SIZES:
            chosen.append(picked)
    return chosen
