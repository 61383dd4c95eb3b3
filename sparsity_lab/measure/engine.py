"""Measures one model on one text: at a given knob, equal perplexity, a given activation ratio or thresholds.

Under given thresholds two passes do, a dense and a sparse one. At a fixed knob three passes over the whole
text suffice: a dense one that calibrates, one that resolves what the first found, and a sparse one that counts.
A search takes a pilot on an eighth of the text to find the knob roughly; the whole text then takes the
calibrating dense pass around it and two to four sparse passes.
"""

from __future__ import annotations

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.calibration import Calibration
from sparsity_lab.measure.goals import Goal, PplIncrease, TargetRatio
from sparsity_lab.measure.measurement import Measurement
from sparsity_lab.measure.runner import Runner
from sparsity_lab.measure.shards import Merged, Part
from sparsity_lab.measure.subject import Subject

ALGORITHM = 7  # raised when a change to this room changes numbers; part of every content key
FIXED_SPAN = 1.25


def at_knob(
    subject: Subject, *, criterion: str, knob: float, seed: int = 0, part: Part | None = None,
    ppl_increase: float | None = None, flags: tuple[str, ...] = (),
) -> Measurement:  # fmt: skip
    """Measure at a fixed knob.

    Args:
        subject: model and text.
        criterion: its id.
        knob: the knob.
        seed: of the bootstrap and the pilot.
        part: runs over the whole text, where they were made before.
        ppl_increase: p, where the knob is one that was searched for on a series of checkpoints.
        flags: findings of that search.

    Raises:
        SparsityLabError: a knob outside the criterion's range, or an implausible dense loss.
    """
    runner = Runner(subject, criterion, seed)
    runner.knob.check(knob, criterion=criterion)
    if part is not None:
        runner = merged_runner(runner, part, knob=knob)
    runner.pilot()
    runner.calibrate_around(knob, span=FIXED_SPAN)
    runner.bound.refine(knob)
    found = runner.evaluate(knob)
    return runner.result(found, flags=(*flags, *runner.noisy(found, ppl_increase)))


def at_ppl_increase(subject: Subject, *, criterion: str, ppl_increase: float, seed: int = 0) -> Measurement:
    """Measure at the knob where perplexity has risen by `ppl_increase` (a fraction: 0.01 for 1 %).

    Raises:
        SparsityLabError: an increase that is not positive, or an implausible dense loss.
    """
    check_increase(ppl_increase)
    return _searched(subject, criterion=criterion, goal=PplIncrease(ppl_increase), seed=seed)


def at_activation_ratio(
    subject: Subject, *, criterion: str, activation_ratio: float, seed: int = 0
) -> Measurement:
    """Measure at the knob where `activation_ratio` of the neurons are active.

    Raises:
        SparsityLabError: a ratio not inside 0 to 1 or above the share of non-zero activations, or an
            implausible dense loss.
    """
    check_ratio(activation_ratio)
    return _searched(subject, criterion=criterion, goal=TargetRatio(activation_ratio), seed=seed)


def at_thresholds(
    subject: Subject, *, calibration: Calibration, seed: int = 0, part: Part | None = None
) -> Measurement:
    """Measure under thresholds found on another text: a dense pass, and a sparse one that counts, or given by `part`.

    Raises:
        SparsityLabError: a part the score needs and the model does not have, or an implausible dense loss.
    """
    from sparsity_lab.measure.criteria._by_threshold import Given

    knob = 0.0 if calibration.knob is None else calibration.knob
    runner = Runner(subject, calibration.criterion, seed, bound=Given(subject, calibration=calibration))
    if part is not None:
        runner = merged_runner(runner, part, knob=knob)
    runner.calibrate_around(knob, span=1.0)
    found = runner.evaluate(knob)
    return runner.result(found, flags=runner.noisy(found, calibration.ppl_increase))


def merged_runner(runner: Runner, part: Part, *, knob: float) -> Runner:
    """A runner of the same rule that passes over nothing: both runs over the whole text are in `part`."""
    made = Runner(runner.subject, runner.criterion, runner.seed, bound=Merged(runner.bound, part))
    made.take(knob, part.sparse, dense=part.dense, forward_tokens=part.forward_tokens)
    return made


def check_increase(ppl_increase: float) -> None:
    """Refuse a perplexity increase that is not a positive fraction.

    Raises:
        SparsityLabError: not above 0, or above 10 (1000 %).
    """
    if not 0 < ppl_increase <= 10:
        raise SparsityLabError(
            f"A perplexity increase of {ppl_increase:.4g} is not a positive fraction",
            fix="Write 1% or 0.01 for one percent",
        )


def check_ratio(activation_ratio: float) -> None:
    """Refuse an activation ratio that is not inside 0 to 1.

    Raises:
        SparsityLabError: not above 0 and below 1.
    """
    if not 0 < activation_ratio < 1:
        raise SparsityLabError(
            f"An activation ratio of {activation_ratio:.4g} is not between 0 and 1",
            fix="Write 0.3 or 30% for three neurons of ten",
        )


def _searched(subject: Subject, *, criterion: str, goal: Goal, seed: int) -> Measurement:
    runner = Runner(subject, criterion, seed)
    if runner.knob.scale == "none":
        raise SparsityLabError(
            f"{criterion} has no knob to search: it drops exact zeros, at no rise of the loss",
            fix="Measure it at --knob 0",
        )
    rough = runner.pilot_search(goal)
    settled = runner.settle(goal, runner.search(goal, start=rough.ahead, slope=rough.slope))
    flags = runner.flags(settled, goal)
    return runner.result(settled.chosen, goal=goal, crossing=settled.crossing, flags=flags)
