"""Profile intervals and the verdict of a law over a ladder of runs."""

from __future__ import annotations

from sparsity_lab.fitting.judge import shape
from sparsity_lab.fitting.judge.verdict import NOT, Evidence, Verdict, judge
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted, intervals


def judged(problem: Problem, solution: Solution) -> tuple[dict[str, Profile], Verdict]:
    """Profiles of all coefficients, and the verdict they give."""
    if misfit := shape.misfit(problem, solution):
        return {}, Verdict(NOT, misfit, describes=False)
    law, box = problem.law, (0.0, float(problem.y.max()))
    found = intervals(problem, solution, noise.scale_of(problem, solution), Wanted(box=box)).profiles
    evidence = Evidence(
        asymptote=found.get(law.asymptote or ""),
        exponents=tuple(found[name] for name in law.exponents),
        box=box,
        y_range=problem.y_range,
        condition=diagnostics.condition(problem, solution),
        at_edge=bool(solution.at_edge),
        limitless_rival=None,
        better_rival=None,
    )
    return found, judge(evidence)
