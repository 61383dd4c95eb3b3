"""Writes families.json and families.md; says what the figure of limits against parameters shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sparsity_lab.fitting.data.names import limits_name
from sparsity_lab.fitting.judge.verdict import IDENTIFIED
from sparsity_lab.fitting.reproduce import families
from sparsity_lab.fitting.reproduce.families import Bottleneck, Limit, ScaleFit
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.store.records import write_json, write_text
from sparsity_lab.store.results import plain
from sparsity_lab.store.tables import number, to_markdown

SCALE = ("activation", "runs", "a", "s", "low", "high", "p_value", "finding")
PAIR = ("parameters", "first", "second", "difference", "low", "high", "ratio")
END, LEFT = "tokens per parameter at the end", "left to the limit"


def write(results: Sequence[FitResult], folder: Path) -> None:
    """Write what the runs say together; nothing where no two have a known size.

    Runs measured by different rules are different quantities: each rule has a section of its own.
    """
    known = _quantities(results)
    if not known:
        return
    found, parts = [], []
    for quantity, own in known.items():
        entry, text = _family(own, title=" ".join(_named(quantity, list(known))))
        found.append({"quantity": list(quantity), **entry})
        parts.append(text)
    alone = {key: value for key, value in found[0].items() if key != "quantity"}
    write_json(folder / "families.json", plain(alone if len(known) == 1 else {"quantities": found}))
    write_text(folder / "families.md", "\n".join(parts))


def shown(results: Sequence[FitResult], folder: Path) -> dict[Path, list[Limit]]:
    """The figures to draw, each by its files without their endings: the limits of a quantity at several sizes."""
    known = _quantities(results)
    names = (limits_name("-".join(_named(quantity, list(known)))) for quantity in known)
    limits = map(families.with_sizes, map(families.limits, known.values()))
    return {folder / "plots" / name: own for name, own in zip(names, limits, strict=True) if own}


def _quantities(results: Sequence[FitResult]) -> dict[tuple[str, ...], list[FitResult]]:
    """Quantity -> its fits, of those with two limits at a known size or more."""
    groups: dict[tuple[str, ...], list[FitResult]] = {}
    for result in results:
        groups.setdefault(result.series.quantity, []).append(result)
    return {key: own for key, own in groups.items() if len(families.limits(own)) >= 2}


def _named(quantity: tuple[str, ...], among: Sequence[tuple[str, ...]]) -> list[str]:
    """The parts of a quantity's name that tell it from the others."""
    return [
        part for i, part in enumerate(quantity) if len({one[i] if i < len(one) else "" for one in among}) > 1
    ]


def _family(results: Sequence[FitResult], *, title: str) -> tuple[dict[str, object], str]:
    """Entry and text of the runs of one quantity."""
    limits = families.limits(results)
    scale = families.against_scale(limits)
    speeds = [one for result in results if (one := families.speed(result)) is not None]
    pairs, shape = families.pairs(limits), _shape(results)
    found: dict[str, object] = {
        "limits": [asdict(one) for one in limits],
        "against_scale": [asdict(one) for one in scale],
        "width_depth": None if shape is None else asdict(shape),
        "convergence": [asdict(one) for one in speeds],
        "activations": [asdict(one) for one in pairs],
    }
    return found, _markdown(scale, shape, speeds, pairs, title=title)


def _shape(results: Sequence[FitResult]) -> Bottleneck | None:
    """The width-depth question, where at least five runs of different ratio have an identified limit."""
    sure = [
        (r.series.width_depth_ratio, r.coefficients[r.law.asymptote])
        for r in results
        if r.verdict.word == IDENTIFIED and r.law.asymptote and r.series.width_depth_ratio is not None
    ]
    if len({ratio for ratio, _ in sure}) < 5:
        return None
    ratios = np.array([ratio for ratio, _ in sure], dtype=float)
    se = np.array([one.high - one.low for _, one in sure])
    return families.width_depth(ratios, np.array([one.value for _, one in sure]), se=se)


def _markdown(
    scale: Sequence[ScaleFit],
    shape: Bottleneck | None,
    speeds: Sequence[families.Speed],
    pairs: Sequence[families.Pair],
    *,
    title: str,
) -> str:
    marks = [f"at {m:g} tokens per parameter" for m in families.TOKENS_PER_PARAMETER]
    convergence = to_markdown([_speed_row(speed, marks) for speed in speeds], ["series", *marks, END, LEFT])
    lines = [
        "# What the runs say together" + (f": {title}" if title else ""), "",
        "## Limits against parameters", "",
        "A0 = a + s ln N over limits bounded on both sides; N in parameters/1e9.", "",
        to_markdown([asdict(fit) for fit in scale], SCALE) if scale else "Fewer than three sizes have such a limit.",
    ]  # fmt: skip
    if shape is not None:
        table = to_markdown([asdict(shape)], list(asdict(shape)))
        lines += ["", "## Limits against the width-depth ratio", "", table]
    meaning = "Change of the activation ratio per doubling of data, by the law."
    lines += ["", "## Convergence", "", meaning, "", convergence]
    if pairs:
        table = to_markdown([asdict(pair) for pair in pairs], PAIR)
        lines += ["", "## Activations at equal parameters", "", "Second less first.", "", table]
    return "\n".join(lines)


def _speed_row(speed: families.Speed, marks: Sequence[str]) -> dict[str, object]:
    slopes = {mark: _slope(value) for mark, (_, value) in zip(marks, speed.per_doubling, strict=True)}
    left = f"{number(100 * speed.remaining, 3)} %" if math.isfinite(speed.remaining) else "unknown"
    return {"series": speed.series, **slopes, END: speed.end_tokens_per_parameter, LEFT: left}


def _slope(value: float) -> str:
    return number(value, 3) if math.isfinite(value) else "no data there"
