"""Which ruler a run uses: a file, a shipped one, a family of some table, or the best of the families."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import densities
from sparsity_lab.fitting.density.one_step import DRAWS, family_ruler
from sparsity_lab.fitting.density.ruler_files import read_ruler, shipped
from sparsity_lab.fitting.density.rulers import OneStepRuler, Ruler
from sparsity_lab.fitting.density.score_errors import SourceSpread
from sparsity_lab.fitting.density.sizes import SizeConvention
from sparsity_lab.fitting.density.targets import Target, bundled_targets
from sparsity_lab.fitting.density.two_step import TwoStepRuler, check_d0
from sparsity_lab.registry import unknown

log = logging.getLogger(__name__)

TRIAL_DRAWS = 200
BUNDLED_SOURCE = "bundled table of open base models; each score with its source in density_scores.csv"


def resolve_ruler(
    name: str,
    targets: Sequence[Target],
    *,
    tasks: Sequence[str] | None,
    all_tasks: Sequence[str],
    base: bool,
    convention: SizeConvention,
    d0_tokens: float | None,
    seed: int,
) -> tuple[Ruler, str]:
    """The ruler a run uses, and why this one.

    Args:
        name: `auto`, a path, a shipped ruler or a family.
        tasks: asked for; None for whatever `all_tasks` the family has.
        base: whether the targets are the bundled table itself.

    Raises:
        SparsityLabError: no such ruler, it has too few sizes, or D0 is given to a ruler without one.
    """
    if d0_tokens is not None:
        check_d0(d0_tokens)
    found, reason = _from_file(name)
    if found is None:
        found, reason = _family(name, targets, tasks=tasks, all_tasks=all_tasks, base=base,
                                convention=convention, seed=seed)  # fmt: skip
    if d0_tokens is None:
        return found, reason
    if not isinstance(found, TwoStepRuler):
        raise SparsityLabError(f"The ruler {found.name} has one step and no D0", fix="Leave --d0 out")
    return replace(found, d0_tokens=d0_tokens), reason


def _from_file(name: str) -> tuple[Ruler | None, str]:
    if Path(name).is_file():
        return read_ruler(Path(name)), "the file was named"
    if name in shipped():
        return read_ruler(shipped()[name]), "it was asked for"
    return None, ""


def _family(
    name: str,
    targets: Sequence[Target],
    *,
    tasks: Sequence[str] | None,
    all_tasks: Sequence[str],
    base: bool,
    convention: SizeConvention,
    seed: int,
) -> tuple[Ruler, str]:
    own = {t.family for t in targets}
    # No family is mixed from two sources: the bundled table lends only families that the targets do not have.
    pool = [*targets, *(t for t in ([] if base else bundled_targets()) if t.family not in own)]
    source = BUNDLED_SOURCE if base else f"the targets and the {BUNDLED_SOURCE}"
    wanted = tuple(tasks or all_tasks)
    _refuse_unknown_tasks(wanted, pool)
    if name == "auto":
        candidates = rulers_of(
            pool, tasks=wanted, convention=convention, seed=seed, source=source, draws=TRIAL_DRAWS
        )
        name, reason = choose_ruler(targets, candidates, tasks=wanted, convention=convention)
    else:
        reason = "it was asked for"
    if not any(t.family == name for t in pool):
        known = sorted({t.family for t in pool} | set(shipped()))
        raise unknown(name, kind="ruler", known=known)
    if tasks is None:
        members = [t for t in pool if t.family == name and not t.moe]
        wanted = tuple(task for task in wanted if all(task in t.scores for t in members)) or wanted
    return family_ruler(name, pool, tasks=wanted, convention=convention, seed=seed, source=source), reason


def _refuse_unknown_tasks(tasks: Sequence[str], pool: Sequence[Target]) -> None:
    known = sorted({task for target in pool for task in target.scores})
    for task in tasks:
        if task not in known:
            raise unknown(task, kind="task", known=known)


def rulers_of(
    targets: Sequence[Target], *, tasks: Sequence[str], convention: SizeConvention, seed: int, source: str,
    draws: int = DRAWS,
) -> list[OneStepRuler]:  # fmt: skip
    """A ruler of every family with at least four sizes that can be one."""
    found = []
    for family in sorted({t.family for t in targets}):
        try:
            ruler = family_ruler(
                family, targets, tasks=tasks, convention=convention, seed=seed, source=source, draws=draws
            )
            ruler.curve(tasks)
        except SparsityLabError:
            continue
        found.append(ruler)
    return found


def choose_ruler(
    targets: Sequence[Target], candidates: Sequence[OneStepRuler], *, tasks: Sequence[str],
    convention: SizeConvention,
) -> tuple[str, str]:  # fmt: skip
    """The family whose ruler leaves the fewest targets without a number, then with an open bound; and why.

    Raises:
        SparsityLabError: no family can be a ruler.
    """
    if not candidates:
        having = [name for name, path in shipped().items() if set(tasks) <= set(read_ruler(path).tasks)]
        hint = f"; {', '.join(having)} would do" if having else ""
        raise SparsityLabError(
            f"No family has four sizes with {', '.join(tasks)}", fix=f"Name a ruler{hint}, or fewer tasks"
        )
    scored = sorted((_unreached(targets, r, tasks=tasks, convention=convention), r.name) for r in candidates)
    (bounds, opened), name = scored[0]
    others = ", ".join(f"{other} {b} and {o}" for (b, o), other in scored[1:])
    reason = (
        f"{name} leaves {bounds} of {len(targets)} models with a bound instead of a number and {opened} with "
        f"an open interval" + (f" ({others})" if others else "")
    )
    return name, reason


def _unreached(
    targets: Sequence[Target], ruler: OneStepRuler, *, tasks: Sequence[str], convention: SizeConvention
) -> tuple[int, int]:
    found = densities(targets, ruler, tasks=tasks, convention=convention, spread=SourceSpread({}))
    return sum(d.rho is None for d in found), sum(d.low is None or d.high is None for d in found)
