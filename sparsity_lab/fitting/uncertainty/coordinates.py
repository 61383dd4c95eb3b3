"""A law whose search coordinates are the paper's own nonlinear coefficients, so that one of them can be held."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from sparsity_lab.laws._law import NONLINEAR, Array, Coefficients, Law, Span

STEP = 1e-6


class InCoefficients(Law):
    """A law in other coordinates: ln of a nonlinear coefficient that has one sign, the coefficient itself elsewhere."""

    name = formula = latex = source = ""

    def __init__(self, law: Law, span: Span) -> None:
        """Take over what does not depend on the coordinates."""
        self.law = law
        self.inputs, self.output = law.inputs, law.output  # type: ignore[misc]
        self.parameters, self.linear_lower, self.offset_columns = (
            law.parameters,
            law.linear_lower,
            law.offset_columns,
        )
        self.asymptote, self.asymptote_column = law.asymptote, law.asymptote_column
        self.names = tuple(one.name for one in law.parameters if one.kind == NONLINEAR)
        corners = np.array(list(itertools.product(*law.search_box(span)))).reshape(2 ** len(self.names), -1)
        ends = self._named(corners, span)
        self.signs = {name: _sign(values) for name, values in ends.items()}
        places = self._places(ends)
        self.box = np.stack([places.min(axis=0), places.max(axis=0)], axis=1)

    def search_box(self, span: Span) -> Array:
        """The smallest box that holds the law's own."""
        return self.box

    def places(self, theta: Array, span: Span) -> Array:
        """These coordinates of the law's own, shape (..., q)."""
        return self._places(self._named(theta, span))

    def places_of_ends(self, names: Sequence[str], ends: Array) -> Array:
        """These coordinates of the lower and upper ends of coefficients, NaN where open; shape (2, K).

        Infinite, as nothing is known there, where an end has another sign than the coefficient.
        """
        places = np.array(ends, dtype=float)
        for i, name in enumerate(names):
            if sign := self.signs[name]:
                with np.errstate(invalid="ignore", divide="ignore"):
                    turned = sign * places[::sign, i]
                    places[:, i] = np.where(turned <= 0, np.inf, np.log(turned))
        return places

    def own(self, places: Array, span: Span) -> Array:
        """The law's own coordinates of these, shape (..., q)."""
        return self.law.locate(self.values(places), span)  # type: ignore[arg-type]

    def values(self, places: Array) -> Mapping[str, Array]:
        """The nonlinear coefficients at these coordinates, each of shape (...)."""
        return {
            name: self.signs[name] * np.exp(places[..., i]) if self.signs[name] else places[..., i]
            for i, name in enumerate(self.names)
        }

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """The law's columns."""
        return self.law.design(self.own(theta, span), x, span)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By these coordinates, through numeric derivatives of the law's own by them."""
        gradient = self.law.design_gradient(self.own(theta, span), x, span)
        turn = np.empty((*theta.shape, theta.shape[-1]))
        for i, step in enumerate(STEP * np.eye(theta.shape[-1])):
            turn[..., i, :] = (self.own(theta + step, span) - self.own(theta - step, span)) / (2 * STEP)
        return np.asarray(np.einsum("...iq,...qnp->...inp", turn, gradient))

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The paper's coefficients."""
        return self.law.assemble(self.own(theta, span), linear, span)

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """These coordinates of given coefficients."""
        return self._places({name: np.asarray(coefficients[name]) for name in self.names})

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """The law's curve."""
        return self.law.predict(coefficients, x)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """The law's slope."""
        return self.law.slope(coefficients, x)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """As the law."""
        return self.law.invert(coefficients, y)

    def _named(self, theta: Array, span: Span) -> dict[str, Array]:
        nothing = np.ones((*theta.shape[:-1], len(self.linear_lower)))
        found = self.law.assemble(theta, nothing, span)
        return {name: np.broadcast_to(found[name], theta.shape[:-1]) for name in self.names}

    def _places(self, values: Mapping[str, Array]) -> Array:
        return np.stack(
            [np.log(np.abs(v)) if self.signs[n] else np.asarray(v) for n, v in values.items()], axis=-1
        )


def _sign(values: Array) -> int:
    """1 or -1 where all values have that sign, else 0."""
    return 1 if np.all(values > 0) else -1 if np.all(values < 0) else 0
