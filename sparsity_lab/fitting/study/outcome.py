"""Everything a study's curves say, computed once, and the tables it leaves.

directions      which way each run's ratio goes under each rule, and how its knob moves
segments        the same between marks of tokens per parameter, both rules beside each other
equal_loss      every activation at the lowest loss its group has in common
versus          each activation less the reference, along the losses both have
shapes          ratio against width-depth ratio at equal tokens; the input of the width-depth law
sizes           value at equal tokens per parameter, and limit, of one run a size
against_size    their slopes against ln N
losses-A        N, D and loss of one activation's sizes; the input of the loss law
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sparsity_lab.fitting.judge.slopes import Trend
from sparsity_lab.fitting.reproduce.families import Bottleneck
from sparsity_lab.fitting.study import equal_loss, scale, selection, shapes, trends
from sparsity_lab.fitting.study.curves import RunCurve
from sparsity_lab.fitting.study.equal_loss import AtLoss, Versus
from sparsity_lab.fitting.study.scale import AgainstSize, Fitted, Sized
from sparsity_lab.fitting.study.shapes import Shaped
from sparsity_lab.fitting.study.trends import Segment
from sparsity_lab.store.records import write_json
from sparsity_lab.store.results import plain
from sparsity_lab.store.table_columns.study import (
    AGAINST_SIZE,
    DIRECTIONS,
    EQUAL_LOSS,
    LOSS_POINTS,
    SEGMENTS,
    SHAPES,
    SIZES,
    VERSUS,
)
from sparsity_lab.store.tables import write_table

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class StudyOutcome:
    """What a study's curves say; see the module."""

    curves: tuple[RunCurve, ...]
    fits: Mapping[tuple[str, str], Fitted]
    segments: tuple[Segment, ...]
    at_loss: tuple[AtLoss, ...]
    versus: tuple[Versus, ...]
    shapes: tuple[Shaped, ...]
    sizes: tuple[Sized, ...]
    against_size: tuple[AgainstSize, ...]

    @property
    def reference(self) -> str:
        """The activation others are compared with."""
        return reference_of(self.curves)

    def shapes_of(self, rule: str) -> list[Shaped]:
        """The shapes under a rule."""
        return [shape for shape in self.shapes if shape.rule == rule]

    def bottleneck(self, rule: str) -> Bottleneck | None:
        """Whether the shapes are flat, straight or bent under a rule."""
        return shapes.bottleneck(self.shapes_of(rule))


def reference_of(curves: Sequence[RunCurve]) -> str:
    """ReLU where there is one, otherwise the first activation."""
    kinds = selection.activations(curves)
    return "relu" if "relu" in kinds else kinds[0]


def outcome(
    curves: Sequence[RunCurve], entries: Sequence[Mapping[str, object]], *, edges: Sequence[float]
) -> StudyOutcome:
    """Answer every question.

    Args:
        curves: all runs under all rules.
        entries: those of the fits.json of these curves.
        edges: of the segments, in tokens per parameter.
    """
    fits = scale.fits_of(entries, curves)
    sized = scale.sized(curves, fits)
    return StudyOutcome(
        curves=tuple(curves),
        fits=fits,
        segments=tuple(trends.segments(curves, edges)),
        at_loss=tuple(equal_loss.at_lowest_common_loss(curves)),
        versus=tuple(equal_loss.versus(curves, reference=reference_of(curves))),
        shapes=tuple(shapes.at_common_tokens(curves)),
        sizes=tuple(sized),
        against_size=tuple(scale.against_size(sized)),
    )


def write_tables(outcome: StudyOutcome, folder: Path) -> None:
    """Write every table as CSV and Markdown, and compare.json with all of them."""
    tables = {
        DIRECTIONS: [direction(outcome, curve) for curve in outcome.curves],
        SEGMENTS: [row for segment in outcome.segments for row in _segment(segment)],
        EQUAL_LOSS: [asdict(point) for point in outcome.at_loss],
        VERSUS: [{**asdict(pair), "verdict": pair.verdict} for pair in outcome.versus],
        SHAPES: [asdict(shape) for shape in outcome.shapes],
        SIZES: [_sized(size) for size in outcome.sizes],
        AGAINST_SIZE: [_against(slopes) for slopes in outcome.against_size],
    }
    for table, rows in tables.items():
        if rows:
            table.write(folder, [plain(row) for row in rows])
        else:
            write_table(folder / table.name, [], ["none"])
    for activation, rows in losses(outcome.curves).items():
        LOSS_POINTS.write(folder, rows, name=f"losses-{activation}")
    write_json(folder / "compare.json", plain({table.name: rows for table, rows in tables.items()}))


def losses(curves: Sequence[RunCurve]) -> dict[str, Rows]:
    """Activation -> N, D and dense loss of one run a size, where there are two sizes or more."""
    points: dict[str, Rows] = {}
    first_rule = selection.rules(curves)[0]
    for activation in selection.activations(curves):
        family = selection.one_a_size(selection.of(curves, rule=first_rule, activation=activation))
        if len(family) < 2:
            continue
        points[activation] = [
            dict(zip(LOSS_POINTS.header, (c.run, int(c.parameters), int(tokens), float(loss)), strict=True))
            for c in family
            for tokens, loss in zip(c.tokens, c.loss_nats, strict=True)
        ]
    return points


def direction(outcome: StudyOutcome, curve: RunCurve) -> dict[str, object]:
    """Which way a run goes: a row of the directions."""
    slope, knob = trends.trend(curve), trends.knob_trend(curve)
    fitted = outcome.fits.get((curve.run, curve.rule))
    return {
        "run": curve.run,
        "activation": curve.activation,
        "rule": curve.rule,
        "parameters": int(curve.parameters),
        "checkpoints": len(curve.tokens),
        "first_tokens_per_parameter": float(curve.tokens_per_parameter[0]),
        "last_tokens_per_parameter": float(curve.tokens_per_parameter[-1]),
        "first_ratio": float(curve.ratio[0]),
        "last_ratio": float(curve.ratio[-1]),
        **_columns("slope", slope),
        "way": slope.way,
        "first_knob": float(curve.knob[0]),
        "last_knob": float(curve.knob[-1]),
        **_columns("knob_slope", knob),
        "first_ppl_ratio": float(curve.ppl_ratio[0]),
        "last_ppl_ratio": float(curve.ppl_ratio[-1]),
        **_fitted(fitted),
    }


def _columns(name: str, slope: Trend) -> dict[str, object]:
    return {name: slope.slope, f"{name}_low": slope.low, f"{name}_high": slope.high}


def _fitted(fitted: Fitted | None) -> dict[str, object]:
    keys = ("law", "verdict", "limit", "low", "high", "bound", "best")
    values = {key: None if fitted is None else getattr(fitted, key) for key in keys}
    return {("best_by_aicc" if key == "best" else f"limit_{key}" if key in ("low", "high", "bound") else key): value
            for key, value in values.items()}  # fmt: skip


def _segment(segment: Segment) -> Rows:
    common = {
        "run": segment.run, "activation": segment.activation, "parameters": int(segment.parameters),
        "from_tokens_per_parameter": segment.low, "to_tokens_per_parameter": segment.high,
    }  # fmt: skip
    rows: Rows = [
        {**common, "rule": rule, "checkpoints": slope.points, **_columns("slope", slope), "way": slope.way}
        for rule, slope in segment.trends.items()
    ]
    gap = segment.difference
    return [*rows, {**common, "rule": "own less series", "checkpoints": gap.points, **_columns("slope", gap),
                    "way": segment.verdict}]  # fmt: skip


def _sized(size: Sized) -> dict[str, object]:
    written = {key: value for key, value in asdict(size).items() if key not in ("fitted", "text")}
    return {**written, **_fitted(size.fitted)}


def _against(slopes: AgainstSize) -> dict[str, object]:
    return {
        **{key: getattr(slopes, key) for key in ("rule", "activation", "sizes", "tokens_per_parameter")},
        **_columns("slope", slopes.values), "way": slopes.values.way,
        "limits": slopes.limits.points, **_columns("limit_slope", slopes.limits), "limit_way": slopes.limits.way,
    }  # fmt: skip
