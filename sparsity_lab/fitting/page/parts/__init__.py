"""The sections of a report, one file per subject.

In: `Contents`, everything that `collect.py` came across. Out: sections made of the blocks of `blocks.py`; none where
there is nothing to show.

    summary.py      what there is, what was found, what could not be read; made last and shown first
    study.py        a study's tables and figures, what several runs say together, and reports as they were written
    measured.py     every record of `measure`
    criteria.py     criteria side by side
    transfer.py     thresholds on other texts
    fits.py         all fits in one table, then the evidence for each
    structure.py, predictors.py, affinity.py, heat.py    one command each
    others.py       density, lm-eval scores, neurons, and all tables and figures left over

A part says nothing that is not in the files. Rows of checkpoints that failed are shown once, by `measured.py`.
"""
