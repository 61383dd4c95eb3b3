"""lm-eval's result files as models with scores, losses and identities.

In: a folder with `results_*.json` and perhaps `samples_*.jsonl` files, and perhaps a table of models. Out:
`LmEvalScores`, from which come targets for `density`, or a ladder for a two-step ruler.

    identity.py      which model under which settings a result is about, and short names that tell results apart
    files.py         one result file: its identity, and of each task the scores, shots, samples and parts
    answer_loss.py   logged samples: loss of the gold answer in nats per token and bits per byte, and how many choices
    models.py        the row of a table that is about each model, and its size
    results.py       all files of a folder together: the newest result per model and task
    rulers.py        chance levels, settings and incomplete groups, for a ruler made of these models
    options.py       options for what a run reads

Everything a result says about its model is part of its identity unless it is known not to change a score. Runs under
thresholds are models of their own.
"""
