"""A lock: what a fit said when somebody agreed to it, with predictions at places where it is compared.

A difference is tolerated up to the largest of an absolute, a relative and a standard-error part.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.locks.toml import FOLLOWED, PINNED, Tolerance
from sparsity_lab.fitting.result import Coefficient, FitResult
from sparsity_lab.fitting.solve import gradients
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import curve_errors, point_errors, problem_of
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.laws._law import FALLING, RISING, Array

logger = logging.getLogger(__name__)

PROBES_INSIDE = 7
PROBES_AHEAD = (1.5, 2.0, 3.0)  # times the largest x of the fit
PROBES_PER_INPUT = {2: 3, 3: 3}  # of several; 2 of more
AHEAD_OF_ALL = 10.0  # times the largest of every input at once


@dataclass(frozen=True)
class Probe:
    """A prediction: y of the law at x, one number for each input, with the standard error of the curve."""

    x: tuple[float, ...]
    y: float
    se: float


@dataclass(frozen=True)
class LockedNumber:
    """A coefficient with its standard error and its interval.

    Attributes:
        low, high: NaN where the data bound it on no such side; None in locks that do not say.
    """

    value: float
    se: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Lock:
    """One locked fit.

    Attributes:
        spec: how it is fitted; the law's id among it, and the rivals the verdict was reached against.
        table: `bundled:NAME`, or a path relative to the study's folder. points_sha256: of the series' points;
            se_sha256: of their standard errors, where they are weights.
        pinned: another hash is stale; otherwise the table may be measured again and only drift counts.
        last_x: the x of the largest models; NaN for several inputs.
        noise_sd: standard deviation of the residuals; freedom: points less coefficients; inflation: g, which the
            standard errors contain. noise_power: k, where the noise goes with a power of the curve, whose standard
            deviation is noise_sd |f|^k; else 0. weight_unit: the root mean square of the weights' roots, of points that
            are weighted by their standard errors; NaN in locks that do not say.
        bound: one-sided statement of a fit that is not identified. sse, limit: as fits.json has them; NaN in locks
            that do not say.
        derived: numbers that follow from a coefficient each.
    """

    series: str
    law: str
    verdict: str
    reason: str
    spec: FitSpec
    table: str
    points_sha256: str
    points: int
    probes: tuple[Probe, ...]
    coefficients: dict[str, LockedNumber]
    prediction_tolerance: Tolerance
    coefficient_tolerance: Tolerance
    columns: Columns = field(default_factory=Columns)
    pinned: bool = True
    dropped_points: int = 0
    last_x: float = math.nan
    noise_sd: float = math.nan
    freedom: int = 1
    inflation: float = 1.0
    noise_power: float = 0.0
    weight_unit: float = math.nan
    se_sha256: str = ""
    bound: str | None = None
    sse: float = math.nan
    limit: float = math.nan
    derived: dict[str, LockedNumber] = field(default_factory=dict)
    says_all: bool = True  # of a format that holds intervals and bounds

    @property
    def numbers(self) -> dict[str, LockedNumber]:
        """Coefficients, and the numbers that follow from them."""
        return {**self.coefficients, **self.derived}


@dataclass(frozen=True)
class Agreed:
    """What a lock says in addition to its numbers: who agreed to what.

    Attributes:
        table: the input, as `toml.table_entry` writes it.
        reason: why these numbers hold.
        follow: whether the table may be measured again.
        columns: how the table is read.
    """

    table: str
    reason: str
    follow: bool
    columns: Columns


def lock_of(result: FitResult, agreed: Agreed) -> Lock:
    """The lock of a fit.

    Raises:
        SparsityLabError: no reason is given.
    """
    if not agreed.reason.strip():
        raise SparsityLabError("A lock needs a reason", fix='Say why these numbers hold: --reason "..."')
    series, law, values, scale = result.series, result.law, result.values, result.scale
    problem = problem_of(law, series, result.spec)
    prediction, coefficient = FOLLOWED if agreed.follow else PINNED
    xs = probe_points(series.x, ahead=result.verdict.word != NOT, forward=law.forward)
    xs = xs[np.isfinite(law.predict(values, xs))]  # beyond the data, a share may lie above 1
    errors = curve_errors(problem, result.solution, scale, xs)
    probes = zip(xs, law.predict(values, xs), errors, strict=True)
    coefficients = {
        name: LockedNumber(each.value, _error(result, problem, name), each.low, each.high)
        for name, each in result.coefficients.items()
    }
    return Lock(
        series=series.name,
        law=law.name,
        verdict=result.verdict.word,
        reason=agreed.reason.strip(),
        spec=result.spec,
        table=agreed.table,
        points_sha256=series.sha256,
        points=len(series.y),
        probes=tuple(Probe(tuple(map(float, np.atleast_1d(x))), float(y), float(se)) for x, y, se in probes),
        coefficients=coefficients,
        prediction_tolerance=prediction,
        coefficient_tolerance=coefficient,
        columns=agreed.columns,
        pinned=not agreed.follow,
        dropped_points=series.dropped,
        last_x=math.nan
        if series.inputs > 1
        else float(series.x.min() if law.forward == FALLING else series.x.max()),
        noise_sd=_noise_sd(result),
        freedom=scale.freedom,
        inflation=scale.inflation,
        noise_power=0.0 if result.noise is None else result.noise.power,
        weight_unit=_weight_unit(result),
        se_sha256=series.se_sha256 if result.spec.weighted else "",
        bound=result.verdict.bound,
        sse=result.sse,
        limit=result.limit,
        derived={
            each.name: _following(result.derived[each.name], coefficients[each.of])
            for each in law.derived
            if math.isfinite(result.derived[each.name].value)
        },
    )


def tell_of_room(lock: Lock, place: object) -> None:
    """Say where a lock is, and whether it follows its table so loosely that it can miss any change of the curve."""
    logger.info("%s is locked in %s.", lock.series, place)
    room = min(lock.prediction_tolerance.of(probe.y, probe.se) for probe in lock.probes)
    span = max(probe.y for probe in lock.probes) - min(probe.y for probe in lock.probes)
    if not lock.pinned and room > span:
        logger.warning(
            "The lock of %s guards little: each prediction may move by %.2g or more before `check` calls it drift, and "
            "all of them lie within %.2g (%s). Lock more points, or leave out --follow.",
            lock.series, room, span, lock.verdict,
        )  # fmt: skip


def _noise_sd(result: FitResult) -> float:
    """Standard deviation of a point, where the curve is 1 if the noise goes with a power of it."""
    sd, noise = math.sqrt(result.scale.variance), result.noise
    if noise is None:
        return sd
    unit = (
        point_errors(result.scale, result.spec, result.series, result.series, result.fitted)[0]
        / noise.sizes[0]
    )
    return float(unit * math.exp(-noise.power * noise.centre))


def _weight_unit(result: FitResult) -> float:
    """What the weights' roots were divided by; NaN where there are no weights."""
    roots = result.spec.root_weights(result.series) if result.spec.weighted else None
    return math.nan if roots is None else float(np.sqrt(np.mean(roots**2)))


def _following(derived: Coefficient, coefficient: LockedNumber) -> LockedNumber:
    """A number over a coefficient: its relative standard error is that of the coefficient."""
    se = abs(derived.value * coefficient.se / coefficient.value)
    return LockedNumber(derived.value, se, derived.low, derived.high)


def _error(result: FitResult, problem: Problem, name: str) -> float:
    """The standard error of a coefficient, to first order."""
    return result.scale.error_of(gradients.of_coefficient(problem, result.solution, name))


def probe_points(x: Array, *, ahead: bool, forward: str = RISING) -> Array:
    """Where predictions are recorded, shape as x: along the data, and beyond where the law has a say there.

    Beyond is where x goes as models grow. Of several inputs: a grid over their ranges, and one point beyond.
    """
    if x.ndim == 1:
        low, high = float(x.min()), float(x.max())
        inside = np.geomspace(low, high, PROBES_INSIDE) if low > 0 else np.linspace(low, high, PROBES_INSIDE)
        if forward == FALLING:
            return np.concatenate(
                [[low / factor for factor in PROBES_AHEAD[::-1]] if ahead and low > 0 else [], inside]
            )
        return np.concatenate(
            [inside, [factor * high for factor in PROBES_AHEAD] if ahead and high > 0 else []]
        )
    count = PROBES_PER_INPUT.get(x.shape[1], 2)
    axes = [
        np.geomspace(low, high, count) if low > 0 else np.linspace(low, high, count)
        for low, high in zip(x.min(0), x.max(0), strict=True)
    ]
    grid = np.array(list(itertools.product(*axes)))
    return np.vstack([grid, AHEAD_OF_ALL * x.max(0)]) if ahead and bool(np.all(x.max(0) > 0)) else grid


def xs_of(probes: Sequence[Probe]) -> Array:
    """The places of probes, shape (m,) of one input or (m, inputs)."""
    xs = np.array([probe.x for probe in probes])
    return xs[:, 0] if xs.shape[1] == 1 else xs
