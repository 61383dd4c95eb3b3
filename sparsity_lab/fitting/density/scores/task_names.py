"""Tasks of the targets under the ruler's names, and each question counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores.benchmarks import Groups, benchmark, key, same, without_parts
from sparsity_lab.fitting.density.scores.targets import Target

Value = TypeVar("Value")


def tasks_of(targets: Sequence[Target]) -> tuple[str, ...]:
    """Every task of the targets, in the order of its columns."""
    return tuple(dict.fromkeys(task for target in targets for task in target.scores))


def keys_in(vocabulary: Sequence[str], values: Mapping[str, Value]) -> dict[str, Value]:
    """A mapping by task under the names of a vocabulary."""
    names = in_words_of(vocabulary, list(values))
    return {names.get(task, task): value for task, value in values.items()}


def in_words_of(vocabulary: Sequence[str], tasks: Sequence[str]) -> dict[str, str]:
    """The name in `vocabulary` of each task that has one there; of two tasks for one name the nearer gets it."""
    names: dict[str, str] = {}
    for name in vocabulary:
        nearest = sorted((task for task in tasks if same(task, name)), key=lambda task: _distance(task, name))
        if nearest:
            names.setdefault(nearest[0], name)
    return names


def _distance(task: str, name: str) -> tuple[bool, bool, int]:
    others = [key(other) for other in benchmark(task).names]
    place = others.index(key(task)) if key(task) in others else len(others)
    return task != name, key(task) != key(name), place


def renamed(targets: Sequence[Target], vocabulary: Sequence[str], notes: Notes) -> list[Target]:
    """The targets with their tasks under the names of a ruler; a name that changes becomes a note."""
    names = in_words_of(vocabulary, tasks_of(targets))
    changed = {task: name for task, name in names.items() if task != name}
    if changed:
        notes.add(
            "tasks under the ruler's names: " + ", ".join(f"{t} is {name}" for t, name in changed.items())
        )
    return [
        replace(target, scores={names.get(task, task): score for task, score in target.scores.items()})
        for target in targets
    ]


@dataclass(frozen=True)
class SharedQuestions:
    """Which tasks hold the same questions.

    Attributes:
        groups: parts of groups, in addition to those of lm-eval.
        lacking: groups whose score is not of all their parts, with its metric.
    """

    groups: Groups = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)

    def once(self, tasks: Sequence[str], notes: Notes) -> tuple[str, ...]:
        """Tasks of which no two hold the same questions; what is left out becomes a note."""
        partial = [task for task in tasks if task in self.lacking and len(tasks) > 1]
        for task in partial:
            notes.add(
                f"{task} is left out of the mean: its {self.lacking[task]} is not of all its parts; --tasks takes it"
            )
        kept, left_out = without_parts([task for task in tasks if task not in partial], self.groups)
        for group in dict.fromkeys(left_out.values()):
            parts = [task for task, holder in left_out.items() if holder == group]
            notes.add(f"{group} counts alone, without its parts {listed(parts)}; --tasks takes them")
        return kept

    def note_overlap(self, tasks: Sequence[str], notes: Notes) -> None:
        """Say which of the tasks asked for hold questions of each other."""
        for task, group in without_parts(tasks, self.groups)[1].items():
            notes.add(f"{task} and {group} hold the same questions and are averaged together, as asked")
