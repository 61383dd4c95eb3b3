"""Finds the knob at which a value grown with it meets its target, such as a loss rise of ln(1 + p).

The search runs on a coordinate x of the knob (its logarithm, say) in which ln(value) is nearly a straight
line; the secant is taken there and kept inside a bracket. A pilot on part of the text brings x close; the
whole text then needs two or three evaluations. The search stops where the sampling error of the value makes
more digits meaningless.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_EVALUATIONS = 8
LARGEST_STEP = math.log(4.0)
CLOSED = 1e-3
TIGHT = 1.6
WEAK = 0.25  # of the target: a noisy value below it says which way to go, not how far


@dataclass(frozen=True)
class Slope:
    """What is known beforehand of d ln(value) / dx.

    Attributes:
        guess: its typical size.
        factor: it lies within this factor of the guess.
        spread: points spread this widely in x count as much as the guess.
        exact: values have no noise, so that the ends of a bracket say where between them the target lies.
    """

    guess: float
    factor: float = 2.0
    spread: float = 0.3
    exact: bool = False


@dataclass(frozen=True)
class Point:
    """One evaluation: the knob's coordinate and the value there."""

    x: float
    value: float


@dataclass(frozen=True)
class Root:
    """Where a search ended.

    Attributes:
        points: every evaluation, in order.
        best: the one nearest the target.
        reached: whether the value ever came to the target.
        slope: d ln(value) / dx around the target.
        ahead: the x that would be tried next, nearer the target than any that was.
    """

    points: tuple[Point, ...]
    best: Point
    reached: bool
    slope: float
    ahead: float


@dataclass(frozen=True)
class RootSearch:
    """What is searched for, and what is known beforehand.

    Attributes:
        target: the value wanted, > 0.
        start: first x to try.
        ends: smallest and largest x allowed.
        tolerance: asked after each evaluation; a value this near the target ends the search.
        slope: what is known beforehand of d ln(value) / dx.
        most: evaluations at which to give up.
        enough: evaluations at which to stop where the target lies between two of them that are `TIGHT`: a noisy
            value that has not met it by then is estimated better by a fit to them all.
    """

    target: float
    start: float
    ends: tuple[float, float]
    tolerance: Callable[[], float]
    slope: Slope
    most: int = MOST_EVALUATIONS
    enough: int = MOST_EVALUATIONS

    def root(self, evaluate: Callable[[float], float]) -> Root:
        """Search the coordinate whose value is the target.

        Args:
            evaluate: x -> value, nearly increasing in x.
        """
        points: list[Point] = []
        x: float | None = min(max(self.start, self.ends[0]), self.ends[1])
        while x is not None and len(points) < self.most:
            points.append(Point(x, evaluate(x)))
            if self._met(points[-1]) or (
                len(points) >= self.enough and _tight(*_bracket(points, self.target))
            ):
                break
            x = self._ahead(points)[1]
        best = min(points, key=lambda point: abs(point.value - self.target))
        reached = self._met(best) or any(point.value >= self.target for point in points)
        slope, ahead = self._ahead(points)
        return Root(tuple(points), best, reached, slope, best.x if ahead is None else ahead)

    def _met(self, point: Point) -> bool:
        return abs(point.value - self.target) <= self.tolerance()

    def _ahead(self, points: list[Point]) -> tuple[float, float | None]:
        """The slope around the target, and the x to try next."""
        slope = local_slope(points, target=self.target, prior=self.slope)
        return slope, _next(points, target=self.target, slope=slope, ends=self.ends, exact=self.slope.exact)


def _bracket(points: list[Point], target: float) -> tuple[Point | None, Point | None]:
    """The furthest point below the target and the first one at or above it."""
    below = max((p for p in points if p.value < target), key=lambda p: p.x, default=None)
    above = min((p for p in points if p.value >= target), key=lambda p: p.x, default=None)
    return below, above


def _tight(below: Point | None, above: Point | None) -> bool:
    """Whether the values at both ends of a bracket are within a factor `TIGHT`: noise is no smaller then."""
    return below is not None and above is not None and 0 < above.value < TIGHT * below.value


def local_slope(points: list[Point], *, target: float, prior: Slope) -> float:
    """d ln(value) / dx around the target: least squares through the usable points, drawn toward the guess.

    A loss rise is noisy, and two near points say more of the noise than of the slope: hence the prior.
    """
    usable = [p for p in points if p.value > 0]
    if len(usable) < 2:
        return prior.guess
    weights = [1.0 / (1.0 + math.log(p.value / target) ** 2) for p in usable]
    total = sum(weights)
    mean_x = sum(w * p.x for w, p in zip(weights, usable, strict=True)) / total
    mean_y = sum(w * math.log(p.value) for w, p in zip(weights, usable, strict=True)) / total
    across = sum(w * (p.x - mean_x) ** 2 for w, p in zip(weights, usable, strict=True))
    along = sum(
        w * (p.x - mean_x) * (math.log(p.value) - mean_y) for w, p in zip(weights, usable, strict=True)
    )
    weight = prior.spread**2
    slope = (along + weight * prior.guess) / (across + weight)
    return min(max(slope, prior.guess / prior.factor), prior.guess * prior.factor)


def _next(
    points: list[Point], *, target: float, slope: float, ends: tuple[float, float], exact: bool
) -> float | None:
    """The next x to try, inside the bracket; None when the bracket has closed or an end was tried."""
    below, above = _bracket(points, target)
    nearest = min(points, key=lambda p: abs(p.value - target))
    if above is None:  # the furthest along: where nothing is dropped yet the values say nothing of distance
        nearest = below or nearest
    weak = 0.0 if exact else WEAK * target
    step = LARGEST_STEP
    if nearest.value > weak:
        step = math.log(target / nearest.value) / slope
    elif not exact:  # further each time
        step = math.log(1 / WEAK) / slope * 2 ** (sum(p.value <= weak for p in points) - 1)
    wanted = nearest.x + min(max(step, -LARGEST_STEP), LARGEST_STEP)
    wanted = min(max(wanted, ends[0]), ends[1])
    if below is not None and above is not None and below.x < above.x:
        if above.x - below.x < CLOSED:
            return None
        floor = max(below.value, weak)
        if floor > 0 and (exact or not _tight(below, above)):
            wanted = _between(Point(below.x, floor), above, points, target=target)
        elif not below.x + CLOSED / 5 < wanted < above.x - CLOSED / 5:
            wanted = (below.x + above.x) / 2
    return None if any(math.isclose(wanted, p.x, abs_tol=1e-6) for p in points) else wanted


def _between(below: Point, above: Point, points: list[Point], *, target: float) -> float:
    """Where the line through ln(value) at both ends of a bracket meets the target, kept off the ends.

    An end that stays while the other one moves again and again lies on another stretch of the curve: its distance
    is halved each time (the Illinois rule; Dowell and Jarratt 1971).
    """
    under, over = math.log(target / below.value), math.log(above.value / target)
    sides = [point.value < target for point in points]
    again = next((k for k, side in enumerate(reversed(sides)) if side != sides[-1]), len(sides)) - 1
    if sides[-1]:
        over *= 0.5**again
    else:
        under *= 0.5**again
    return below.x + min(max(under / (under + over), 0.1), 0.9) * (above.x - below.x)
