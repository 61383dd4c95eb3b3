"""What is known of a benchmark by each of its names: chance level, metric and shots; and which tasks are groups.

One table (`density_benchmarks.csv`) holds a benchmark a row, under the name of the bundled tables and under
those of lm-eval 0.4; names that differ by case, blanks, dashes or underscores alone are the same name. Groups
of tasks (`density_groups.json`) are those of lm-eval; a benchmark's parts have its chance level.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.store import bundled

Value = TypeVar("Value")
Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: as the bundled tables call it.
        names: its other names, lm-eval's first.
        chance: the score of guessing, 0 to 1 (0 where answers are generated); None where unknown.
        choices: answers to choose from; None where they are generated or their number varies.
        questions: how many; None where unknown.
        metric: lm-eval's key of the metric usually reported, as `acc_norm` or `exact_match,strict-match`.
        shots: examples in the prompt usually reported.
    """

    name: str
    names: tuple[str, ...] = ()
    chance: float | None = None
    choices: int | None = None
    questions: int | None = None
    metric: str | None = None
    shots: int | None = None
    source: str = ""


class UnknownChanceError(SparsityLabError):
    """A task of which nobody said what guessing scores."""


def key(name: str) -> str:
    """A name without case, blanks, dashes and underscores."""
    return "".join(character for character in name.casefold() if character not in " -_")


@cache
def known() -> dict[str, Benchmark]:
    """The benchmarks carried in the package, by the keys of all their names."""
    benchmarks = map(_row, bundled.rows("density-benchmarks"))
    return {key(name): row for row in benchmarks for name in (row.name, *row.names)}


def benchmark(task: str) -> Benchmark:
    """The benchmark of a task under any of its names; of an unknown one only the name is filled in.

    A part of a known benchmark has its chance level, choices, metric and shots, and no count of questions.
    """
    if (row := known().get(key(task))) is not None:
        return row
    whole = next((known()[key(group)] for group in _groups_of(task) if key(group) in known()), None)
    return Benchmark(task) if whole is None else replace(whole, name=task, names=(), questions=None)


def same(task: str, other: str) -> bool:
    """Whether two names are of one benchmark."""
    return key(task) == key(other) or key(benchmark(task).name) == key(benchmark(other).name)


def called(task: str, names: Iterable[str]) -> str | None:
    """The first of some names that is one of a task's; None where none is."""
    return next((name for name in names if name and same(name, task)), None)


def under(task: str, values: Mapping[str, Value]) -> Value | None:
    """What a mapping has for a task, under whichever of its names; None where it has nothing."""
    name = called(task, values)
    return None if name is None else values[name]


def chance_of(task: str, given: Mapping[str, float]) -> float:
    """The chance level of a task: the given one, else the table's.

    Raises:
        UnknownChanceError: neither has it.
    """
    stated = under(task, given)
    if stated is None and (stated := benchmark(task).chance) is None:
        raise UnknownChanceError(
            f"The chance level of the task {task} is unknown",
            why="A ruler's curve begins at the score of guessing",
            fix=f"Give it as --chance {task}=0.25 (0 where answers are generated), or run lm-eval with --log_samples",
        )
    return stated


@cache
def lm_eval_groups() -> dict[str, tuple[str, ...]]:
    """The parts of lm-eval's groups, by the group's name."""
    document = read_object(bundled.FOLDER / "density_groups.json", fix="Install the package again")
    return {name: tuple(parts) for name, parts in document["groups"].items()}


def without_parts(tasks: Sequence[str], groups: Groups) -> tuple[tuple[str, ...], dict[str, str]]:
    """Tasks of which no two hold the same questions; and for each one left out, the group that holds its.

    Args:
        tasks: in the order that is kept; the widest group comes first where two overlap.
        groups: parts of groups, in addition to those of lm-eval.
    """
    taken: dict[str, str] = {}
    left_out: dict[str, str] = {}
    widest_first = sorted(tasks, key=lambda task: -len(leaves(task, groups)))
    for task in widest_first:
        questions = leaves(task, groups)
        if (holder := next((taken[leaf] for leaf in questions if leaf in taken), None)) is not None:
            left_out[task] = holder
        else:
            taken |= dict.fromkeys(questions, task)
    return tuple(task for task in tasks if task not in left_out), left_out


def leaves(task: str, groups: Groups) -> frozenset[str]:
    """Keys of the tasks a group is made of in the end; a task that is not a group is its own."""
    parts = {key(name): [*of] for name, of in {**lm_eval_groups(), **groups}.items() if of}
    for name in (benchmark(task).name, *benchmark(task).names):
        parts.setdefault(key(task), parts.get(key(name), []))
    return _leaves(key(task), parts, seen=frozenset())


def _leaves(name: str, parts: Mapping[str, Collection[str]], *, seen: frozenset[str]) -> frozenset[str]:
    if name in seen or not parts.get(name):
        return frozenset({name})
    below = (_leaves(key(part), parts, seen=seen | {name}) for part in parts[name])
    return frozenset().union(*below)


@cache
def _groups_of(task: str) -> tuple[str, ...]:
    """lm-eval's groups that hold a task, directly or through other groups."""
    return tuple(
        name
        for name in lm_eval_groups()
        if key(name) in known() and key(name) != key(task)
        and (key(task) in leaves(name, {}) or task in lm_eval_groups()[name])
    )  # fmt: skip


def _row(row: Mapping[str, str]) -> Benchmark:
    return Benchmark(
        name=row["task"],
        names=tuple(name for name in row["names"].split(";") if name),
        chance=float(row["chance"]) if row["chance"] else None,
        choices=int(row["choices"]) if row["choices"] else None,
        questions=int(row["questions"]) if row["questions"] else None,
        metric=row["metric"] or None,
        shots=int(row["shots"]) if row["shots"] else None,
        source=row["source"],
    )
