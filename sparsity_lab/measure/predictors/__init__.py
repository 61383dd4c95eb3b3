"""Can the active neurons be known before they are computed? `sparsity-lab predict`. First half trains, second judges.

gather.py    inputs and active sets of some layers      lowrank.py   the predictor and its training
judge.py     hits at budgets, beside what needs none    api.py       on a live model
spec.py      settings                                   run.py       cells, resume
record.py    what a cell leaves, and its columns        rows.py      numbers with errors
"""
