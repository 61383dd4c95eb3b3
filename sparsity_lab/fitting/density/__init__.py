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
    by_size.py      rho(N): density against size within a family
    trend/          the frontier, its growth, and what these rest on
    compare_rulers.py    `density rulers`: the rulers that can place the models, and how far each two disagree
    notes.py, study_notes.py    what a reader must know, said once and kept for the files
    paragraph.py         what was found, in one paragraph that can be quoted, and in sentences
    options.py, report.py       options of a run; the run written out: density.json, tables, figures

How the interval of rho comes about. Four files make it; entry 0 of every array is the point estimate, entries 1 to B
are draws, and a wrong interval is mended in the one whose part of it is wrong:

    rulers/one_step.py, or rulers/two_step.py    B curves
        one step: `_with_draws` redraws the scores around the fitted curve B = 1,000 times and refits. The scatter is
        drawn too, from SSE / chi^2, so that a family of few sizes gets a wide interval. Beyond the smallest and the
        largest size a form error is added, as large as held-out sizes were missed by. A mean over tasks is fitted
        itself.
        two steps: `two_step_ruler` resamples whole runs B = 200 times and refits both steps; beyond the largest
        reference size a form error is added, as large as held-out sizes were missed by. A mean over tasks averages
        their curves draw by draw (`curves.MeanCurve`), so that runs which the tasks share stay shared.
    scores/score_errors.py    B errors of the model's mean score
        the sampling of finitely many questions (or the stated error), and a difference between published sources,
        drawn from those seen.
    densities.py    brings both together
        `_density` seeds the errors by the model's name, so that a model does not depend on its neighbors, calls the
        inversion and divides by N.
    inversion.py    the interval
        `invert`: score + error b, inverted on curve b, is draw b of ln N^; the interval is from its 2.5 to its 97.5 %
        quantile. A draw more than a factor ten beyond the reference sizes counts as infinite, so a side may be open.
        Near the ceiling, near chance or that far out there is no number but a one-sided bound.

The interval of the growth A is made in `trend/trend.py`: the ruler's draws with the score held, and models' deficits
resampled by family. A ruler's file (`rulers/files.py`) changes no interval: a one-step file is refitted from its points
and seed, a two-step file holds its draws.

What the other rulers of one harness give for a model is reported next to its interval and is not part of it: a ruler
sets the unit of rho, so most of their difference is one factor for all models (`rulers/disagreement.py`).

Held fixed, and so not in the interval: the size N, the ruler chosen, its chance level (one step), D0, the tasks, and
which parameters count. Where the true form is another, the form errors make up for it (`density planted`, worlds
"Weibull ruler" and "Gompertz ruler"); where the ruler's corpus is another, growth holds and the unit of rho does not.
`trend/sensitivity.py` tabulates how A moves with the ruler, D0, the harness, the tasks, the models and how mixtures are
counted, and `trend/hindcast.py` tries on the past what the trend foresees. A mean over tasks takes their score errors
as independent. Sizes are counts, or FLOPs if the ruler's are.
"""
