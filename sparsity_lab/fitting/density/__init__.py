"""Capacity density rho = N^ / N: the size a reference family needs for a model's score, over the model's own size.

In: models with sizes, dates and scores (a table, lm-eval results, or the bundled one) and a ruler, which says what
score the reference family has at each size. Out: a density with interval for each model, their frontier by release
date and its growth. Definitions: Densing Law of LLMs (arXiv 2412.04315). `measure.py` runs the whole way:

    scores/         models and their scores, 0 to 1; tasks under one name; sizes by a stated convention
    lm_eval/        the same from lm-eval's result files
    rulers/         score against ln size of a reference family: fitted, read, or chosen
    curves.py       a ruler's curve with its draws, and the mean of several tasks' curves
    inversion.py    score -> ln N^, with guards where the ruler cannot tell
    densities.py    every model: its score, its errors, the inversion, flags
    trend/          the frontier, its growth, and what these rest on
    notes.py, study_notes.py    what a reader must know, said once and kept for the files
    report.py       density.json, tables, figures

How the interval of rho comes about, and where to mend a wrong one. Entry 0 of every array is the point estimate, entries 1 to B are draws. Draw b of
the ruler and draw b of the score's error are inverted together:

    file                      what it adds to the interval
    rulers/one_step.py        B = 1,000 curves: scores redrawn around the fitted curve and refitted. The scatter is
                              drawn too, from SSE / chi^2, so a family of few sizes gets a wide interval
    rulers/two_step.py        B = 200 curves: whole runs resampled and both steps refitted; beyond the largest
                              reference size a form error, as large as held-out sizes were missed by
    rulers/files.py           nothing: a one-step file is refitted from its points and seed, a two-step file holds
                              its draws
    curves.py                 nothing: a two-step mean over tasks averages their curves draw by draw, so that runs
                              which the tasks share stay shared; a one-step ruler fits the mean score itself
    scores/score_errors.py    B errors of the model's mean score: the sampling of finitely many questions (or the
                              stated error), and a difference between published sources, drawn from those seen
    densities.py              nothing: takes the curve and the errors (seeded by the model's name), calls the
                              inversion, and divides by N
    inversion.py              joins them: score + error b, inverted on curve b, is draw b of ln N^. Takes the 2.5 and
                              97.5 % quantiles. A draw more than a factor ten beyond the reference sizes counts as
                              infinite, so a side may be open. Near the ceiling, near chance or that far out there is
                              no number but a one-sided bound
    trend/trend.py            for the growth A: the ruler's draws with the score held, and models' deficits resampled

Held fixed, and so not in the interval: the size N, the ruler chosen, its chance level (one step), D0, the tasks, and
which parameters count. `trend/sensitivity.py` tabulates how A moves with the ruler, D0, the tasks, the models and how
mixtures are counted. A mean over tasks takes their score errors as independent. Sizes are counts, or FLOPs if the
ruler's are.
"""
