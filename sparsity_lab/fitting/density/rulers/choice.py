"""Which ruler a run uses: a file, a shipped one, a family of some table, or the best of the families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Yardstick, densities
from sparsity_lab.fitting.density.rulers.files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers.one_step import FEWEST_SIZES, OneStepRuler, family_ruler
from sparsity_lab.fitting.density.rulers.ruler import Ruler, RulerRecipe
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler, check_d0
from sparsity_lab.fitting.density.scores.benchmarks import UnknownChanceError, benchmark, same
from sparsity_lab.fitting.density.scores.metrics import TaskSetting
from sparsity_lab.fitting.density.scores.sizes import SizeConvention, size_of
from sparsity_lab.fitting.density.scores.targets import Target, bundled_targets
from sparsity_lab.registry import unknown

TRIAL_DRAWS = 200
BUNDLED_SOURCE = "bundled table of open base models; each score with its source in density_scores.csv"


def named_ruler(name: str) -> tuple[Ruler | None, str]:
    """The ruler of a file or a shipped one, and why it is used; None where `name` is neither.

    Raises:
        SparsityLabError: the file is not a ruler.
    """
    if Path(name).is_file():
        return read_ruler(Path(name)), "the file was named"
    if name in shipped():
        return read_ruler(shipped()[name]), "it was asked for"
    return None, ""


def at_tokens(ruler: Ruler, d0_tokens: float | None) -> Ruler:
    """The ruler at D0 training tokens; None keeps its own.

    Raises:
        SparsityLabError: D0 is not a count, or the ruler has none.
    """
    if d0_tokens is None:
        return ruler
    check_d0(d0_tokens)
    if not isinstance(ruler, TwoStepRuler):
        raise SparsityLabError(f"The ruler {ruler.name} has one step and no D0", fix="Leave --d0 out")
    return replace(ruler, d0_tokens=d0_tokens)


def family_of_choice(
    name: str, targets: Sequence[Target], *, tasks: Sequence[str] | None, all_tasks: Sequence[str], base: bool,
    recipe: RulerRecipe,
) -> tuple[Ruler, str]:  # fmt: skip
    """A ruler of one family, and why this one.

    Args:
        name: of the family; `auto` for the one that reaches most targets. A family of the targets themselves has to
            be named: no target measures itself unless that is asked for. Where the targets have too few sizes of a
            bundled family, the bundled models alone are the ruler.
        targets: what is measured.
        tasks: asked for; None for those of `all_tasks` that the family has.
        all_tasks: of the targets.
        base: whether the targets are the bundled table itself.
        recipe: how rulers are made; its source is not heeded.

    Raises:
        SparsityLabError: no such family, or it has too few sizes.
    """
    lent = lenders(targets, base=base)
    replaced = not base and not _are_enough(name, targets, recipe.convention)
    bundled_family = [t for t in bundled_targets() if replaced and t.family == name]
    pool = list(targets) if base else [*targets, *lent]
    if bundled_family:
        pool = [*(t for t in pool if t.family != name), *bundled_family]
    recipe = replace(recipe, source=BUNDLED_SOURCE if base else f"the targets and the {BUNDLED_SOURCE}")
    among_targets = any(t.family == name for t in targets)
    wanted = tuple(tasks or all_tasks)
    tasks_of_pool = sorted({task for target in pool for task in target.scores})
    if missing := [task for task in wanted if task not in tasks_of_pool]:
        raise unknown(missing[0], kind="task", known=tasks_of_pool)
    if name == "auto":
        shared = wanted if tasks else tuple(t for t in wanted if any(t in other.scores for other in lent))
        candidates = rulers_of(lent, shared, replace(recipe, draws=TRIAL_DRAWS)) if shared else []
        if not candidates:
            raise _no_candidates(wanted)
        name, reason = choose_ruler(targets, candidates, shared, recipe.convention)
        wanted = shared
    else:
        few = f"; the targets have fewer than {FEWEST_SIZES} sizes of it, the bundled table's are used"
        reason = f"it was asked for{few if bundled_family and among_targets else ''}"
    members = [t for t in pool if t.family == name]
    if not members:
        raise unknown(name, kind="ruler", known=sorted({t.family for t in pool} | set(shipped())))
    if tasks is None:
        wanted = tuple(t for t in wanted if all(t in m.scores for m in members if not m.moe)) or wanted
    ruler = family_ruler(name, members, tasks=wanted, recipe=recipe)
    if not base and not bundled_family and any(t.family == name for t in targets):
        return replace(ruler, harness="the targets' own scores"), reason
    return replace(ruler, settings=_usual(ruler.tasks)), reason


def _usual(tasks: Sequence[str]) -> dict[str, TaskSetting]:
    """How published scores of tasks are usually made; each source may differ."""
    return {task: TaskSetting(benchmark(task).metric, benchmark(task).shots) for task in tasks}


def _are_enough(family: str, targets: Sequence[Target], convention: SizeConvention) -> bool:
    """Whether the targets of a family have enough sizes to be a ruler."""
    sizes = {size_of(t, convention) for t in targets if t.family == family and not t.moe} - {None}
    return len(sizes) >= FEWEST_SIZES


def lenders(targets: Sequence[Target], *, base: bool) -> list[Target]:
    """The models whose families may be rulers unasked: those of the bundled table.

    No family is mixed from two sources: only families that the targets do not have. The bundled table itself, `base`,
    has no other models than its own.
    """
    taken = set() if base else {t.family for t in targets}
    return [t for t in (targets if base else bundled_targets()) if t.family not in taken]


def _no_candidates(tasks: Sequence[str]) -> SparsityLabError:
    """The error where no family has the tasks, with the rulers that have them."""
    rulers = {name: read_ruler(path).tasks for name, path in shipped().items()}
    having = [name for name, of in rulers.items() if all(any(same(t, o) for o in of) for t in tasks)]
    hint = (
        f"; {', '.join(having)} would do"
        if having
        else " (a family of the targets themselves counts if named)"
    )
    return SparsityLabError(
        f"No family of other models has four sizes with {', '.join(tasks)}",
        fix=f"Name a ruler{hint}, or fewer tasks",
    )


def rulers_of(targets: Sequence[Target], tasks: Sequence[str], recipe: RulerRecipe) -> list[OneStepRuler]:
    """A ruler of every family with at least four sizes that can be one.

    Raises:
        UnknownChanceError: a family would be one if somebody said what guessing scores.
    """
    rulers = []
    for family in sorted({t.family for t in targets}):
        try:
            ruler = family_ruler(family, targets, tasks=tasks, recipe=recipe)
            ruler.curve(tasks)
        except UnknownChanceError:
            raise
        except SparsityLabError:
            continue
        rulers.append(ruler)
    return rulers


def choose_ruler(
    targets: Sequence[Target],
    candidates: Sequence[OneStepRuler],
    tasks: Sequence[str],
    convention: SizeConvention,
) -> tuple[str, str]:
    """The family whose ruler leaves the fewest targets without a number, then with an open bound; and why."""
    scored = []
    for ruler in candidates:
        measured = densities(targets, Yardstick(ruler, convention), tasks)
        opened = sum(density.low is None or density.high is None for density in measured)
        scored.append((sum(density.rho is None for density in measured), opened, ruler.name))
    bounds, opened, name = min(scored)
    others = ", ".join(f"{other} {b} and {o}" for b, o, other in sorted(scored)[1:])
    reason = (
        f"{name} leaves {bounds} of {len(targets)} models with a bound instead of a number and {opened} with "
        f"an open interval" + (f" ({others})" if others else "")
    )
    return name, reason
