"""Benchmark scores of models, dense and under thresholds: `sparsity-lab eval`.

In: models, names of lm-eval tasks, and records of `measure`. Out: lm-eval's own result and sample files for each
setting, and `eval.csv`, `eval.md` and `eval.json` with one row for each model and setting.

    evaluation.py   the settings, a cell for each, and the table
    scoring.py      one cell: the model in one setting, evaluated unless its record and files are there
    model.py        the model as lm-eval sees it: at most one BOS before a text, and notes on what tokenizing loses
    bridge.py       lm-eval's list of tasks, its terminal output, its errors and its files

Thresholds are applied as they are, by `api.sparsified`; the hooks are gone after each setting. Logged samples hold the
log-likelihoods that `fitting.density` reads.
"""
