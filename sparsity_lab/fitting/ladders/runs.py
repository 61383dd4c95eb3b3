"""Laws of several inputs over a ladder of runs, such as loss against parameters and tokens.

Each row of the table is one trained model (or one checkpoint of a run). The fit is least squares by variable
projection, or robust: the sum of Huber losses on ln y (`robust`). The asymptote and the exponents have
profile intervals, which give the verdict (`runs_profile`); all coefficients have intervals from resampling
whole runs, since points of one run share their luck.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data import magnitudes
from sparsity_lab.fitting.judge.verdict import Verdict
from sparsity_lab.fitting.ladders import runs_profile
from sparsity_lab.fitting.result import plain
from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import bootstrap
from sparsity_lab.fitting.uncertainty.intervals import Profile
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.reading import csv_numbers, units
from sparsity_lab.reading.csv_file import Rows, read_csv
from sparsity_lab.reading.units import Asked, Unit

TRUE, FALSE = ("true", "1", "1.0", "yes", "y", "t"), ("false", "0", "0.0", "no", "n", "f", "")
_QUANTITY_OF = {"parameters": units.PARAMETERS, "tokens": units.TOKENS, "nats per token": units.LOSS}


@dataclass(frozen=True)
class Runs:
    """Points of a ladder. x has shape (n, inputs), y (n,), groups (n,): the run a point belongs to.

    Attributes:
        units: column -> the unit it was read in, and who named that.
    """

    x: Array
    y: Array
    groups: np.ndarray
    left_out: int
    sha256: str
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunsFit:
    """A law over a ladder.

    Attributes:
        coefficients: name -> value and run-level bootstrap interval; none where the law cannot describe the points.
        profiles: of the asymptote and the exponents. verdict: whether the data say where the law ends.
        condition: number of the Jacobian, columns scaled to unit length.
        solution: the best fit in search coordinates.
    """

    law: Law
    verdict: Verdict
    points: int
    runs: int
    left_out: int
    coefficients: dict[str, tuple[float, float, float]]
    profiles: dict[str, Profile]
    condition: float
    objective_name: str
    objective: float
    starts: int
    starts_at_best: int
    draws: int
    rmse: float
    sha256: str
    seed: int
    units: Mapping[str, str]
    solution: Solution = field(repr=False)
    is_huber: bool = False

    @property
    def huber(self) -> bool:
        """Whether the objective is the sum of Huber losses."""
        return self.is_huber

    @property
    def values(self) -> dict[str, float]:
        """Coefficients without their intervals."""
        return {name: value for name, (value, _, _) in self.coefficients.items()}

    def to_json(self) -> dict[str, Any]:
        """The entry of fits.json."""
        apart = ("law", "verdict", "coefficients", "profiles", "solution", "is_huber")
        found = {name: value for name, value in vars(self).items() if name not in apart}
        ends = ("value", "low", "high")
        entry: dict[str, Any] = plain(
            {
                "law": self.law.name,
                "verdict": self.verdict.word,
                "reason": self.verdict.reason,
                "bound": self.verdict.bound,
                "formula": self.law.formula,
                "inputs": [vars(one) for one in self.law.inputs],
                "coefficients": {n: dict(zip(ends, c, strict=True)) for n, c in self.coefficients.items()},
                "profiles": {name: vars(one) for name, one in self.profiles.items()},
                **found,
            }
        )
        return entry


@dataclass(frozen=True)
class LadderColumns:
    """How the table of a ladder is read.

    Attributes:
        x: columns of the inputs. y: column of y.
        group: column that names the run of a row; each row is its own run where None.
        exclude: column that is `true` in rows to leave out.
        unit: units that were asked for, each as `COLUMN=UNIT` or `QUANTITY=UNIT`.
    """

    x: tuple[str, ...]
    y: str
    group: str | None = None
    exclude: str | None = None
    unit: tuple[str, ...] = ()


def read_runs(path: Path, columns: LadderColumns, *, law: Law | None = None) -> Runs:
    """Read a ladder's points.

    Args:
        path: a CSV.
        columns: what its columns are.
        law: says what its inputs and its output are, where the columns' names do not.

    Raises:
        SparsityLabError: a column is missing, a value is no positive number (row and column are named), or values
            cannot be in the unit that their column is read in.
    """
    header, rows = read_csv(path)
    x, y, group, exclude = columns.x, columns.y, columns.group, columns.exclude
    for name in (*x, y, group, exclude):
        if name is not None and name not in header:
            raise SparsityLabError(
                f"{path}: row 1 has no column {name!r}",
                why=f"It has: {', '.join(header)}"[:400],
                fix="Name columns of the table with --x, --y, --group and --exclude",
            )
    kept = [
        (line, raw)
        for line, raw in rows
        if exclude is None or not _is_true(raw[exclude], path, line, exclude)
    ]
    if not kept:
        raise SparsityLabError(f"The table {path} has no rows with points", fix="Give it a row for each run")
    values = np.array([[_positive(raw[name], path, line, name) for name in (*x, y)] for line, raw in kept])
    read = _units(x, y, law, Asked.of(columns.unit), path)
    for i, name in enumerate((*x, y)):
        if name in read:
            values[:, i] *= read[name].factor
            units.check(read[name], values[:, i].tolist(), table=path.name)
    _refuse_sizes(path, kept, (*x, y), values)
    groups = np.array([raw[group] if group else str(line) for line, raw in kept])
    digest = hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()
    said = {name: str(one) for name, one in read.items()}
    return Runs(values[:, :-1], values[:, -1], groups, len(rows) - len(kept), digest, said)


def _refuse_sizes(path: Path, rows: Rows, names: Sequence[str], values: Array) -> None:
    """Refuse numbers, shape (n, inputs + 1) with y last, that are too large, too small or too far apart for a fit."""
    for i, name in enumerate(names):
        beyond = magnitudes.beyond_y if name == names[-1] else magnitudes.beyond_x
        for (line, raw), value in zip(rows, values[:, i].tolist(), strict=True):
            if why := beyond(value):
                raise SparsityLabError(
                    f"{path}: row {line}, column {name!r}: {raw[name][:80]!r}",
                    why=why,
                    fix=magnitudes.SCALE_FIX,
                )
        if i < len(names) - 1 and (ends := magnitudes.too_wide(values[:, i].tolist())) is not None:
            raise magnitudes.apart(path, name, [(rows[at][0], float(values[at, i])) for at in ends])


def _units(x: Sequence[str], y: str, law: Law | None, asked: Asked, path: Path) -> dict[str, Unit]:
    """Column -> its unit: of what the law says it is, or else of what its name says."""
    said = [None] * (len(x) + 1) if law is None or len(law.inputs) != len(x) else [*law.inputs, law.output]
    symbols = [None if one is None else one.symbol for one in said]
    found = {}
    for column, variable in zip((*x, y), said, strict=True):
        by_law = None if variable is None else _QUANTITY_OF.get(variable.unit)
        by_name = units.quantity_of(column)
        if by_law is not None and asked.key_of(column, by_law) is None:
            other = by_name.name if by_name is not None and by_name is not by_law else None
            if column in symbols and variable is not None and column != variable.symbol:
                other = column
            if by_law is units.LOSS and units.PER_SOMETHING_ELSE & set(units.parts(column)):
                other = "a loss per something else than a token, or no loss"
            if other is not None:
                raise _misplaced(column, by_law, other, path)
        if (quantity := by_law or by_name) is not None:
            found[column] = units.read_unit(column, quantity, asked)
    asked.refuse_unused(found.values(), table=str(path))
    return found


def _misplaced(column: str, wanted: units.Quantity, other: str, path: Path) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: the column {column!r} is in the place of {wanted.name}, in {wanted.unit}",
        why=f"By its name it holds {other}",
        fix="Name columns in the order of the law's inputs, --x A,B, and --y in the law's unit; or say that it is so: "
        f"--unit {wanted.name}={'nats' if wanted is units.LOSS else '1'}",
    )


def fit_runs(
    runs: Runs, law: Law, *, huber: bool = False, draws: int = 200, seed: int = 0, progress: Progress = SILENT
) -> RunsFit:
    """Fit a law over a ladder.

    Args:
        runs: the points. law: a law of as many inputs.
        huber: robust on ln y instead of least squares.
        draws: bootstrap refits over runs; 0 for none. seed: of grid and bootstrap.

    Raises:
        SparsityLabError: the law has another number of inputs, there are too few points, or a number out of its range.
    """
    _refuse(runs, law, draws, seed)
    objective = HUBER if huber else SQUARES
    problem = Problem.of(law, runs.x, runs.y, objective=objective, runs=runs.groups)
    solution = engine.solve(problem, seed=seed)
    profiles, verdict = runs_profile.judged(problem, solution)
    values = problem.coefficients_of(solution) if verdict.describes else {}
    draws = draws if verdict.describes else 0
    with progress.track("bootstrap", draws) as advance:
        drawn = bootstrap.resample_runs(
            problem,
            solution,
            runs.groups,
            draws=draws,
            generator=np.random.default_rng(seed),
            advance=advance,
        )
    ends = {name: drawn.interval(name) if draws else (math.nan, math.nan) for name in values}
    return RunsFit(
        law=law,
        verdict=verdict,
        points=len(runs.y),
        runs=len(set(runs.groups)),
        left_out=runs.left_out,
        coefficients={name: (value, *ends[name]) for name, value in values.items()},
        profiles=profiles,
        condition=diagnostics.condition(problem, solution),
        objective_name=objective.words(),
        objective=solution.objective,
        starts=solution.starts,
        starts_at_best=solution.starts_at_best,
        draws=draws,
        rmse=float(np.sqrt(np.mean((problem.curve(solution) - runs.y) ** 2))),
        sha256=runs.sha256,
        seed=seed,
        units=runs.units,
        solution=solution,
        is_huber=huber,
    )


def _refuse(runs: Runs, law: Law, draws: int, seed: int) -> None:
    """Refuse what cannot be fitted."""
    ranges.check("bootstrap", draws)
    ranges.check("seed", seed)
    if len(law.inputs) != runs.x.shape[1]:
        raise SparsityLabError(
            f"The law {law.name} has {len(law.inputs)} input(s), and --x names {runs.x.shape[1]} column(s)",
            fix=f"Name with --x the columns of these alone: {', '.join(v.meaning for v in law.inputs)}",
        )
    if len(runs.y) <= len(law.parameters):
        raise SparsityLabError(
            f"{len(runs.y)} points are too few for the law {law.name}",
            fix=f"Give more than {len(law.parameters)}",
        )


def _is_true(text: str, path: Path, line: int, column: str) -> bool:
    """Whether a cell says that its row is left out; a word that may say either is refused."""
    word = text.strip().lower()
    if word not in TRUE and word not in FALSE:
        raise SparsityLabError(
            f"{path}: row {line}, column {column!r}: {text[:80]!r}",
            why="It says neither true nor false",
            fix="Write true in rows to leave out and false in the others",
        )
    return word in TRUE


def _positive(text: str | None, path: Path, line: int, column: str) -> float:
    try:
        value = csv_numbers.number(text or "")
        why, fix = "That is no positive number", "Correct the cell or remove its row"
    except ValueError:
        value, (why, fix) = math.nan, csv_numbers.problem(text or "")
    if not (math.isfinite(value) and value > 0):
        raise SparsityLabError(
            f"{path}: row {line}, column {column!r}: {(text or '')[:80]!r}", why=why, fix=fix
        )
    return value
