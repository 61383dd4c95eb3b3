"""The numerics of a fit: from a law and points to coefficients, profiles and resamples.

In: a `Law` and the arrays x and y. Out: a `Solution` in search coordinates, `Profile`s, and bootstrap `Draws`.

    problem.py       a law on points: for given search coordinates the linear coefficients are solved in closed form
    engine.py        a seeded grid over the coordinates, the best eight starts polished
    robust.py        the same for a sum of Huber losses on ln y
    diagnostics.py   correlation of residuals, conditioning, covariance, AICc
    profile.py       how well the others can make up for one coefficient held at each value; ends of its interval
    bootstrap.py     refits to resampled residuals of a series, or to resampled runs of a ladder

What to know: theta are the search coordinates (dimensionless, scaled by the span of x), beta the linear coefficients;
`Law.assemble` turns both into the paper's coefficients. A profile holds one coefficient and refits all others. Where
residuals are correlated along the series, the profile's level is raised and the bootstrap draws blocks of them.
"""
