"""Builds a ruler from what the user has: a ladder of checkpoints, a table of models, or lm-eval results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import is_reference
from sparsity_lab.fitting.density.lm_eval.options import InputOptions
from sparsity_lab.fitting.density.lm_eval.results import (
    ladder_of,
    targets_of,
)
from sparsity_lab.fitting.density.lm_eval.rulers import chances_of, loss_tasks, settings_of, shared_questions
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.rulers import two_step
from sparsity_lab.fitting.density.rulers.files import write_ruler
from sparsity_lab.fitting.density.rulers.ladder import Ladder, family_named, is_ladder, of_family, read_ladder
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler, family_ruler
from sparsity_lab.fitting.density.rulers.ruler import DRAWS, Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import check_d0
from sparsity_lab.fitting.density.scores.benchmarks import UnknownChanceError, called, chance_of
from sparsity_lab.fitting.density.scores.metrics import (
    TaskSetting,
    given_chances,
    refuse_unknown_words,
)
from sparsity_lab.fitting.density.scores.targets import (
    Target,
    harness_of,
    note_guessed_families,
    read_targets,
)
from sparsity_lab.fitting.density.scores.task_names import SharedQuestions, tasks_of
from sparsity_lab.fitting.figures import attempted
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.reading.csv_rows import read_rows
from sparsity_lab.registry import unknown
from sparsity_lab.settings import D0_TOKENS, HARNESS
from sparsity_lab.store.file_names import is_portable
from sparsity_lab.store.records import prepare_output

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RulerOptions(InputOptions):
    """Options of `density ruler` in addition to those of `InputOptions`.

    Attributes:
        name: of the ruler and of its file.
        form: `one-step`, `two-step`, or `auto`: two steps where there are losses and enough runs.
        family: of the reference models; None where the input has one family.
        d0_tokens: the amount of data at which a two-step ruler is read.
        harness, source: how the scores were made and where they come from, carried in the file; of a table that says
            which harness made each score, the one that is read.
        draws: of a two-step ruler; a one-step one is drawn at once.
        losses: of lm-eval's results, as `mmlu=densing_mmlu`: whose answers' loss goes with the score of a task.
    """

    name: str
    form: str = "auto"
    family: str | None = None
    d0_tokens: float = D0_TOKENS
    harness: str = HARNESS
    source: str = ""
    draws: int = two_step.DRAWS
    losses: tuple[str, ...] = ()


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
        SparsityLabError: the input cannot be read or holds too few sizes, or the name is not valid for a file.
    """
    if not is_portable(options.name):
        raise SparsityLabError(
            f"--name {options.name!r} is not the name of a file",
            fix="Use letters, digits, dashes, underscores, and dots between them",
        )
    check_d0(options.d0_tokens)
    prepare_output(output)
    notes = Notes()
    material = _read(inputs, options, notes)
    refuse_unknown_words(given_chances(options.chances), material.tasks, flag="--chance")
    form, reason = _form(options.form, material.ladder)
    recipe = RulerRecipe(
        options.convention,
        seed,
        options.draws,
        options.source or str(inputs),
        harness_of(material.targets) or options.harness,
        material.chances,
    )
    log.info("form: %s, because %s", form, reason[:1].lower() + reason[1:])
    if form == "two-step":
        if material.ladder is None:
            raise SparsityLabError(f"{inputs} has no losses", fix="A two-step ruler needs losses and tokens")
        ruler: Ruler = _two_step(material.ladder, inputs, options, recipe, progress)
    else:
        ruler = _one_step(material, inputs, options, replace(recipe, draws=DRAWS), notes)
    _note_left_out([t for t in material.targets if options.family in (None, t.family)], ruler, notes)
    levels = (f"{task} {chance_of(task, material.chances):.4g}" for task in ruler.tasks)
    notes.add(f"chance levels of the ruler: {', '.join(levels)}")
    ruler = replace(
        ruler, notes=tuple(notes), settings={t: s for t, s in material.settings.items() if t in ruler.tasks}
    )
    stem = output / options.name
    written = [write_ruler(ruler, stem.with_name(f"{stem.name}.json"))]
    with attempted(stem):
        from sparsity_lab.fitting.plots.density_ruler import plot_ruler

        written += plot_ruler(ruler, stem, ladder=material.ladder)
    return BuiltRuler(ruler, reason, tuple(written))


def _note_left_out(members: Sequence[Target], ruler: Ruler, notes: Notes) -> None:
    left_out = [t.model for t in members if not is_reference(t, ruler.references)]
    if left_out:
        notes.add(
            f"{len(left_out)} of {len(members)} models of the family lack a size, training tokens, a task or a loss "
            f"and are not part of the ruler: {listed(left_out)}"
        )


@dataclass(frozen=True)
class _Material:
    """What a ruler is made of: runs with losses where there are some, and the dense models of the family asked for."""

    ladder: Ladder | None
    targets: Sequence[Target] = ()
    chances: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, TaskSetting] = field(default_factory=dict)
    shared: SharedQuestions = field(default_factory=SharedQuestions)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*tasks_of(self.targets), *(self.ladder.tasks if self.ladder else ()))))


def _read(inputs: Path, options: RulerOptions, notes: Notes) -> _Material:
    given = given_chances(options.chances)
    evaluations = options.results_in(inputs, settings={}, notes=notes)
    if evaluations is None and options.losses:
        raise SparsityLabError(
            "--loss can be given with a folder of lm-eval results only",
            fix="Leave it out; a ladder's own columns hold its losses",
        )
    if evaluations is None:
        if not is_ladder(list(read_rows(inputs, needed=())[0])):
            harness = None if options.harness == HARNESS else options.harness
            stated = "harness" in read_rows(inputs, needed=())[0]
            return _Material(
                None,
                read_targets(
                    inputs,
                    tasks=options.tasks,
                    notes=notes,
                    harness=harness if stated else None,
                    models=options.models,
                ),
                given,
            )
        return _Material(of_family(read_ladder(inputs, notes=notes), options.family, inputs), chances=given)
    dense = [e for e in evaluations if not e.sparsity]
    if len(dense) < len(evaluations):
        notes.add(f"{len(evaluations) - len(dense)} results under thresholds are not part of the ruler")
    note_guessed_families([e.target for e in dense], notes)
    family = _family(options.family, [e.target for e in dense], inputs, or_all=True)
    members = [e for e in dense if family is None or e.target.family == family]
    ladder = ladder_of(members, loss_tasks(options.losses, members, notes))
    return _Material(
        ladder, targets_of(members), chances_of(members, given, notes), settings_of(members),
        shared_questions(members),
    )  # fmt: skip


def _family(
    wanted: str | None, targets: Sequence[Target], inputs: Path, *, or_all: bool = False
) -> str | None:
    """The family of the reference models; None for all, where `or_all` allows it and no model's family is stated.

    Raises:
        SparsityLabError: several families and none is named, or no such family.
    """
    families = sorted({target.family for target in targets})
    if wanted is None and len(families) != 1 and or_all and not any(t.family_stated for t in targets):
        return None
    return family_named(wanted, families, inputs)


def _form(wanted: str, ladder: Ladder | None) -> tuple[str, str]:
    if wanted != "auto":
        return wanted, "it was asked for"
    if ladder is None:
        return "one-step", "there are no losses with training tokens"
    if why := two_step.why_too_small(ladder.references):
        return "one-step", why
    return "two-step", f"there are losses of {len(ladder.references)} runs"


def _two_step(
    ladder: Ladder, inputs: Path, options: RulerOptions, recipe: RulerRecipe, progress: Progress
) -> two_step.TwoStepRuler:
    ladder = replace(ladder, tasks=_named(options.tasks, ladder.tasks, inputs) or ladder.tasks)
    _refuse_variants([(run.name, run.identity, run.tokens) for run in ladder.references], inputs)
    return two_step.two_step_ruler(
        options.name, ladder, recipe=recipe, d0_tokens=options.d0_tokens, progress=progress
    )


def _one_step(
    material: _Material, inputs: Path, options: RulerOptions, recipe: RulerRecipe, notes: Notes
) -> OneStepRuler:
    family = str(_family(options.family, material.targets, inputs))
    members = [target for target in material.targets if target.family == family]
    shared = [t for t in tasks_of(members) if all(t in member.scores for member in members)]
    asked = _named(options.tasks, shared, inputs)
    tasks = asked or tuple(sorted(material.shared.once(shared, notes)))
    if not tasks:
        raise SparsityLabError(
            f"The models of {family} in {inputs} share no task",
            fix="Give every model of the family a score on the same task, or name another --family",
        )
    material.shared.note_overlap(tasks, notes)
    _refuse_variants([(target.model, target.identity, None) for target in members], inputs)
    ruler = family_ruler(family, members, tasks=tasks, recipe=recipe)
    kept = asked or _that_rule(ruler, tasks, notes)
    return replace(ruler, name=options.name, tasks=kept)


def _that_rule(ruler: OneStepRuler, tasks: Sequence[str], notes: Notes) -> tuple[str, ...]:
    """The tasks on which a family can be a ruler; the others become notes.

    Raises:
        SparsityLabError: there are none, or the chance level of one is unknown.
    """
    kept, refusals = [], []
    for task in tasks:
        try:
            ruler.curve((task,))
            kept.append(task)
        except UnknownChanceError:
            raise
        except SparsityLabError as error:
            refusals.append(error)
            notes.add(f"{task} is left out of the ruler: {error.paragraph()}")
    if not kept:
        raise refusals[0]
    return tuple(kept)


def _refuse_variants(models: Sequence[tuple[str, str, float | None]], inputs: Path) -> None:
    """Refuse two results of one model as two reference models: revisions, adapters, quantized or otherwise scored.

    Args:
        models: label, identity and, where they make another run, training tokens.
        inputs: for the message.

    Raises:
        SparsityLabError: names both.
    """
    seen: dict[tuple[str, float | None], str] = {}
    for label, identity, tokens in models:
        other = seen.setdefault((identity.split(", ")[0], tokens), label)
        if identity and other != label:
            raise SparsityLabError(
                f"{inputs} has two results of one model for a ruler: {other} and {label}",
                fix="Keep one of them in the folder, or give them different families in --models",
            )


def _named(wanted: Sequence[str] | None, known: Sequence[str], inputs: Path) -> tuple[str, ...]:
    """The tasks asked for under their names in the input; empty for none.

    Raises:
        SparsityLabError: not every model has one of them.
    """
    names = []
    for task in wanted or ():
        if (name := called(task, known)) is None:
            what = f"{inputs} has no task {task!r} for every model"
            raise unknown(task, kind="task", known=known, what=what)
        names.append(name)
    return tuple(names)
