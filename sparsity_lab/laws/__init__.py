"""Closed-form curves: formula, parameters with units and bounds. numpy only, no optimizer.

One file per law; the file's name is its id, and it holds the law as `LAW`. Files with an underscore are what they are
made of. `_law.py` says what a law is: which coefficients are linear, the search coordinates of the others, and the way
to the coefficients that papers print. A law from a formula as text takes these steps:

    _formula.py      the text as a syntax tree; values with exact derivatives
    _terms.py        what is said of it: names of inputs, ranges, coefficients that are numbers or others, bounds
    _structure.py    which coefficients it is linear in, and what each is multiplied by
    _column.py       that as a column of the design, scaled so that the unit of an input does not matter
    _roles.py        what the other coefficients do: exponents, rates, scales, shifts
    _coordinates.py  where they are searched, where no range is given
    _limits.py       what it settles at, far away
    _parts.py        all of this for one formula
    _expression.py   the law
    _published.py    such a law of the literature, with what its coefficients mean: routed.py is one

`average_parameters.py` also holds the mean parameter count of a run that prunes while it trains. x is in the unit that
`inputs` states, such as tokens/1e9. The bounds of a parameter are the physically possible range: an optimum outside
them is a finding, not an error.
"""
