"""The law behind a text: an id of the laws' room, or a formula with what is known of its coefficients."""

from __future__ import annotations

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._expression import Expression
from sparsity_lab.laws._law import Law

FARTHEST = 1e30  # edge of the search range of a formula's coefficient


def load_law(name: str) -> Law:
    """The law behind an id, or behind a formula with ranges such as `A0 - c*x^-alpha; alpha=0.01:10`.

    Raises:
        SparsityLabError: there is none; the nearest id is named.
    """
    if set(name) & set("*^+/(="):
        formula, *ranges = (part.strip() for part in name.split(";"))
        return Expression(formula, dict(map(_range, ranges)))
    law = registry.load("laws", name).LAW
    assert isinstance(law, Law)
    return law


def law_of_one(name: str) -> Law:
    """`load_law`, for a series, which has one column of x.

    Raises:
        SparsityLabError: there is no such law, or it has several inputs.
    """
    law = load_law(name)
    if len(law.inputs) > 1:
        raise SparsityLabError(
            f"The law {law.name} has {len(law.inputs)} inputs, a series has one",
            why=f"Its inputs are {' and '.join(one.meaning for one in law.inputs)}",
            fix="Name one column for each with --x A,B, or choose another law",
        )
    return law


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """`alpha=0.01:10` as a name and its edges."""
    name, _, edges = text.partition("=")
    low, _, high = edges.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    if not name.strip().isidentifier() or not -FARTHEST <= found[0] < found[1] <= FARTHEST:
        raise SparsityLabError(f"--range {text!r} is no range of a coefficient", fix="Write alpha=0.01:10")
    return name.strip(), found
