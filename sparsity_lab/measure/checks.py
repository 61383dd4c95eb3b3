"""Refuses settings that no model could be measured with, before any is loaded."""

from __future__ import annotations

from pathlib import Path

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.compat import check_compat
from sparsity_lab.measure.search.settings import setting_of, settings_of
from sparsity_lab.measure.search.targets import check_increase, check_ratio
from sparsity_lab.measure.spec import MeasureSpec, singly
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.measure.work.shards import check_shards


def check_spec(spec: MeasureSpec) -> None:
    """Refuse settings that no model could be measured with.

    Raises:
        SparsityLabError: an unknown criterion, or a number out of its range.
    """
    ranges.check_fields(spec)
    if spec.further:
        _check_further(spec)
        for one in singly(spec):
            check_spec(one)
        return
    knob = registry.load("criteria", spec.criterion).KNOB
    if spec.knob is not None:
        knob.check(spec.knob, criterion=spec.criterion)
        if spec.stabilise_last is not None:
            raise SparsityLabError(
                "The series rule finds the knob itself", fix="Leave --knob or --stabilise out"
            )
    check_increase(spec.ppl_increase)
    if spec.compat is not None:
        check_compat(
            spec.compat,
            criterion=spec.criterion,
            ratio=spec.activation_ratio is not None,
            thresholds=spec.thresholds is not None,
            stabilise=spec.stabilise_last is not None,
            batch_size=spec.batch_size,
        )
    if spec.activation_ratio is not None:
        check_ratio(spec.activation_ratio)
        if spec.stabilise_last is not None:
            raise SparsityLabError(
                "The series rule asks for equal perplexity, not for an activation ratio",
                fix="Leave --activation-ratio or --stabilise out",
            )
    if spec.thresholds is not None:
        _check_thresholds(spec, spec.thresholds)
    if spec.text_shards > 1:
        whole = spec.stabilise_last is not None
        check_shards(setting_of(spec), criterion=spec.criterion, compat="series" if whole else spec.compat)


def _check_further(spec: MeasureSpec) -> None:
    for option, value in (("--stabilise", spec.stabilise_last), ("--tokens auto", spec.error_share)):
        if value is not None:
            raise SparsityLabError(
                f"{option} asks for one value, not {1 + len(spec.further)}",
                fix="Run once for each, or leave it out",
            )
    settings = settings_of(spec)
    for number, one in enumerate(settings):
        if one in settings[:number]:
            raise SparsityLabError(
                f"The value {spec.further[number - 1]:g} is given twice",
                fix="Give each knob, p or ratio once",
            )


def _check_thresholds(spec: MeasureSpec, path: Path) -> None:
    criterion = read_calibration(path).criterion
    if criterion != spec.criterion:
        raise SparsityLabError(
            f"The thresholds of {path} are of {criterion}, not of {spec.criterion}",
            fix="Leave --criterion out",
        )
    for option, value in (
        ("--knob", spec.knob),
        ("--activation-ratio", spec.activation_ratio),
        ("--stabilise", spec.stabilise_last),
    ):
        if value is not None:
            raise SparsityLabError(
                f"{option} does nothing with --thresholds",
                why="They are applied as they are",
                fix="Leave one of them out",
            )
