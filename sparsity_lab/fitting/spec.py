"""What to fit and how: the choices a fit is made with, and the `auto` ones with their reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.rivals import Comparison
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.laws._law import Law
from sparsity_lab.settings import AUTO, BOOTSTRAP

RIVALS = ("power", "logspace-power", "rising-exponential", "sigmoid", "logarithmic", "constant")
# The activations whose runs the paper fits with one law or the other (arXiv 2411.02335, table 2).
PAPER_LAWS = {"relu": "logspace-power", "silu": "power", "swish": "power"}


@dataclass(frozen=True)
class FitSpec:
    """What to fit and how.

    Attributes:
        law: id of a law, or auto: the paper's law for ReLU and SiLU, otherwise the best by AICc with a limit.
        rivals: ids of the laws compared.
        drop: leading points left out, for all series, by name of series, or auto (`warmup.AUTO_RULE`).
        drop_rule: why that many.
        weighted: weight points by 1/se^2 where the table has standard errors.
        draws: bootstrap refits; 0 for none.
        reach: values of y whose x is asked for, besides those between the last point and the limit.
        seed: of the search grid and the bootstrap.
    """

    law: str = AUTO
    rivals: tuple[str, ...] = RIVALS
    drop: int | str | Mapping[str, int] = 0
    drop_rule: str = "none asked for"
    weighted: bool = False
    draws: int = BOOTSTRAP
    reach: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check_fields(self)

    def drop_for(self, name: str) -> int | None:
        """Leading points left out of a series; None where that is left to the rule."""
        if isinstance(self.drop, str):
            return None
        return self.drop if isinstance(self.drop, int) else self.drop.get(name, 0)

    def asked_for_besides(self) -> tuple[str, ...]:
        """The law that is asked for where it is none of the rivals, so that it is compared with them."""
        return () if self.law in (AUTO, *self.rivals) else (self.law,)

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


def choose_law(
    series: Series, spec: FitSpec, comparison: Comparison, *, describes: Callable[[Law], bool]
) -> tuple[Law, str]:
    """The law to report on and why that one.

    Args:
        series: the points. spec: what was asked for. comparison: the rivals on these points.
        describes: whether a law can describe which way the points go.
    """
    if spec.law != AUTO:
        law = load_law(spec.law)
        return law, f"asked for; {law.note}" if law.note else "asked for"
    apart = ""
    if series.activation in PAPER_LAWS:
        usual, whose = load_law(PAPER_LAWS[series.activation]), f"the paper's law for {series.activation}"
        if describes(usual):
            return usual, whose
        apart = f"{usual.name}, {whose}, cannot describe which way these points go; "
    for rival in comparison.rivals:
        law = load_law(rival.law)
        if _nears_a_limit(law) and rival.describes:
            return law, f"{apart}best AICc among the laws with a limit"
    if any(_nears_a_limit(load_law(rival.law)) for rival in comparison.rivals):
        return load_law("constant"), f"{apart}no law with a limit describes these points"
    return load_law("constant"), f"{apart}too few points for any other law"


def _nears_a_limit(law: Law) -> bool:
    """Whether a law has a limit and a way to it; the constant is there from the start."""
    return law.asymptote is not None and len(law.parameters) > 1
