"""Closed-form curves: formula, parameters with units and bounds, start guess. numpy only, no optimiser.

One file per law; the file's name is its id, and it holds the law as `LAW`. Two files hold what they are made of:

    _law.py          what a law is: which coefficients are linear, the search coordinates of the others, and the way
                     to the coefficients that papers print
    _expression.py   a law from a formula as text

`average_parameters.py` also holds the mean parameter count of a run that prunes while it trains. x is in the unit that
`inputs` states, such as tokens/1e9. The bounds of a parameter are the physically possible range: an optimum outside
them is a finding, not an error.
"""
