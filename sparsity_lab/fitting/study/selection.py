"""Which runs answer which question, found from their sizes and shapes rather than from their names."""

from __future__ import annotations

from collections.abc import Sequence

from sparsity_lab.fitting.study.curves import RunCurve

SAME_SIZE = 1.5  # parameters within this factor count as one size


def rules(curves: Sequence[RunCurve]) -> list[str]:
    """All rules, in their order."""
    return list(dict.fromkeys(curve.rule for curve in curves))


def activations(curves: Sequence[RunCurve]) -> list[str]:
    """All activations, in their order."""
    return list(dict.fromkeys(curve.activation for curve in curves))


def of(
    curves: Sequence[RunCurve], *, rule: str | None = None, activation: str | None = None
) -> list[RunCurve]:
    """The curves of a rule, an activation, or both."""
    return [
        curve for curve in curves if rule in (None, curve.rule) and activation in (None, curve.activation)
    ]


def sizes(curves: Sequence[RunCurve]) -> list[list[RunCurve]]:
    """Curves of one size together, smallest first; a size spans at most a factor `SAME_SIZE`."""
    groups: list[list[RunCurve]] = []
    for curve in sorted(curves, key=lambda curve: curve.parameters):
        if groups and curve.parameters <= SAME_SIZE * groups[-1][0].parameters:
            groups[-1].append(curve)
        else:
            groups.append([curve])
    return groups


def one_a_size(curves: Sequence[RunCurve]) -> list[RunCurve]:
    """Of each size the run trained on most tokens: the family along which size alone is meant to change.

    Where several runs of one size differ in shape, the longest is the one the ladder treats as its main run.
    """
    return [max(group, key=lambda curve: float(curve.tokens[-1])) for group in sizes(curves)]


def shapes(curves: Sequence[RunCurve]) -> list[RunCurve]:
    """The size and activation with most width-depth ratios, by ratio; empty with fewer than three.

    Of several runs of one ratio the one trained on most tokens counts.
    """
    groups = [
        _one_a_ratio(group)
        for activation in activations(curves)
        for group in sizes(of(curves, activation=activation))
    ]
    best = max(groups, key=len, default=[])
    return best if len(best) > 2 else []


def _one_a_ratio(curves: Sequence[RunCurve]) -> list[RunCurve]:
    longest: dict[float, RunCurve] = {}
    for curve in curves:
        longer_one = longest.get(curve.width_depth_ratio)
        if longer_one is None or curve.tokens[-1] > longer_one.tokens[-1]:
            longest[curve.width_depth_ratio] = curve
    return [longest[ratio] for ratio in sorted(longest)]


def twins(curves: Sequence[RunCurve]) -> list[list[RunCurve]]:
    """Groups of runs of one shape that differ in their activation."""
    groups: dict[tuple[int, int, float], list[RunCurve]] = {}
    for curve in curves:
        groups.setdefault(curve.shape, []).append(curve)
    several = [group for group in groups.values() if len({curve.activation for curve in group}) > 1]
    return sorted(several, key=lambda group: group[0].parameters)
