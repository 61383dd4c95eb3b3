"""Whether the data say where a curve ends: identified, weakly identified, or not identified, with the reason.

The words follow from numbers alone: the profiles of the levels that the curve tends to, within their physical range,
and of the exponents; the edges of the search; the conditioning of the problem; the rivals; and the tests of `checks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sparsity_lab.fitting.judge.checks import Checks
from sparsity_lab.fitting.judge.windows import Drift, Window
from sparsity_lab.fitting.uncertainty.intervals import Profile

IDENTIFIED, WEAK, NOT = "identified", "weakly identified", "not identified"
WORST_CONDITION = 1e8
LOOSE = 5.0  # ratio of an interval's ends from which on a scale is known to its order of magnitude alone
NO_CHECKS = Checks()


@dataclass(frozen=True)
class Verdict:
    """The word, why, and a one-sided bound where that is all the data say.

    Attributes:
        describes: whether the law can describe the points at all; where it cannot, its coefficients mean nothing.
        checks: tests of the limit and the noise.
    """

    word: str
    reason: str
    bound: str | None = None
    describes: bool = True
    checks: Checks = field(default=NO_CHECKS, compare=False)


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        asymptote: its profile, or None for a law without one. exponents: theirs.
        box: the physical range of the asymptote. y_range: largest less smallest y of the points used.
        condition: of the scaled Jacobian. at_edge: whether a search coordinate lies at the edge of its range.
        limitless_rival: a law without a limit whose AICc is as good, or None.
        better_rival: a law that fits far better and by how much, or None.
        misfit: why the law cannot describe the points (`shape`), or None.
        others: of all coefficients, which count where a law has neither a limit nor exponents.
        scales: profiles of coefficients above zero that are not exponents, which count where a law has no level.
        bend: how the points bend where the law cannot (`shape`), or None.
        ends: profiles of further levels that the curve tends to, such as the score of a perfect model.
        checks: tests of the limit and the noise.
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
    ends: tuple[Profile, ...] = ()
    others: tuple[Profile, ...] = ()
    scales: tuple[Profile, ...] = ()
    bend: str | None = None
    checks: Checks = field(default=NO_CHECKS, compare=False)

    @property
    def shape(self) -> tuple[Profile, ...]:
        """Profiles of the exponents, or of all coefficients of a law without limit and exponents."""
        return self.exponents or (() if self.levels else self.others)

    @property
    def levels(self) -> tuple[Profile, ...]:
        """Profiles of all levels that the curve tends to."""
        return self.ends if self.asymptote is None else (self.asymptote, *self.ends)


def judge(evidence: Evidence) -> Verdict:
    """The verdict, with all of its reasons, and the bound."""
    checks = evidence.checks
    if evidence.misfit is not None:
        return Verdict(NOT, evidence.misfit, describes=False, checks=checks)
    form = _form(evidence)
    if reason := _fatal(evidence):
        return Verdict(NOT, "; ".join((reason, *form)), bound(evidence.levels), checks=checks)
    if reasons := (*_weaknesses(evidence), *form):
        return Verdict(WEAK, "; ".join(reasons), checks=checks)
    return Verdict(IDENTIFIED, _grounds(evidence), checks=checks)


def bound(levels: tuple[Profile, ...]) -> str | None:
    """The one-sided statement, at 95 %, that open profiles still allow."""
    bounds = [
        f"{level.name} {'<=' if level.open_low else '>='} {level.one_sided:.3g}"
        for level in levels
        if not math.isnan(level.one_sided)
    ]
    return " and ".join(bounds) or None


def _grounds(evidence: Evidence) -> str:
    """Why a fit is identified: what was profiled, and what was seen of the window."""
    if not evidence.levels:
        return f"the profiles of {', '.join(profile.name for profile in evidence.shape)} are closed"
    closed = "the profile is closed within the physical range and narrower than the data's own range"
    parts = " and ".join(window.percent for window in evidence.checks.windows)
    return f"{closed}, and the first {parts} of the points agree with it" if parts else closed


def _fatal(evidence: Evidence) -> str | None:
    if evidence.y_range == 0:
        return "the values do not change at all: there is nothing for a law to explain"
    for level in evidence.levels:
        if reason := _unbounded(level, evidence.box):
            return reason
    if evidence.condition > WORST_CONDITION or not math.isfinite(evidence.condition):
        return f"the coefficients are not separable (condition number {evidence.condition:.1g})"
    return None


def _unbounded(level: Profile, box: tuple[float, float]) -> str | None:
    """Why the data do not say where the curve tends to at one end, or None."""
    low, high = box
    if not low <= level.value <= high:
        return f"the best {level.name} is {level.value:.3g}, outside the physical range {low:g} to {high:g}"
    if level.open_low or level.open_high:
        both = level.open_low and level.open_high
        side = "on both sides" if both else "below" if level.open_low else "above"
        return f"the profile of {level.name} is open {side}"
    return None


def _weaknesses(evidence: Evidence) -> list[str]:
    """Every reason for which the limit is less sure than its profile."""
    reasons = []
    for level in evidence.levels:
        if level.high - level.low > evidence.y_range:
            width = f"{level.high - level.low:.2g} wide, the data themselves span only {evidence.y_range:.2g}"
            reasons.append(f"the interval of {level.name} is {width}")
    for profile in evidence.shape:
        if not profile.closed:
            side = "below" if profile.open_low else "above"
            reasons.append(f"the profile of {profile.name} is open {side}")
    for profile in () if evidence.levels else evidence.scales:
        if profile.closed and profile.high > LOOSE * profile.low:
            ends = f"{profile.low:.3g} to {profile.high:.3g}"
            reasons.append(
                f"{profile.name} is known to a factor of {profile.high / profile.low:.1f} only, {ends}"
            )
    if not evidence.levels and not evidence.shape:
        reasons.append("no coefficient of the law has a profile, so nothing says how far the points bound it")
    if evidence.at_edge:
        reasons.append("the best fit lies at the edge of the search range")
    if evidence.checks.correlation is not None:
        reasons.append(evidence.checks.correlation)
    # The last level is the far end where there are several: that of the largest models.
    reasons += _moves(evidence.levels[-1:], evidence.checks.windows, evidence.checks.drift)
    if evidence.limitless_rival is not None:
        reasons.append(
            f"a law without a limit ({evidence.limitless_rival}) explains the points as well (AICc)"
        )
    return reasons


def _moves(far: tuple[Profile, ...], windows: tuple[Window, ...], drift: Drift | None) -> list[str]:
    """Why the limit, the level at the far end, depends on where the points end."""
    if not far:
        return []
    limit = far[0]
    apart = [window for window in windows if not window.agrees]
    told = " and ".join(
        f"by the first {window.percent} of the points {limit.name} is {window.value:.3g} "
        f"[{window.low:.3g}, {window.high:.3g}]"
        for window in apart
    )
    reasons = [f"the limit moves with the window: {told}, by all {limit.value:.3g}"] if apart else []
    if drift is not None and drift.found:
        reasons.append(
            f"the points drift away from the law (a term in the logarithm of x, p = {drift.p:.2g}), "
            f"and {limit.name} with them"
        )
    return reasons


def _form(evidence: Evidence) -> list[str]:
    """Why the form of the law is in doubt."""
    reasons = [] if evidence.bend is None else [evidence.bend]
    if evidence.better_rival is not None:
        reasons.append(
            f"another law explains the points far better ({evidence.better_rival}): the form is in doubt"
        )
    return reasons
