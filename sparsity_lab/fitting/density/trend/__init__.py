"""The frontier of density by release date, how fast it grows, and what that rests on.

In: dated densities, each with its draws under the ruler's uncertainty. Out: ln rho_max = A t + B with t in days,
intervals, checks, and what follows.

    trend.py          the models that set a new maximum, the line through them, and the interval of A
    trend_checks.py   families left out one at a time, a break at a date, projections
    sensitivity.py    A under other rulers, D0, tasks, models and conventions
    corollaries.py    compressed models, parameters needed over time, falling prices, chips: the commands of `density`

What to know: the first model is always a record, whatever its rho, so the published line is too steep; the interval
measures that bias by resampling models' distances to the line, and carries the ruler's draws. Models with only a bound
on rho do not enter; by default neither do mixtures of experts and models without all tasks.
"""
