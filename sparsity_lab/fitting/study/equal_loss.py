"""Activations compared at equal loss: the ratio of each run, interpolated where its dense loss is the same.

Runs of one shape are compared, on the text they were all measured on, so that the loss axis is common to
them. The ratio is linear in loss between checkpoints. Errors are those of the ratios, and of their difference on one
text where the parts that both share are known; one run an activation says nothing about how another seed would come
out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.quantiles import normal_quantile
from sparsity_lab.fitting.study import selection
from sparsity_lab.fitting.study.curves import Between, RunCurve

LEVELS = (0.0, 0.5, 1.0)  # of the losses both have, from the highest to the lowest
SPARSER, DENSER, TIED = "sparser", "denser", "not told apart"
HALF = normal_quantile(0.975)


@dataclass(frozen=True)
class AtLoss:
    """One activation at a loss all of its group have. `tokens` it needed to get there."""

    parameters: float
    rule: str
    loss_nats: float
    activation: str
    run: str
    ratio: float
    se: float
    tokens: float


@dataclass(frozen=True)
class Versus:
    """Another activation less the reference, at one loss, with its 95 % interval."""

    parameters: float
    rule: str
    loss_nats: float
    reference: str
    other: str
    reference_ratio: float
    other_ratio: float
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """The reference relative to the other."""
        return SPARSER if self.low > 0 else DENSER if self.high < 0 else TIED


def at_lowest_common_loss(curves: Sequence[RunCurve]) -> list[AtLoss]:
    """Every activation of every group of twins, rule by rule, at the lowest loss all of the group reached."""
    return [
        _at(curve, level)
        for group in _twins(curves)
        for level in common_losses(group)[-1:]
        for curve in group
    ]


def versus(curves: Sequence[RunCurve], *, reference: str) -> list[Versus]:
    """Every other activation against the reference, twin by twin, along the losses both have."""
    return [
        _pair(first, other, loss)
        for group in _twins(curves)
        for first in [curve for curve in group if curve.activation == reference][:1]
        for other in group
        if other.activation != reference
        for loss in common_losses([first, other])
    ]


def _twins(curves: Sequence[RunCurve]) -> Iterator[list[RunCurve]]:
    """Groups of runs that differ in their activation alone, rule by rule."""
    for rule in selection.rules(curves):
        yield from selection.twins(selection.of(curves, rule=rule))


def common_losses(curves: Sequence[RunCurve]) -> list[float]:
    """Losses, highest first, that lie inside the range of every curve; none where their ranges do not meet."""
    high = min(float(curve.loss_nats.max()) for curve in curves)
    low = max(float(curve.loss_nats.min()) for curve in curves)
    return [high + share * (low - high) for share in LEVELS] if low < high else []


def _at(curve: RunCurve, loss: float) -> AtLoss:
    there = _ratio(curve, loss)
    order = np.argsort(curve.loss_nats, kind="stable")
    ln_tokens = np.interp(loss, curve.loss_nats[order], np.log(curve.tokens)[order])
    return AtLoss(
        curve.parameters, curve.rule, loss, curve.activation, curve.run, there.ratio, there.se,
        float(np.exp(ln_tokens)),
    )  # fmt: skip


def _pair(reference: RunCurve, other: RunCurve, loss: float) -> Versus:
    first, second = _ratio(reference, loss), _ratio(other, loss)
    gap, half = second.ratio - first.ratio, _half(first, second)
    return Versus(
        reference.parameters, reference.rule, loss, reference.activation, other.activation, first.ratio,
        second.ratio, gap, gap - half, gap + half,
    )  # fmt: skip


def _half(first: Between, second: Between) -> float:
    """Half the interval of a difference, on one text where the parts of its errors are known."""
    if first.text.parts is None or second.text.parts is None:
        return HALF * math.hypot(first.se, second.se)
    return first.text.t * float(np.linalg.norm(first.text.parts - second.text.parts))


def _ratio(curve: RunCurve, loss: float) -> Between:
    ratio = curve.at_loss(loss)
    assert ratio is not None, "losses are taken inside the range of every curve"
    return ratio
