"""How well a published fit does that is known by its printed digits alone: the best coefficients that round to them.

A coefficient printed as 0.012 lies between 0.0115 and 0.0125. The least objective with every coefficient in such a box,
over the least of all, says whether the printed coefficients are those of the best fit: 1 where they are. The objective
at the printed values themselves says less, because coefficients of one fit are tied to each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import least_squares

from sparsity_lab.fitting.reproduce.published import half_unit
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import Array

TOLERANCE = 1e-12


def least_within(problem: Problem, printed: Mapping[str, str]) -> float:
    """The least objective with every coefficient within the digits it is printed with.

    Args:
        problem: the law, its points and what is made least. printed: every coefficient of the law, as text.
    """
    names = [parameter.name for parameter in problem.law.parameters]
    centre = np.array([float(printed[name]) for name in names])
    halves = np.array([half_unit(printed[name]) for name in names])
    objective = problem.objective
    weights = 1.0 if problem.root_weights is None else problem.root_weights

    def residuals(place: Array) -> Array:
        curve = problem.law.predict(dict(zip(names, centre + place * halves, strict=True)), problem.x)
        with np.errstate(all="ignore"):
            away = np.log(problem.y / curve) if objective.log else problem.y - curve
        return np.nan_to_num(away * weights, nan=1e6)

    found = least_squares(
        residuals,
        np.zeros(len(names)),
        bounds=(-1.0, 1.0),
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        gtol=TOLERANCE,
        loss="huber" if objective.huber else "linear",
        f_scale=objective.delta if objective.huber else 1.0,
    )
    return float(found.cost) * (1.0 if objective.huber else 2.0)
