"""A law of the literature that is a formula: its text, what its coefficients mean, and where it was published.

It is fitted as the same formula typed on the command line is; its coefficients can be fixed, tied and bounded alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sparsity_lab.laws._expression import Expression
from sparsity_lab.laws._law import Array, Law, Parameter, Span, Variable
from sparsity_lab.laws._terms import Terms


@dataclass(frozen=True)
class Published(Expression):
    r"""A published law.

    Attributes:
        id: the file's id. meanings: coefficient -> its unit and meaning, in the order the paper prints them.
        printed: its formula in LaTeX. where: paper, section and equation.
        inputs_are, output_is: what x and y are, with units.
        said: clauses that a user added to the law's own, in the form that `load_law` reads.
    """

    id: str = ""
    meanings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    printed: str = ""
    where: str = ""
    inputs_are: tuple[Variable, ...] = ()
    output_is: Variable = Expression.output
    said: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {
            "name": "; ".join((self.id, *self.said)),
            "typed": self.full_text(),
            "latex": self.printed,
            "source": self.where,
            "inputs": self.inputs_are,
            "output": self.output_is,
            "parameters": tuple(self._described(name) for name in self.meanings if self._is_left(name)),
            "note": "",
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The coefficients, in the order the paper prints them."""
        values = super().assemble(theta, linear, span)
        return {parameter.name: values[parameter.name] for parameter in self.parameters}

    def with_terms(self, said: Terms, words: tuple[str, ...]) -> Law:
        """The law with more said of its coefficients: ranges, numbers, ties and bounds.

        Raises:
            SparsityLabError: it has no such coefficient, or a bound cannot be kept.
        """
        merged: dict[str, Any] = {
            name: {**getattr(self, name), **getattr(said, name)}
            for name in ("ranges", "relative", "fixed", "ties", "bounds")
        }
        gone = {*merged["fixed"], *merged["ties"]}
        for name in ("ranges", "relative", "bounds"):
            own = getattr(self, name)
            merged[name] = {
                key: value for key, value in merged[name].items() if key not in gone or key not in own
            }
        return replace(self, said=words, **merged)

    def _is_left(self, name: str) -> bool:
        return name in self.linear or name in self.nonlinear

    def _described(self, name: str) -> Parameter:
        unit, meaning = self.meanings[name]
        return replace(self._parameter_of(name, self.parts), unit=unit, meaning=meaning)
