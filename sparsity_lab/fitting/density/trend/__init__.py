"""The frontier of density by release date, how fast it grows, and what that rests on.

In: dated densities, each with its draws under the ruler's uncertainty. Out: ln rho_max = A t + B with t in days,
intervals, checks, and what follows.

    entering.py       who enters the trend, and as what: a number, a lower bound, or not at all
    records.py        who sets a new maximum, and least squares through those who do
    beyond.py         the line where some records are lower bounds
    families.py       resampling by family
    trend.py          all of these together: the line, its correction, and the interval of A
    trend_checks.py   families left out one at a time, a break at a date, projections
    forecasts.py      the densest model of a coming quarter as foreseen by the trend and by its rivals
    hindcast.py       the trend tried on the past: what it foresaw at each quarter's end, and what came
    sensitivity.py    A under other rulers, D0, tasks, models and conventions
    published.py      the published doubling times, for comparison
    corollaries.py    compressed models, parameters needed over time, falling prices, chips: the commands of `density`

What to know: the first model is always a record, whatever its rho, so the published line is too steep. The headline is
the line less that bias, which is measured by resampling models' distances to the line, whole families together; its
interval carries the ruler's draws. By default models enter that lie within the ruler's sizes, have all tasks, are dense
and are none of the ruler's own. Those beyond the ruler count as lower bounds; to drop them would drop the densest.
"""
