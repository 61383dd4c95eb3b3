"""The numerics of a fit: from a law and points to the best coefficients.

In: a `Law` and the arrays x and y, as a `Problem`. Out: a `Solution` in search coordinates.

    objective.py     what a fit makes least: squares of y or of ln y, or Huber losses on ln y
    problem.py       a law on points, what its fit makes least, and the best fit
    linear.py        many small least-squares problems at once, with bounds and with one combination held
    batch.py         one law at many search coordinates at once, for many variants of the points
    levenberg.py     moves many lanes of a batch to a least sum of squares
    engine.py        the best fit: a seeded grid, the best eight starts polished; variants of the points
    packed.py        fits to ln y: all coefficients in one vector
    newton.py        moves many such vectors to a least sum of losses
    variance.py      noise whose variance is a power of the curve
    gradients.py     how coefficients and predictions move, to first order
    diagnostics.py   correlation of residuals, conditioning, covariance, AICc

What to know: theta are the search coordinates (dimensionless, scaled by the span of x), beta the linear coefficients;
`Law.assemble` turns both into the paper's coefficients. For given theta, beta is solved in closed form, so that only
theta is searched; many theta are tried at once.
"""
