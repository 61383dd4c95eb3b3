"""Builds a ruler from what the user has: a ladder of checkpoints, a table of models, or lm-eval results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.file_names import is_portable
from sparsity_lab.fitting.density import two_step
from sparsity_lab.fitting.density.csv_rows import read_rows
from sparsity_lab.fitting.density.ladder import Ladder, is_ladder, read_ladder
from sparsity_lab.fitting.density.lm_eval_results import ladder_of, read_evaluations, targets_of
from sparsity_lab.fitting.density.one_step import DRAWS, family_ruler
from sparsity_lab.fitting.density.ruler_files import write_ruler
from sparsity_lab.fitting.density.rulers import OneStepRuler, Ruler
from sparsity_lab.fitting.density.sizes import SizeConvention
from sparsity_lab.fitting.density.targets import Target, read_targets
from sparsity_lab.fitting.density.two_step import check_d0
from sparsity_lab.fitting.plots.density_ruler import plot_ruler
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.records import prepare_output

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RulerOptions:
    """What `density ruler` may be told.

    Attributes:
        name: of the ruler and of its file.
        form: `one-step`, `two-step`, or `auto`: two steps where there are losses and enough runs.
        family: of the reference models in a table; None where the table has one family.
        tasks: to keep; None for all.
        models: a table with sizes, tokens and dates for lm-eval results.
        convention: which parameters count.
        d0_tokens: the amount of data at which a two-step ruler is read.
        harness, source: how the scores were made and where they come from, carried in the file.
        draws: of a two-step ruler; a one-step one is drawn at once.
    """

    name: str
    form: str = "auto"
    family: str | None = None
    tasks: tuple[str, ...] | None = None
    models: Path | None = None
    metric: str | None = None
    convention: SizeConvention = field(default_factory=SizeConvention)
    d0_tokens: float = two_step.D0_TOKENS
    harness: str = "not stated"
    source: str = ""
    draws: int = two_step.DRAWS


def _check(options: RulerOptions) -> None:
    if not is_portable(options.name):
        raise SparsityLabError(
            f"--name {options.name!r} is no name of a file",
            fix="Use letters, digits, dashes, underscores, and dots between them",
        )
    check_d0(options.d0_tokens)


@dataclass(frozen=True)
class BuiltRuler:
    """A ruler, why it has its form, and its files."""

    ruler: Ruler
    reason: str
    files: tuple[Path, ...]


def build_ruler(
    inputs: Path, *, output: Path, options: RulerOptions, seed: int = 0, progress: Progress = SILENT
) -> BuiltRuler:
    """Build a ruler and write `NAME.json` and its figure to `output`.

    Raises:
        SparsityLabError: the input cannot be read or holds too few sizes, or a name that is no file's.
    """
    _check(options)
    prepare_output(output)
    ladder, targets = _read(inputs, options)
    form, reason = _form(options.form, ladder)
    log.info("form: %s, because %s", form, reason)
    if form == "two-step":
        if ladder is None:
            raise SparsityLabError(f"{inputs} has no losses", fix="A two-step ruler needs losses and tokens")
        ruler: Ruler = _two_step(ladder, inputs, options, seed=seed, progress=progress)
    else:
        ruler = _one_step(targets, inputs, options, seed=seed)
    stem = output / options.name
    written = write_ruler(ruler, stem.with_name(f"{stem.name}.json"))
    return BuiltRuler(ruler, reason, (written, *plot_ruler(ruler, stem, ladder=ladder)))


def _read(inputs: Path, options: RulerOptions) -> tuple[Ladder | None, list[Target]]:
    if inputs.is_dir():
        evaluations = read_evaluations(inputs, models=options.models, metric=options.metric)
        return ladder_of(evaluations), targets_of(evaluations)
    if is_ladder(list(read_rows(inputs, needed=())[0])):
        return read_ladder(inputs), []
    return None, read_targets(inputs)


def _form(wanted: str, ladder: Ladder | None) -> tuple[str, str]:
    if wanted != "auto":
        return wanted, "it was asked for"
    if ladder is None:
        return "one-step", "there are no losses with training tokens"
    try:
        two_step.refuse_small_ladder(ladder.references, "given")
    except SparsityLabError as error:
        return "one-step", error.why
    return "two-step", f"there are losses of {len(ladder.references)} runs"


def _two_step(
    ladder: Ladder, inputs: Path, options: RulerOptions, *, seed: int, progress: Progress
) -> two_step.TwoStepRuler:
    kept = tuple(task for task in ladder.tasks if options.tasks is None or task in options.tasks)
    _refuse_missing(options.tasks, ladder.tasks, inputs)
    return two_step.two_step_ruler(
        options.name, replace(ladder, tasks=kept), source=options.source or str(inputs),
        harness=options.harness,
        params=options.convention.said, seed=seed, draws=options.draws, d0_tokens=options.d0_tokens,
        progress=progress,
    )  # fmt: skip


def _one_step(targets: Sequence[Target], inputs: Path, options: RulerOptions, *, seed: int) -> OneStepRuler:
    families = sorted({target.family for target in targets})
    if options.family is None and len(families) != 1:
        raise SparsityLabError(
            f"{inputs} holds {len(families)} families" + (f": {', '.join(families)}" if families else ""),
            fix="Name one with --family",
        )
    family = options.family or families[0]
    members = [target for target in targets if target.family == family]
    if not members:
        from sparsity_lab.registry import unknown

        raise unknown(family, kind="family", known=families)
    shared = set.intersection(*(set(target.scores) for target in members))
    tasks = options.tasks or tuple(sorted(shared))
    _refuse_missing(tasks, sorted(shared), inputs)
    if not tasks:
        raise SparsityLabError(
            f"The models of {family} in {inputs} share no task",
            fix="Give every model of the family a score on the same task, or name another --family",
        )
    ruler = family_ruler(
        family, members, tasks=tasks, convention=options.convention, seed=seed,
        source=options.source or str(inputs), harness=options.harness, draws=DRAWS,
    )  # fmt: skip
    return replace(ruler, name=options.name, tasks=tuple(tasks))


def _refuse_missing(wanted: Sequence[str] | None, known: Sequence[str], inputs: Path) -> None:
    for task in wanted or ():
        if task not in known:
            from sparsity_lab.registry import unknown

            error = unknown(task, kind="task", known=list(known))
            raise SparsityLabError(f"{inputs} has no task {task!r} for every model", fix=error.fix)
