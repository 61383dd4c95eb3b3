"""What is said of a formula: its inputs, and what is known of its coefficients."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._coordinates import OVER_DATA, Edges, range_text
from sparsity_lab.laws._formula import CONSTANTS, FUNCTIONS, PAIRS, names, parse
from sparsity_lab.laws._law import ANY, RISING
from sparsity_lab.laws._structure import with_names

INPUT = "x"
# Words behind a formula, before what they say: names of inputs, a coefficient, a way, a range.
INPUTS, ASYMPTOTE, FORWARD, OUTPUT = "inputs", "asymptote", "forward", "output"


@dataclass(frozen=True)
class Terms:
    """A formula and what is said of it.

    Attributes:
        text: the formula in its inputs and named coefficients, with or without `y =` in front.
        ranges: lower and upper edge of nonlinear coefficients; searched in ln where both are positive.
        symbols: names of the inputs.
        fixed: coefficients that are numbers. ties: coefficients that are others.
        bounds: lower and upper bound of coefficients, infinite where there is none.
        limit_name: the linear coefficient that is the limit; found from the formula where None.
        relative: ranges relative to the data (`_coordinates`).
        forward, output_box: as of `Law`.
    """

    text: str
    ranges: Mapping[str, Edges] = field(default_factory=dict)
    symbols: tuple[str, ...] = (INPUT,)
    fixed: Mapping[str, float] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, Edges] = field(default_factory=dict)
    limit_name: str | None = None
    relative: Mapping[str, Edges] = field(default_factory=dict)
    forward: str = RISING
    output_box: Edges = ANY

    def whole_tree(self) -> ast.expr:
        """The formula with its fixed coefficients as numbers and its tied ones as others.

        Raises:
            SparsityLabError: it cannot be read, lacks an input, or has no such coefficient.
        """
        tree = parse(self.text)
        for symbol in self.symbols:
            if symbol not in names(tree):
                raise SparsityLabError(
                    f"The formula {self.text!r} has no input {symbol}",
                    fix="Write x for the input, or name the inputs: --inputs N=params,D=tokens",
                )
        coefficients = names(tree) - set(self.symbols)
        self._refuse_strangers([*self.fixed, *self.ties, *self.ties.values()], coefficients)
        if twice := {*self.fixed, *self.ties.values()} & set(self.ties):
            raise SparsityLabError(
                f"The coefficient {min(twice)} of the formula {self.text!r} is fixed or tied twice",
                fix="Tie each coefficient to one that stays: --tie b=a --tie c=a",
            )
        given: dict[str, ast.expr] = {name: ast.Constant(value) for name, value in self.fixed.items()}
        given |= {name: ast.Name(other, ast.Load()) for name, other in self.ties.items()}
        left = coefficients - set(given)
        limit = [] if self.limit_name is None else [self.limit_name]
        self._refuse_strangers([*self.ranges, *self.relative, *self.bounds, *limit], left, given)
        return with_names(tree, given)

    def full_text(self, found: Iterable[str] = ()) -> str:
        """The formula and all that is said of it, from which the law can be made again.

        Args:
            found: ranges that were found where none was given.
        """
        inputs = [] if self.symbols == (INPUT,) else [f"{INPUTS} {', '.join(self.symbols)}"]
        ranges = [range_text(name, edges) for name, edges in self.ranges.items()]
        ranges += [f"{range_text(name, edges)} {OVER_DATA}" for name, edges in self.relative.items()]
        ranges = sorted([*ranges, *found], key=lambda text: text.endswith(OVER_DATA))
        fixed = [f"{name}={value!r}" for name, value in self.fixed.items()]
        ties = [f"{name}={other}" for name, other in self.ties.items()]
        bounds = [f"{name}>={low!r}" for name, (low, _) in self.bounds.items() if low > -math.inf]
        bounds += [f"{name}<={high!r}" for name, (_, high) in self.bounds.items() if high < math.inf]
        limit = [] if self.limit_name is None else [f"{ASYMPTOTE} {self.limit_name}"]
        output = [] if self.output_box == ANY else [f"{OUTPUT} {ends_text(self.output_box)}"]
        forward = [] if self.forward == RISING else [f"{FORWARD} {self.forward}"]
        return "; ".join([self.text, *inputs, *ranges, *fixed, *ties, *bounds, *limit, *forward, *output])

    def _refuse_strangers(
        self, asked: Iterable[str], coefficients: set[str], settled: Collection[str] = ()
    ) -> None:
        """Refuse names that are not coefficients, or those of settled ones."""
        for name in asked:
            if name not in coefficients:
                raise SparsityLabError(
                    f"The formula {self.text!r} has no coefficient {name} left"
                    if name in settled
                    else f"The formula {self.text!r} has no coefficient {name}",
                    why="It is a number or another coefficient" if name in settled else "",
                    fix=f"Its coefficients are {', '.join(sorted(coefficients)) or 'none'}",
                )


def ends_text(edges: Edges) -> str:
    """Ends of a range, each of which may be missing, as they are written: `0.0:`."""
    return ":".join(repr(edge) if math.isfinite(edge) else "" for edge in edges)


def refuse_symbols(symbols: tuple[str, ...]) -> None:
    """Refuse names that an input cannot have.

    Raises:
        SparsityLabError: one is not a name, means something else in formulas, or is there twice.
    """
    for at, symbol in enumerate(symbols):
        if not symbol.isidentifier() or symbol in {*CONSTANTS, *FUNCTIONS, *PAIRS} or symbol in symbols[:at]:
            raise SparsityLabError(
                f"An input of a formula cannot be called {symbol!r}",
                why="It is a function or a constant of formulas, is there twice, or is not a name",
                fix="Write --inputs N=params,D=tokens",
            )
