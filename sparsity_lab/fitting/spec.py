"""What to fit and how: the choices a fit is made with, and the `auto` ones with their reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve.objective import SQUARES, Objective
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.settings import AUTO, BOOTSTRAP, DELTA, EVEN, NOISES, POWER, SPARE

RIVALS = ("power", "logspace-power", "rising-exponential", "sigmoid", "logarithmic", "constant")
SEVERAL_INPUTS = "loss-power"  # the usual law of two inputs
# The activations whose runs the paper fits with one law or the other (arXiv 2411.02335, table 2).
PAPER_LAWS = {"relu": "logspace-power", "silu": "power", "swish": "power"}


@dataclass(frozen=True)
class FitSpec:
    """What to fit and how.

    Attributes:
        law: id of a law, or auto: the paper's law for ReLU and SiLU, otherwise the best by AICc with a limit; of
            several inputs `SEVERAL_INPUTS`.
        rivals: ids of the laws compared; None for the usual ones of as many inputs.
        drop: leading points left out, for all series, by name of series, or auto (`warmup.AUTO_RULE`).
        drop_rule: why that many.
        weighted: weight points by 1/se^2 where the table has standard errors.
        robust: minimize the sum of Huber losses on ln y. delta: where these turn from square to absolute, in ln y.
        log: least squares on ln y.
        noise: even, or POWER: with a variance that is a power of the curve (`solve.variance`).
        draws: bootstrap refits; 0 for none.
        spare: fewest points beyond the coefficients; a series with fewer is left out.
        reach: values of y whose x is asked for, besides those between the last point and the limit.
        seed: of the search grid and the bootstrap.
    """

    law: str = AUTO
    rivals: tuple[str, ...] | None = None
    drop: int | str | Mapping[str, int] = 0
    drop_rule: str = "none asked for"
    weighted: bool = False
    robust: bool = False
    delta: float = DELTA
    log: bool = False
    noise: str = EVEN
    draws: int = BOOTSTRAP
    spare: int = SPARE
    reach: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check_fields(self)
        if self.robust and (self.log or self.weighted):
            raise SparsityLabError(
                f"{'log' if self.log else 'weighted'} and robust exclude each other",
                why="Huber losses are on ln y already, and take each point alike",
                fix="Leave one of them out",
            )
        if self.noise not in NOISES:
            raise SparsityLabError(
                f"noise={self.noise!r} is not understood", fix=f"Give {' or '.join(NOISES)}"
            )
        if self.noise == POWER and (self.robust or self.log or self.weighted):
            other = "robust" if self.robust else "log" if self.log else "weighted"
            raise SparsityLabError(
                f"--noise power and {other} exclude each other",
                why="Standard errors are the noise of each point already"
                if self.weighted
                else "Noise that is even in ln y is one power of y already",
                fix="Leave one of them out",
            )

    @property
    def why_positive_y(self) -> str:
        """Why y has to be above 0; empty where it has not."""
        if self.on_log:
            return "Its logarithm is fitted, and it has none"
        return (
            "A power of it is the variance of its noise, so it has to be above 0"
            if self.noise == POWER
            else ""
        )

    @property
    def on_log(self) -> bool:
        """Whether ln y is fitted rather than y."""
        return self.robust or self.log

    @property
    def objective(self) -> Objective:
        """What is made least."""
        if self.robust:
            return Objective(log=True, delta=self.delta)
        return Objective(log=True) if self.log else SQUARES

    def law_name(self, inputs: int) -> str:
        """The law asked for; for several inputs there is a usual one."""
        return SEVERAL_INPUTS if self.law == AUTO and inputs > 1 else self.law

    def rival_names(self, inputs: int) -> tuple[str, ...]:
        """The laws compared, the one that is asked for among them."""
        usual = RIVALS if inputs == 1 else ()
        rivals, law = usual if self.rivals is None else self.rivals, self.law_name(inputs)
        return rivals if law in (AUTO, *rivals) else (*rivals, law)

    def root_weights(self, series: Series) -> Array | None:
        """1 over the noise of what is fitted, up to a factor, shape (n,), or None for equal weights."""
        if self.noise == POWER:
            assert series.noise is not None  # `solved.noise_of` finds it
            return np.asarray(1.0 / series.noise)
        if not self.weighted or series.se is None:
            return None
        return np.asarray((series.y if self.log else 1.0) / series.se)

    def drop_for(self, name: str) -> int | None:
        """Leading points left out of a series; None where that is left to the rule."""
        if isinstance(self.drop, str):
            return None
        return self.drop if isinstance(self.drop, int) else self.drop.get(name, 0)

    def check_names(self, names: list[str]) -> None:
        """Every series named for a drop is there.

        Raises:
            SparsityLabError: one is not, or a count is negative.
        """
        if isinstance(self.drop, str):
            if self.drop != AUTO:
                raise SparsityLabError(
                    f"drop={self.drop!r} is not understood", fix="Give a count, counts by series, or 'auto'"
                )
            return
        drops = {"all series": self.drop} if isinstance(self.drop, int) else self.drop
        for name, count in drops.items():
            if count < 0:
                raise SparsityLabError(f"Cannot drop {count} points of {name}", fix="Give 0 or more")
            if not isinstance(self.drop, int) and name not in names:
                raise registry.unknown(name, kind="series", known=names)


def law_of(name: str, *, inputs: int) -> Law:
    """`load_law`, for series of so many inputs.

    Raises:
        SparsityLabError: there is no such law, or it has another number of inputs.
    """
    law = load_law(name)
    if len(law.inputs) != inputs:
        count = len(law.inputs)
        raise SparsityLabError(
            f"The law {law.name} has {count} input{'s' * (count != 1)}, and --x names "
            f"{inputs} column{'s' * (inputs != 1)}",
            why=f"Its inputs are {' and '.join(variable.meaning for variable in law.inputs)}",
            fix="Name one column for each with --x A,B, or choose another law",
        )
    return law


def choose_law(
    series: Series, spec: FitSpec, comparison: Comparison, *, describes: Callable[[Law], bool]
) -> tuple[Law, str]:
    """The law to report on and why that one.

    Args:
        series: the points. spec: what was asked for. comparison: the rivals on these points.
        describes: whether a law can describe which way the points go.
    """
    if (name := spec.law_name(series.inputs)) != AUTO:
        law, why = (
            load_law(name),
            "asked for" if name == spec.law else f"the usual law of {series.inputs} inputs",
        )
        return law, f"{why}; {law.note}" if law.note else why
    apart = ""
    if series.activation in PAPER_LAWS:
        usual, whose = load_law(PAPER_LAWS[series.activation]), f"the paper's law for {series.activation}"
        if describes(usual):
            return usual, whose
        apart = f"{usual.name}, {whose}, cannot describe which way these points go; "
    tending = [rival for rival in comparison.rivals if _tends(load_law(rival.law))]
    if best := next((rival for rival in tending if rival.describes), None):
        return load_law(best.law), f"{apart}best AICc among the laws with a limit"
    if tending:
        return load_law("constant"), f"{apart}no law with a limit describes these points"
    return load_law("constant"), f"{apart}too few points for any other law"


def _tends(law: Law) -> bool:
    """Whether a law goes somewhere and has a limit."""
    return law.far_end is not None and len(law.parameters) > 1
