"""95 % intervals of everything a fit says, all by one rule: how far can a number go before the fit is too bad?

The interval of a coefficient, of a prediction, or of the x at which a value is reached, holds every value v with
S(v) <= S_min + g s^2 F(0.95; 1, f), S(v) the least objective with the number held at v (`noise` says what g, s^2 and f
are). Where S stays below that level up to the edge of what is possible, the interval is open on that side: the data do
not bound the number there. How often such intervals hold is simulated in `bench.coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve import gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty.both_ends import Numbers, Walked, both_ends
from sparsity_lab.fitting.uncertainty.coordinates import InCoefficients
from sparsity_lab.fitting.uncertainty.known_ends import UNKNOWN, KnownEnds, SearchEdges
from sparsity_lab.fitting.uncertainty.lanes import CoordinateLanes, HeldLanes, Lanes, PackedLanes, Sought
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import FALLING, LOG_LINEAR, NONLINEAR, Array, Law

FIRST_STEP = 1.05  # of the half width that the curvature at the best fit promises
FARTHEST = 1e3  # ranges of y: how far a number without a physical range is followed
FARTHEST_LN = 30.0  # how far a logarithm is followed
REACH_BEFORE, REACH_BEYOND = 1e3, 1e6  # times the smallest and largest x: how far a reach is followed


@dataclass(frozen=True)
class Profile:
    """The interval of one coefficient, and the objective over it.

    Attributes:
        name: the coefficient. value: its best value.
        low, high: ends of the interval; at an open side the edge of what is possible or searched.
        open_low, open_high: whether the level is never reached on that side, or only since the search ends.
        excluded: no possible value reaches the level.
        level: the objective at the interval's ends. curve: (value, objective) pairs, sorted.
        one_sided: where one side alone is open, the 95 % bound on the other (a one-sided test has a lower
            level than the two ends of an interval); NaN elsewhere.
    """

    name: str
    value: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    excluded: bool
    level: float
    curve: tuple[tuple[float, float], ...]
    one_sided: float = math.nan

    @property
    def closed(self) -> bool:
        """Whether the data bound the coefficient on both sides."""
        return not (self.open_low or self.open_high or self.excluded)

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval; NaN at an open side."""
        low = math.nan if self.open_low or self.excluded else self.low
        return low, math.nan if self.open_high or self.excluded else self.high


@dataclass(frozen=True)
class Interval:
    """A prediction or a reach with its interval; infinite where that is open, NaN where nothing is known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Wanted:
    """What intervals are asked for.

    Attributes:
        names: coefficients, and levels that y tends to; all where None.
        box: the physical range of those levels; infinite ends mean a thousand ranges of the data.
        x: inputs of predictions, shape (m,) or (m, inputs), or None.
        reach: values of y whose x is asked for, of a law of one input.
        curves: whether the objective along the intervals of limits and exponents is wanted as well, and one-sided
            bounds of all.
        known: ends by name, NaN where open, that are confirmed where they hold rather than walked to; with them come
            one-sided bounds of the levels. None where nothing is known.
    """

    names: Sequence[str] | None = None
    box: tuple[float, float] = (-math.inf, math.inf)
    x: Array | None = None
    reach: Sequence[float] = ()
    curves: bool = True
    known: Mapping[str, tuple[float, float]] | None = None

    def extras(self, law: Law) -> tuple[Collection[str], Collection[str]]:
        """Names of a law whose objective is wanted along the interval, and of those whose one-sided bounds are."""
        if self.curves:
            limits = {*dict(law.limits)}
            return {*limits, *law.exponents}, {*limits, *(parameter.name for parameter in law.parameters)}
        return (), () if self.known is None else law.levels

    def known_ends(
        self, names: Sequence[str], edges: SearchEdges, law: InCoefficients | None = None
    ) -> KnownEnds | None:
        """What is known of the ends of coefficients, in the coordinates of a law of such; None where nothing is."""
        if self.known is None:
            return None
        ends = np.array([self.known.get(name, (UNKNOWN, UNKNOWN)) for name in names]).reshape(-1, 2).T
        return KnownEnds(ends if law is None else law.places_of_ends(names, ends), edges)


@dataclass(frozen=True)
class Intervals:
    """Profiles of coefficients by name, predictions at the x asked for, and reaches of the values asked for."""

    profiles: dict[str, Profile]
    band: list[Interval]
    reach: list[Interval]


def intervals(problem: Problem, solution: Solution, scale: NoiseScale, wanted: Wanted) -> Intervals:
    """The intervals of everything wanted, walked together.

    Args:
        problem: the law and its points. solution: its best fit. scale: of the noise. wanted: of what.
    """
    law = problem.law
    every = dict.fromkeys((*(p.name for p in law.parameters), *law.other_ends))
    names = [name for name in every if wanted.names is None or name in wanted.names]
    linear = [name for name in names if law.kind_of(name) != NONLINEAR]
    nonlinear = [name for name in names if law.kind_of(name) == NONLINEAR]
    found = _nonlinear(problem, solution, scale, nonlinear, wanted) if nonlinear else {}
    x = problem.x[:0] if wanted.x is None else wanted.x
    sought = Sought(tuple(linear), x, np.asarray(wanted.reach, dtype=float), in_ln=problem.span.low[0] > 0)
    if len(sought) == 0:
        return Intervals({name: found[name] for name in names}, [], [])
    parts = [
        *([_coefficients(problem, solution, scale, linear, wanted.box)] if linear else []),
        *([_predictions(problem, solution, scale, x)] if len(x) else []),
        *([_reaches(problem, solution, scale, sought)] if len(sought.targets) else []),
    ]
    lanes: Lanes = PackedLanes(problem, sought) if problem.objective.log else HeldLanes(problem, sought)
    edges = SearchEdges(law.search_box(problem.span), _open_at_edges(law, linear))
    known = wanted.known_ends(linear, edges)
    walked = both_ends(Numbers.together(parts), lanes, least=solution.objective, known=known)
    found |= _profiles(walked, linear, wanted.extras(law), edges)
    ends, best = walked.ranges(), walked.numbers.best
    first, last = len(linear), len(linear) + len(x)
    if sought.in_ln:
        ends[last:] = np.exp(ends[last:])
    reached = [law.invert(problem.coefficients_of(solution), value) for value in wanted.reach]
    return Intervals(
        {name: found[name] for name in names},
        [Interval(float(best[i]), *map(float, ends[i])) for i in range(first, last)],
        [Interval(float(value), *map(float, end)) for value, end in zip(reached, ends[last:], strict=True)],
    )


def derived(law: Law, profiles: Mapping[str, Profile]) -> dict[str, Interval]:
    """The numbers that follow from one coefficient each, with the ends of its profile; NaN at an open side."""
    found = {}
    for each in law.derived:
        if (profile := profiles.get(each.of)) is not None:
            low, high = profile.ends
            found[each.name] = Interval(each.value(profile.value), each.value(high), each.value(low))
    return found


def _open_at_edges(law: Law, names: Sequence[str]) -> np.ndarray:
    """Which coefficients are open where another search coordinate is at its edge, shape (K,)."""
    return np.array(
        [name not in law.exponents and name not in dict(law.limits) for name in names], dtype=bool
    )


def _profiles(
    walked: Walked, names: Sequence[str], extras: tuple[Collection[str], Collection[str]], edges: SearchEdges
) -> dict[str, Profile]:
    """The profiles of the first numbers of a walk, with the objective and one-sided bounds of those of `extras`."""
    every = np.arange(len(names))
    shown, bounded = ([i for i in every.tolist() if names[i] in wanted] for wanted in extras)
    theta = (walked.low.theta[every], walked.high.theta[every])
    stopped = np.array([edges.reached(every, each).any(axis=(1, 2)) for each in theta])
    bounds = walked.one_sided(np.array(bounded, dtype=int)) if bounded else {}
    curves = dict(zip(shown, walked.curve(shown), strict=True)) if shown else {}
    return {
        name: Profile(
            name, float(walked.numbers.best[i]), float(walked.low.value[i]), float(walked.high.value[i]),
            bool(walked.low.is_open[i] or stopped[0, i]), bool(walked.high.is_open[i] or stopped[1, i]),
            not walked.inside[i], float(walked.level[i]),
            curves.get(i, ()), bounds.get(i, math.nan),
        )
        for i, name in enumerate(names)
    }  # fmt: skip


def _coefficients(
    problem: Problem, solution: Solution, scale: NoiseScale, names: Sequence[str], box: tuple[float, float]
) -> Numbers:
    """Coefficients that are linear in the linear ones, or logarithms of such."""
    law, values = problem.law, problem.coefficients_of(solution)
    levels = {name: float(np.dot(weights, solution.linear)) for name, weights in law.limits}
    best = np.array([levels.get(name, values.get(name, math.nan)) for name in names])
    slopes = [gradients.of_coefficient(problem, solution, name) for name in names]
    steps, rises = _sizes(scale, slopes, problem.y_range)
    edges = np.empty((len(names), 2))
    for i, name in enumerate(names):
        far = FARTHEST * max(problem.y_range, steps[i])
        if law.kind_of(name) == LOG_LINEAR:
            far = FARTHEST_LN / abs(law.parameter(name).power)
        physical = box if name in levels else law.parameter(name).box
        edges[i] = sorted(
            end if math.isfinite(end) else best[i] + math.copysign(far, end) for end in physical
        )
    return Numbers(best, *_starts(problem, solution, scale, slopes), steps, rises, edges)


def _predictions(problem: Problem, solution: Solution, scale: NoiseScale, x: Array) -> Numbers:
    best, table = gradients.of_predictions(problem, solution, x)
    slopes = list(table)
    steps, rises = _sizes(scale, slopes, problem.y_range)
    far = FARTHEST * problem.y_range
    edges = np.stack([best - far, best + far], axis=1)
    return Numbers(best, *_starts(problem, solution, scale, slopes), steps, rises, edges)


def _reaches(problem: Problem, solution: Solution, scale: NoiseScale, sought: Sought) -> Numbers:
    """The x, or ln x, at which values are reached; far away where the curve never does."""
    law, values, count = problem.law, problem.coefficients_of(solution), len(sought.targets)
    low, high, width = problem.span.low[0], problem.span.high[0], problem.span.width()
    edges = (math.log(low / REACH_BEFORE), math.log(high * REACH_BEYOND)) if sought.in_ln else (
        low - REACH_BEFORE * width, high + REACH_BEFORE * width
    )  # fmt: skip
    reached = np.array([law.invert(values, target) for target in sought.targets.tolist()], dtype=float)
    # A value that the curve nears without end, or never takes, is sought from where it goes.
    reached = np.where(np.isnan(reached), -math.inf if law.forward == FALLING else math.inf, reached)
    with np.errstate(divide="ignore"):
        best = np.log(np.maximum(reached, 0.0)) if sought.in_ln else reached
    place = np.clip(best, *edges)
    at, unit = (np.exp(place), 1.0) if sought.in_ln else (place, width)
    slopes = list(gradients.of_predictions(problem, solution, at)[1])
    steps, rises = _sizes(scale, slopes, problem.y_range)
    steep = np.abs(np.asarray(law.slope(values, at), dtype=float)) * (at if sought.in_ln else 1.0)
    steps = np.clip(np.divide(steps, steep, out=np.full(count, unit), where=steep > 0), 1e-6 * unit, unit)
    starts, _ = _starts(problem, solution, scale, slopes)
    return Numbers(best, starts, np.zeros_like(starts), steps, rises, np.tile(edges, (count, 1)))


def _nonlinear(
    problem: Problem,
    solution: Solution,
    scale: NoiseScale,
    names: Sequence[str],
    wanted: Wanted,
) -> dict[str, Profile]:
    """Profiles of nonlinear coefficients, walked in coordinates of the coefficients themselves."""
    law = InCoefficients(problem.law, problem.span)
    which = np.array([law.names.index(name) for name in names])
    theta, values = law.places(solution.theta, problem.span), problem.coefficients_of(solution)
    slopes = [
        gradients.of_coefficient(problem, solution, name) / (values[name] if law.signs[name] else 1.0)
        for name in names
    ]
    steps, rises = _sizes(scale, slopes, 1.0)
    other = problem.in_law(law)
    lanes: Lanes = (
        PackedLanes(other, which=which) if problem.objective.log else CoordinateLanes(other, law, which)
    )
    steps = np.minimum(steps, np.ptp(law.box, axis=1)[which] / 4)
    starts, tangents = _starts(problem, solution, scale, slopes)
    count, small = len(theta), 1e-6
    nearby = law.places(solution.theta + small * tangents[:, :count], problem.span)
    starts[:, :count], tangents[:, :count] = theta, (nearby - theta) / small
    numbers = Numbers(theta[which], starts, tangents, steps, rises, law.box[which])
    edges = SearchEdges(law.box, _open_at_edges(problem.law, names), which)
    known = wanted.known_ends(names, edges, law)
    walked = both_ends(numbers, lanes, least=solution.objective, known=known)
    found = _profiles(walked, names, wanted.extras(problem.law), edges)
    return {name: _of_coefficient(one, law) for name, one in found.items()}


def _of_coefficient(profile: Profile, law: InCoefficients) -> Profile:
    """A profile over a coordinate, its values those of the coefficient."""
    sign = law.signs[profile.name]

    def value(place: float) -> float:
        return sign * math.exp(place) if sign else place

    low, high = sorted((value(profile.low), value(profile.high)))
    is_open = (profile.open_high, profile.open_low) if sign < 0 else (profile.open_low, profile.open_high)
    curve = tuple(sorted((value(place), objective) for place, objective in profile.curve))
    return Profile(
        profile.name, value(profile.value), low, high, *is_open, profile.excluded, profile.level, curve,
        value(profile.one_sided),
    )  # fmt: skip


def _sizes(scale: NoiseScale, slopes: Sequence[Array], unit: float) -> tuple[Array, Array]:
    """First steps (K,) and rises (2, K) of numbers with the given derivatives."""
    rises = np.array([[scale.rise(one, sides=sides) for one in slopes] for sides in (2, 1)]).reshape(
        2, len(slopes)
    )
    squares = np.array([float(one @ scale.covariance @ one) for one in slopes])
    half = np.sqrt(np.maximum(rises[0] / scale.weight * squares, 0.0))
    return FIRST_STEP * np.where(np.isfinite(half) & (half > 0), half, 1e-3 * unit), rises


def _starts(
    problem: Problem, solution: Solution, scale: NoiseScale, slopes: Sequence[Array]
) -> tuple[Array, Array]:
    """Coordinates of lanes at the best fit, and how they move with numbers of the given derivatives, (K, k) each."""
    count = len(solution.theta) + (len(solution.linear) if problem.objective.log else 0)
    place = np.concatenate([solution.theta, solution.linear])[:count]
    ways = np.array([scale.covariance @ one for one in slopes]).reshape(
        len(slopes), scale.covariance.shape[0]
    )
    gains = np.array([float(one @ way) for one, way in zip(slopes, ways, strict=True)])
    tangents = np.divide(ways, gains[:, None], out=np.zeros_like(ways), where=gains[:, None] > 0)
    return np.tile(place, (len(slopes), 1)), np.nan_to_num(tangents[:, :count])
