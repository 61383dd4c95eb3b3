"""From tables to coefficients with verdicts: `sparsity-lab fit`, `check`, `density`, `report`.

In: a CSV of points, such as `table.csv` of `measure`. Out: `fits.json` (everything), `fits.csv`, `fits.md`, plots, and
locks on request. `fit_table.py` runs the chain over every series of a table; `fit.py` fits one of them:

    1 series      data/ reads the table, one series for each run and rule; units are settled here, once
    2 choices     spec.py: which law and rivals, how many leading points to leave out, how many resamples;
                  laws_by_name.py makes the laws from their ids, or from formulas
    3 warm-up     judge/warmup.py: how many leading points to leave out, if that is left to a rule
    4 rivals      judge/rivals.py fits every rival law to the same points; spec.py chooses the law to report
    5 fit         solve/ finds the law's best coefficients
    6 verdict     judge/verdict.py: do the data identify the limit? The profiles, the conditioning and the rivals decide
    7 intervals   uncertainty/ finds those of coefficients, of the curve, and of where it reaches a value
    8 result      result.py holds one fit and all its evidence; report.py writes the files
    9 lock        locks/ records what the fit said; `check` refits later and compares

    ladders/      the same for laws of several inputs, such as loss against parameters and tokens
    reproduce/    published coefficients, and what the runs of a table say together about size and shape
    study/        the questions of a whole study, as tables with verdicts
    density/      how much capability each parameter carries
    plots/        one file per kind of figure
    page/         one HTML page, or the tables, of everything a folder holds
    figures.py    a figure that cannot be drawn is reported and stops nothing
    stage.py      a fit of a study whose table and settings have not changed is not run again

What to know:

- x is trained tokens in units of 1e9 (`tokens/1e9`) when a column of tokens is fitted, y a fraction when it is an
  activation ratio. Any other column keeps its own unit.
- Every law is linear in some coefficients. Those are solved in closed form; the search runs over the others, mostly
  one or two (variable projection).
- "Not identified" is an answer. A limit is an extrapolation; where the data do not bound it, its interval is open on
  that side, and the verdict gives the one-sided bound that is left.
- Intervals are 95 %. They come from the scatter of one series; they do not contain what another seed would have done.
"""
