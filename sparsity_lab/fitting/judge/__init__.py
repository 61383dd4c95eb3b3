"""What a fit may claim: the warm-up left out, the rivals, the verdict, and bands of prediction.

In: a solved problem and its profiles. Out: words and numbers for a reader.

    warmup.py    coefficients against the number of leading points left out, and a rule for how many
    rivals.py    other laws on the same points: AICc, and errors of extrapolating from the first part
    slopes.py    the slope of a straight line, and which way points go
    shape.py     whether a law can go the way the points go at all
    windows.py   the limit by the first 70 % and 85 % of the points, and a test for a slow drift away from the law
    noise.py     whether the noise is equally wide throughout, and whether its correlation leaves enough of the points
    checks.py    these two together, for one fit
    verdict.py   identified, weakly identified or not identified, with the reason
    bands.py     the band of the curve, and the x at which a value is reached, from the bootstrap draws

What to know: "identified" takes a profile of the limit that is closed inside the physical range and no wider than the
data's own range (so too for every other level the curve tends to), coefficients that can be distinguished, closed
profiles of the exponents, a fit away from the edge of the search, a limit that the first 70 % and 85 % of the points
agree with and that no drift moves, noise that is not too correlated for the number of points, no law without a limit
that is as good, and no rival that is far better. A law that cannot go the way the points go has no coefficients at all.
AICc within 2 of the best is a tie; 10 worse puts the form in doubt. First points are those of the smallest models.
"""
