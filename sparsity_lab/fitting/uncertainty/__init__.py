"""How sure a fit is: 95 % intervals of every coefficient, prediction and reach, by one rule.

In: a `Problem` and its `Solution` from solve/. Out: `Intervals`.

    noise.py         what a rise of the objective means: variance, degrees of freedom, correlation, runs
    coordinates.py   a law whose coordinates are the paper's coefficients, so that one can be held
    lanes.py         how well a problem can be met with one number held
    walk.py          from the best value outwards until the objective crosses a level
    known_ends.py    confirms ends that are known beforehand, such as those of a lock
    both_ends.py     both ends of many numbers, one-sided bounds, the objective in between
    intervals.py     the interval of everything that is wanted, walked together
    other_text.py    what other text would do to a number, where points were measured on one text
    bootstrap.py     a second opinion: refits to resampled residuals or runs

What to know: an interval holds a number at a value and refits all else. Its ends are where the objective has risen by
more than noise would explain. Where residuals are correlated along a series, or points share runs, that level is
raised. Many numbers are walked at once, since Python's own time is what costs.
"""
