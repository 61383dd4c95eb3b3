"""Whether the data say where a curve ends: identified, weakly identified, or not identified, with the reason.

The words follow from numbers alone: the profile of the asymptote within its physical box, that of the
exponents, the edges of the search and the conditioning of the problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsity_lab.fitting.uncertainty.intervals import Profile

IDENTIFIED, WEAK, NOT = "identified", "weakly identified", "not identified"
WORST_CONDITION = 1e8


@dataclass(frozen=True)
class Verdict:
    """The word, why, and a one-sided bound where that is all the data say.

    Attributes:
        describes: whether the law can describe the points at all; where it cannot, its coefficients mean nothing.
    """

    word: str
    reason: str
    bound: str | None = None
    describes: bool = True


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        asymptote: its profile, or None for a law without one. exponents: theirs.
        box: the physical range of the asymptote. y_range: largest less smallest y of the points used.
        edges: names of search coordinates at the edge. condition: of the scaled Jacobian.
        limitless_rival: a law without a limit whose AICc is as good, or None.
        better_rival: a law that fits far better and by how much, or None.
        misfit: why the law cannot describe the points (`shape`), or None.
    """

    asymptote: Profile | None
    exponents: tuple[Profile, ...]
    box: tuple[float, float]
    y_range: float
    condition: float
    at_edge: bool
    limitless_rival: str | None
    better_rival: str | None
    misfit: str | None = None


def judge(evidence: Evidence) -> Verdict:
    """The verdict, its reason and the bound."""
    if evidence.misfit is not None:
        return Verdict(NOT, evidence.misfit, describes=False)
    if reason := _fatal(evidence):
        return Verdict(NOT, reason, bound(evidence.asymptote))
    if reason := _weakness(evidence):
        return Verdict(WEAK, reason)
    return Verdict(
        IDENTIFIED, "the profile is closed within the physical range and narrower than the data's own range"
    )


def bound(profile: Profile | None) -> str | None:
    """The one-sided statement, at 95 %, that an open profile still allows."""
    if profile is None or math.isnan(profile.one_sided):
        return None
    return f"{profile.name} {'<=' if profile.open_low else '>='} {profile.one_sided:.3g}"


def _fatal(evidence: Evidence) -> str | None:
    limit = evidence.asymptote
    if evidence.y_range == 0:
        return "the values do not change at all: there is nothing for a law to explain"
    if limit is not None:
        low, high = evidence.box
        if not low <= limit.value <= high:
            return (
                f"the best {limit.name} is {limit.value:.3g}, outside the physical range {low:g} to {high:g}"
            )
        if limit.open_low or limit.open_high:
            both = limit.open_low and limit.open_high
            side = "on both sides" if both else "below" if limit.open_low else "above"
            return f"the profile of {limit.name} is open {side}"
    if evidence.condition > WORST_CONDITION or not math.isfinite(evidence.condition):
        return f"the coefficients are not separable (condition number {evidence.condition:.1g})"
    return None


def _weakness(evidence: Evidence) -> str | None:
    limit = evidence.asymptote
    if limit is not None and limit.high - limit.low > evidence.y_range:
        return (
            f"the interval of {limit.name} is {limit.high - limit.low:.2g} wide, "
            f"the data themselves span only {evidence.y_range:.2g}"
        )
    for exponent in evidence.exponents:
        if not exponent.closed:
            return f"the profile of {exponent.name} is open {'below' if exponent.open_low else 'above'}"
    if evidence.at_edge:
        return "the best fit lies at the edge of the search range"
    if evidence.limitless_rival is not None:
        return f"a law without a limit ({evidence.limitless_rival}) explains the points as well (AICc)"
    if evidence.better_rival is not None:
        return f"another law explains the points far better ({evidence.better_rival}): the form is in doubt"
    return None
