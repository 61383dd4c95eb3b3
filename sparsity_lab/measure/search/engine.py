"""Measures one model on one text: at a given knob, equal perplexity, a given activation ratio or thresholds.

Under given thresholds two passes do, a dense and a sparse one. At a fixed knob three passes over the whole
text suffice: a dense one that calibrates, one that resolves what the first found, and a sparse one that counts.
A search takes a pilot on an eighth of the text to find the knob roughly; the whole text then takes the
calibrating dense pass around it and two to four sparse passes.
"""

from __future__ import annotations

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.compat import sparsinglaw
from sparsity_lab.measure.criteria._by_threshold import Given
from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.part import Merged, Part
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.search.steps import Runner
from sparsity_lab.measure.search.targets import Goal, PplIncrease, TargetRatio, check_increase, check_ratio
from sparsity_lab.measure.thresholds.stored import Calibration

FIXED_SPAN = 1.25


def measure_subject(
    subject: Subject, setting: Setting, *, criterion: str, seed: int, compat: str | None = None,
    part: Part | None = None,
) -> Measurement:  # fmt: skip
    """Measure a model and text in one setting, or with `compat` by a reproduced algorithm.

    Args:
        subject: model and text.
        setting: how the knob is chosen.
        criterion: its id.
        seed: of the bootstrap and the pilot.
        compat: a reproduced algorithm, or None.
        part: both runs over the whole text, where they were made before in parts.

    Raises:
        SparsityLabError: as the functions below, or memory runs out even for one window at a time.
    """
    return halving(
        subject, lambda: _measured(subject, setting, criterion=criterion, seed=seed, compat=compat, part=part)
    )


def _measured(
    subject: Subject, setting: Setting, *, criterion: str, seed: int, compat: str | None, part: Part | None
) -> Measurement:
    if compat is not None:
        return _reproduced(subject, setting)
    if setting.calibration is not None:
        return at_thresholds(subject, calibration=setting.calibration, seed=seed, part=part)
    if setting.knob is not None:
        return at_knob(subject, criterion=criterion, knob=setting.knob, seed=seed, part=part, setting=setting)
    if setting.activation_ratio is not None:
        return at_activation_ratio(
            subject, criterion=criterion, activation_ratio=setting.activation_ratio, seed=seed
        )
    assert setting.ppl_increase is not None
    return at_ppl_increase(subject, criterion=criterion, ppl_increase=setting.ppl_increase, seed=seed)


def _reproduced(subject: Subject, setting: Setting) -> Measurement:
    """By the released algorithm of the Sparsing Law, the one there is."""
    if setting.knob is not None:
        return sparsinglaw.at_cett(subject, c=setting.knob).measurement
    assert setting.ppl_increase is not None
    return sparsinglaw.at_ppl_increase(subject, ppl_increase=setting.ppl_increase).measurement


def at_knob(
    subject: Subject, *, criterion: str, knob: float, seed: int = 0, part: Part | None = None,
    setting: Setting | None = None,
) -> Measurement:  # fmt: skip
    """Measure at a fixed knob.

    Args:
        subject: model and text.
        criterion: its id.
        knob: the knob.
        seed: of the bootstrap and the pilot.
        part: runs over the whole text, where they were made before.
        setting: of a knob that was searched for on a series of checkpoints: its p, and the findings of that search.

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
    setting = setting or Setting("fixed", knob=knob)
    return runner.result(found, flags=(*setting.flags, *runner.noisy(found, setting.ppl_increase)))


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


def _searched(subject: Subject, *, criterion: str, goal: Goal, seed: int) -> Measurement:
    runner = Runner(subject, criterion, seed)
    if runner.knob.scale == "none":
        raise SparsityLabError(
            f"{criterion} has no knob to search: it drops exact zeros, at no rise of the loss",
            fix="Measure it at --knob 0",
        )
    return searched(runner, goal)


def searched(runner: Runner, goal: Goal) -> Measurement:
    """Search the knob that meets a goal, and measure there.

    Args:
        runner: of a rule that has a knob, nothing run yet.
        goal: what is wanted.
    """
    rough = runner.pilot_search(goal)
    settled = runner.settle(goal, runner.search(goal, start=rough.ahead, slope=rough.slope))
    flags = runner.flags(settled, goal)
    return runner.result(settled.chosen, goal=goal, crossing=settled.crossing, flags=flags)
