"""From tables to coefficients with verdicts: `sparsity-lab fit`, `check`, `density`, `report`.

In: a CSV of points, such as `table.csv` of `measure`. Out: `fits.json` (everything), `fits.csv`, `fits.md`,
`residuals.csv`, plots, and locks on request. `fit_table.py` runs the chain over every series of a table; `fit.py` fits
one of them. A law has one input, such as tokens, or several, such as parameters and tokens: the chain is the same.

    1 series      data/ reads the table: a series for each run and rule, or one of all runs where there are several
                  inputs; units are settled here, once
    2 choices     spec.py: law and rivals, objective, weights, how many leading points to leave out, how many resamples
    3 warm-up     judge/warmup.py: how many leading points to leave out, if that is left to a rule
    4 rivals      judge/rivals.py fits every rival law to the same points; spec.py chooses the law to report
    5 fit         solved.py finds the law's best coefficients by solve/, with profiles of its limit and exponents, and
                  judges them: do the data identify the limit? Profiles, conditioning and rivals decide
    6 intervals   the profile's where there is one, else solve/bootstrap.py
    7 held out    holdout.py predicts the largest values of a column from the rest, on request
    8 result      result.py holds one fit and all its evidence; parts.py keeps it as soon as it is complete
    9 report      report.py writes the numbers, and then the figures
   10 lock        locks/ records what the fit said; `check` refits later and compares

    reproduce/    published coefficients, and what the runs of a table say together about size and shape
    study/        the questions of a whole study, as tables with verdicts
    density/      how much capability each parameter carries
    plots/        one file per kind of figure
    page/         one HTML page, or the tables, of everything a folder holds
    figures.py    a figure that cannot be drawn is reported and stops nothing
    stage.py      a fit of a study whose table and settings have not changed is not run again

What to know:

- x is trained tokens in units of 1e9 (`tokens/1e9`) when a column of tokens is fitted, y a fraction when it is an
  activation ratio. Any other column keeps its own unit. Several inputs are counts: parameters and tokens.
- Points are in order of x. Those of several inputs are in order of their product, which is what "leading", "the first
  70 %" and the like mean there. Points of one run share their luck, so the bootstrap draws whole runs and profiles
  count runs, not points (`--group` names the column; without it each row is a run).
- Every law is linear in some coefficients. Those are solved in closed form; the search runs over the others, mostly
  one or two (variable projection).
- "Not identified" is an answer. A limit is an extrapolation; where the data do not bound it, its interval is open on
  that side, and the verdict gives the one-sided bound that is left.
- Intervals are 95 %. They come from the scatter of one series; they do not contain what another seed would have done.
"""
