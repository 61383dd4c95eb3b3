"""How the ratio depends on size: of the limits that are identified, and of values at equal tokens a parameter.

A limit is an extrapolation and often not identified; the value at equal tokens per parameter is measured. Both
are put against ln N, one run a size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsity_lab.fitting.data.text_parts import TextParts
from sparsity_lab.fitting.judge.slopes import Trend, line
from sparsity_lab.fitting.study import selection, trends
from sparsity_lab.fitting.study.curves import FIXED, RunCurve

NOT_IDENTIFIED = "not identified"


@dataclass(frozen=True)
class Fitted:
    """What the laws say of one run: the law, its verdict, its limit with a 95 % interval (None: open)."""

    law: str
    verdict: str
    reason: str
    bound: str | None
    limit: float | None
    low: float | None
    high: float | None
    best: str
    ties: tuple[str, ...]

    @property
    def bounded(self) -> bool:
        """Whether the data bound the limit on both sides."""
        return self.verdict != NOT_IDENTIFIED and None not in (self.limit, self.low, self.high)


@dataclass(frozen=True)
class Sized:
    """One size: its value at the common tokens per parameter, and its limit where there is one."""

    rule: str
    activation: str
    run: str
    parameters: float
    tokens_per_parameter: float
    ratio: float
    se: float
    text: TextParts
    fitted: Fitted | None


@dataclass(frozen=True)
class AgainstSize:
    """Slopes against ln N with 95 % intervals; `limits` over the sizes whose limit is bounded."""

    rule: str
    activation: str
    sizes: int
    tokens_per_parameter: float
    values: Trend
    limits: Trend


def fits_of(
    entries: Sequence[Mapping[str, Any]], curves: Sequence[RunCurve]
) -> dict[tuple[str, str], Fitted]:
    """(run, rule) -> what fits.json says of it; `sparsity-lab fit` names a series by its run, or run and rule."""
    fits = {}
    for curve in curves:
        for entry in entries:
            series = str(entry["series"])
            if (
                series == curve.run
                if curve.rule.startswith(FIXED)
                else series.startswith(f"{curve.run}-{curve.rule}")
            ):
                fits[curve.run, curve.rule] = _fitted(entry)
    return fits


def sized(curves: Sequence[RunCurve], fits: Mapping[tuple[str, str], Fitted]) -> list[Sized]:
    """One run a size for every rule and activation, at the most tokens a parameter that all sizes have."""
    sizes = []
    for rule in selection.rules(curves):
        for activation in selection.activations(curves):
            family = selection.one_a_size(selection.of(curves, rule=rule, activation=activation))
            if len(family) < 2:
                continue
            mark = min(float(curve.tokens_per_parameter[-1]) for curve in family)
            for curve in family:
                if (at := curve.at_tokens(mark * curve.parameters)) is not None:
                    fitted = fits.get((curve.run, rule))
                    sizes.append(
                        Sized(
                            rule, activation, curve.run, curve.parameters, mark, at.ratio, at.se, at.text, fitted
                        )
                    )  # fmt: skip
    return sizes


def against_size(sizes: Sequence[Sized]) -> list[AgainstSize]:
    """The slopes of all rules and activations with three sizes or more."""
    groups: dict[tuple[str, str], list[Sized]] = {}
    for size in sizes:
        groups.setdefault((size.rule, size.activation), []).append(size)
    return [_against(group) for group in groups.values() if len(group) >= trends.FEWEST]


def _against(sizes: Sequence[Sized]) -> AgainstSize:
    first = sizes[0]
    values = line(
        np.log([size.parameters for size in sizes]),
        np.array([size.ratio for size in sizes]),
        np.array([size.se for size in sizes]),
        TextParts.together([size.text for size in sizes]),
    )
    sure = [
        (size.parameters, size.fitted) for size in sizes if size.fitted is not None and size.fitted.bounded
    ]
    limits = line(
        np.log(np.array([n for n, _ in sure])),
        np.array([fit.limit for _, fit in sure], dtype=float),
        np.array([((fit.high or 0.0) - (fit.low or 0.0)) / 3.92 for _, fit in sure]),
    )
    return AgainstSize(first.rule, first.activation, len(sizes), first.tokens_per_parameter, values, limits)


def _fitted(entry: Mapping[str, Any]) -> Fitted:
    limit = entry["coefficients"].get("A0") or entry["coefficients"].get("P") or {}
    rivals = entry["rivals"]
    return Fitted(
        law=str(entry["law"]),
        verdict=str(entry["verdict"]),
        reason=str(entry["reason"]),
        bound=entry["bound"],
        limit=limit.get("value"),
        low=limit.get("low"),
        high=limit.get("high"),
        best=str(rivals["best_by_aicc"]),
        ties=tuple(rivals["aicc_ties"]),
    )
