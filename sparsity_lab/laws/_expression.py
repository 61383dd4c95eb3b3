"""A law from a formula as text, such as `A0 - c*x**-alpha` or `b1*(1 - exp(-b2*x))`.

Which coefficients are linear, where the others are searched and what the limit is follow from the formula's structure
(`_structure`, `_coordinates`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sparsity_lab.laws import _coordinates
from sparsity_lab.laws._column import Known
from sparsity_lab.laws._formula import Dual, number, walk
from sparsity_lab.laws._law import (
    ANY,
    AS_IN_TABLE,
    LINEAR,
    LOG_LINEAR,
    NONLINEAR,
    Array,
    Coefficients,
    Law,
    Limits,
    Parameter,
    Span,
    Variable,
)
from sparsity_lab.laws._limits import far_away, far_end_of
from sparsity_lab.laws._parts import FormulaParts, parts_of
from sparsity_lab.laws._terms import Terms


@dataclass(frozen=True)
class Expression(Terms, Law):
    """A law given as text.

    Raises:
        SparsityLabError: the formula cannot be read, a coefficient is not in it, or a bound cannot be kept.
    """

    linear: tuple[str, ...] = field(init=False)
    nonlinear: tuple[str, ...] = field(init=False)
    parts: FormulaParts = field(init=False, repr=False, compare=False)

    source = "given as text"
    output = Variable("y", "y", AS_IN_TABLE)

    def __post_init__(self) -> None:
        parts = parts_of(self)
        linear, nonlinear = tuple(parts.columns), tuple(sorted(parts.coordinates))
        # The name alone makes the law again, so that fits and locks of formulas can be repeated.
        derived = {
            "parts": parts,
            "linear": linear,
            "nonlinear": nonlinear,
            "name": self.full_text(parts.found),
            "note": "; ".join(
                [*([f"ranges found: {', '.join(parts.found)}"] if parts.found else []), *parts.notes]
            ),
            "formula": self.text,
            "typed": self.text,
            "latex": "",
            "inputs": tuple(Variable(symbol, symbol, AS_IN_TABLE) for symbol in self.symbols),
            "parameters": tuple(self._parameter_of(name, parts) for name in (*nonlinear, *linear)),
            "linear_lower": parts.lower,
            "offset_columns": () if parts.rest is None else ((len(linear), 1.0),),
            "asymptote": parts.asymptote,
            "asymptote_column": None if parts.asymptote is None else linear.index(parts.asymptote),
            "exponents": {name: nonlinear.index(name) for name in parts.exponents},
            "scales": tuple(
                name
                for name in nonlinear
                if name not in parts.exponents
                and (place := parts.coordinates[name]).measure == _coordinates.VALUE
                and place.edges[0] > 0
            ),
            "positive_inputs": parts.positive_inputs,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def search_box(self, span: Span) -> Array:
        """Edges of the coordinates; in ln where a range is positive."""
        return np.array([self.parts.coordinates[name].box() for name in self.nonlinear]).reshape(-1, 2)

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """One column a linear coefficient, and the part without any where there is one.

        A column that is not finite everywhere is zero: it can explain nothing, and the search goes elsewhere.
        """
        columns = [column.value for column in self._design(theta, x, span, slopes=False)]
        stacked = np.stack(np.broadcast_arrays(*columns, np.empty((*theta.shape[:-1], len(x))))[:-1], axis=-1)
        return np.where(np.isfinite(stacked).all(axis=-2, keepdims=True), stacked, 0.0)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By each search coordinate, exactly."""
        columns = self._design(theta, x, span, slopes=True)
        gradient = np.zeros((*theta.shape, len(x), len(columns)))
        for j, column in enumerate(columns):
            for i, name in enumerate(self.nonlinear):
                gradient[..., i, :, j] = column.by.get(name, 0.0)
        return np.where(np.isfinite(gradient), gradient, 0.0)

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """All coefficients by name; a logarithm is NaN where its weight is not positive."""
        with np.errstate(all="ignore"):
            searched = self._searched(theta, span)
            corners = self._corners(searched, span)
            values = {name: searched[name].value[..., 0] for name in self.nonlinear}
            for j, (name, column) in enumerate(self.parts.columns.items()):
                size = np.broadcast_to(column.log_size(corners), (*theta.shape[:-1], 1))[..., 0]
                weight = linear[..., j] * self.parts.signs[j]
                if name in self.parts.logarithms:
                    logarithm = np.log(np.where(weight > 0, weight, math.nan))
                    values[name] = (logarithm - size) / self.parts.logarithms[name]
                else:
                    values[name] = weight * np.exp(-size)
        return values

    def weights_of(self, name: str, theta: Array, span: Span) -> Array | None:
        """Each linear coefficient is one weight over the size of its column."""
        at = self.linear.index(name)
        weights = np.zeros((*theta.shape[:-1], len(self.linear_lower)))
        with np.errstate(all="ignore"):
            size = self.parts.columns[name].log_size(self._corners(self._searched(theta, span), span))
            weights[..., at] = self.parts.signs[at] * np.exp(
                -np.broadcast_to(size, (*theta.shape[:-1], 1))[..., 0]
            )
        return np.nan_to_num(weights, nan=0.0)

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Coordinates of given coefficients."""
        values = {name: np.asarray(coefficients[name], dtype=float)[..., None] for name in self.nonlinear}
        known = {name: number(value) for name, value in values.items()}
        corners = self._corners(known, span)
        with np.errstate(all="ignore"):
            places = [self.parts.coordinates[name].locate(values[name], corners) for name in self.nonlinear]
        return np.concatenate(np.broadcast_arrays(*places), axis=-1) if places else np.empty(0)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """The formula."""
        inputs = self._inputs(x)
        value = self._of(coefficients, inputs).value
        return np.asarray(
            value + np.zeros(np.broadcast_shapes(*(one.value.shape for one in inputs.values())))
        )

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """The formula's derivative by its first input."""
        inputs, first = self._inputs(x), self.symbols[0]
        flat = np.zeros_like(inputs[first].value)
        inputs[first] = Dual(inputs[first].value, {first: flat + 1.0})
        return np.asarray(self._of(coefficients, inputs).by.get(first, 0.0) + flat)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """The smallest positive first input on a wide logarithmic grid where y is crossed, the others being endless."""
        others = {symbol: number(math.inf) for symbol in self.symbols[1:]}

        def gap(x: Array) -> Array:
            return np.asarray(
                self._of(coefficients, {**others, self.symbols[0]: number(x)}).value - y + 0.0 * x
            )

        grid = np.geomspace(1e-9, 1e15, 4001)
        gaps = gap(grid)
        with np.errstate(all="ignore"):
            products = gaps[:-1] * gaps[1:]
        crossed = np.flatnonzero(np.isfinite(products) & (products <= 0))
        if len(crossed) == 0:
            return math.inf
        low, high = grid[crossed[0]], grid[crossed[0] + 1]
        for _ in range(80):
            middle = math.sqrt(low * high)
            same = float(gap(np.array([middle]))[0]) * gaps[crossed[0]] > 0
            low, high = (middle, high) if same else (low, middle)
        return float(low)

    def limit(self, coefficients: Coefficients) -> float:
        """The formula as models grow without end; NaN where it does not settle there."""
        known = {name: number(value) for name, value in coefficients.items()}
        end = far_end_of(self.forward, self.positive_inputs)
        value = float(far_away(self.parts.tree, known, self.symbols, end))
        return value if math.isfinite(value) else math.nan

    @property
    def limits(self) -> Limits:
        """Found from the formula where the inputs grow without end, and where they go as models grow."""
        return self.parts.limits

    @property
    def far_end(self) -> str | None:
        """Found from the formula where its inputs go as models grow."""
        return self.parts.far_end

    def _design(self, theta: Array, x: Array, span: Span, *, slopes: bool) -> list[Dual]:
        with np.errstate(all="ignore"):
            searched = self._searched(theta, span, slopes=slopes)
            known, corners = {**self._inputs(x), **searched}, self._corners(searched, span)
            columns = [column.at(known, corners) for column in self.parts.columns.values()]
            signed = [
                column if sign > 0 else -column
                for column, sign in zip(columns, self.parts.signs, strict=True)
            ]
            return signed if self.parts.rest is None else [*signed, self.parts.rest.at(known, corners)]

    def _searched(self, theta: Array, span: Span, *, slopes: bool = False) -> dict[str, Dual]:
        """The nonlinear coefficients, each of shape (..., 1), with derivatives by coordinates."""
        found: dict[str, Dual] = {}
        for name, coordinate in self.parts.coordinates.items():
            place = theta[..., self.nonlinear.index(name), None]
            at = Dual(place, {name: np.ones_like(place)} if slopes else {})
            corners = self._corners(found, span) if coordinate.relative else ()
            found[name] = coordinate.value(at, corners)
        return found

    def _corners(self, searched: Known, span: Span) -> list[dict[str, Dual]]:
        return [{**corner, **searched} for corner in _coordinates.corners_of(span, self.symbols)]

    def _inputs(self, x: Array) -> dict[str, Dual]:
        x = np.asarray(x, dtype=float)
        if len(self.symbols) == 1:
            return {self.symbols[0]: number(x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x)}
        return {symbol: number(x[..., i]) for i, symbol in enumerate(self.symbols)}

    def _of(self, coefficients: Coefficients, inputs: Known) -> Dual:
        with np.errstate(all="ignore"):
            return walk(
                self.parts.tree, {**{name: number(value) for name, value in coefficients.items()}, **inputs}
            )

    def _parameter_of(self, name: str, parts: FormulaParts) -> Parameter:
        kind = LOG_LINEAR if name in parts.logarithms else LINEAR if name in parts.columns else NONLINEAR
        box = self.bounds.get(name, ANY)
        power = parts.logarithms.get(name, 1.0)
        like_output = name == parts.asymptote
        return Parameter(name, "as the formula", name, box, like_output=like_output, kind=kind, power=power)
