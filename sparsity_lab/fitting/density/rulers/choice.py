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
from sparsity_lab.fitting.density.scores.targets import Target, bundled_targets, harness_of
from sparsity_lab.registry import unknown
from sparsity_lab.settings import AUTO

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
    name: str, targets: Sequence[Target], *, tasks: Sequence[str] | None, all_tasks: Sequence[str], alone: bool,
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
        alone: whether the targets are their own rulers: the bundled table, or the scores of one harness.
        recipe: how rulers are made; its source is not heeded.

    Raises:
        SparsityLabError: no such family, or it has too few sizes.
    """
    lent = lenders(targets, base=alone)
    replaced = not alone and not _are_enough(name, targets, recipe.convention)
    bundled_family = [t for t in bundled_targets() if t.family == name] if replaced else []
    pool = list(targets) if alone else [*targets, *lent]
    if bundled_family:
        pool = [*(t for t in pool if t.family != name), *bundled_family]
    recipe = _of_source(recipe, targets, alone=alone)
    among_targets = any(t.family == name for t in targets)
    wanted = tuple(tasks or all_tasks)
    tasks_of_pool = sorted({task for target in pool for task in target.scores})
    if missing := [task for task in wanted if task not in tasks_of_pool]:
        raise unknown(missing[0], kind="task", known=tasks_of_pool)
    if name == AUTO:
        name, reason, wanted = _best_family(targets, lent, wanted, recipe, all_of_them=tasks is not None)
    else:
        few = f"; the targets have fewer than {FEWEST_SIZES} sizes of it, the bundled table's are used"
        reason = f"it was asked for{few if bundled_family and among_targets else ''}"
    members = [t for t in pool if t.family == name]
    if not members:
        able = {t.family for t in pool if _are_enough(t.family, pool, recipe.convention)}
        raise unknown(name, kind="ruler", known=sorted(able | set(shipped())))
    if tasks is None:
        wanted = _had_by_all(members, wanted) or wanted
    ruler = family_ruler(name, members, tasks=wanted, recipe=recipe)
    if harness_of(targets) and alone:
        return ruler, reason
    if not alone and not bundled_family and any(t.family == name for t in targets):
        return replace(ruler, harness="the targets' own scores"), reason
    return replace(ruler, settings=_usual(ruler.tasks)), reason


def _of_source(recipe: RulerRecipe, targets: Sequence[Target], *, alone: bool) -> RulerRecipe:
    """A recipe that says where the scores of a ruler come from."""
    if alone and (harness := harness_of(targets)):
        return replace(recipe, source="scores of the targets' own table", harness=harness)
    return replace(recipe, source=BUNDLED_SOURCE if alone else f"the targets and the {BUNDLED_SOURCE}")


def _had_by_all(members: Sequence[Target], tasks: Sequence[str]) -> tuple[str, ...]:
    """Tasks that every dense model has."""
    return tuple(task for task in tasks if all(task in m.scores for m in members if not m.moe))


def _best_family(
    targets: Sequence[Target], lent: Sequence[Target], wanted: tuple[str, ...], recipe: RulerRecipe, *,
    all_of_them: bool,
) -> tuple[str, str, tuple[str, ...]]:  # fmt: skip
    """The family that reaches most targets, why, and its tasks.

    Where no family has all the tasks and not all were asked for, it is the best of those that have most of them.

    Raises:
        SparsityLabError: no family has four sizes with them.
    """
    recipe = replace(recipe, draws=TRIAL_DRAWS)
    shared = wanted if all_of_them else tuple(t for t in wanted if any(t in other.scores for other in lent))
    candidates = rulers_of(lent, shared, recipe) if shared else []
    if not candidates and not all_of_them:
        families = {family: [t for t in lent if t.family == family] for family in {t.family for t in lent}}
        had = {family: _had_by_all(members, shared) for family, members in families.items()}
        for shared in sorted(set(had.values()), key=lambda of: (-len(of), of)):
            able = [t for t in lent if had[t.family] == shared]
            if candidates := rulers_of(able, shared, recipe) if shared else []:
                break
    if not candidates:
        raise _no_candidates(wanted)
    name, reason = choose_ruler(targets, candidates, shared, recipe.convention)
    return name, reason, shared


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
    has no other models than its own, and neither have the scores of one harness.
    """
    if base or harness_of(targets):
        return list(targets)
    taken = {t.family for t in targets}
    return [t for t in bundled_targets() if t.family not in taken]


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
