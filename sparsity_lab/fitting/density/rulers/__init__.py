"""Rulers: what score a family of reference models has at each size.

In: a family's sizes and scores, or a ladder of runs with losses. Out: a `Ruler`, whose `curve(tasks)` gives the score
against ln size with B draws; and its JSON file.

    ruler.py               what every ruler has, and the one-step ruler
    sigmoid.py             the sigmoid, fitted to many data sets at once
    one_step.py            score against ln N of one family, and its draws
    ladder.py              reads a table of checkpoints: runs, losses, scores
    loss_law.py            first of two steps: loss against N and D
    two_step.py            both steps, read at D0 training tokens, with draws and form error
    files.py               rulers on disk, those shipped with the package among them
    disagreement.py        every ruler that can place a model, and by what factor two of them differ
    choice.py              which ruler a run of `density` uses: named, or the family that reaches most models
    build.py               `density ruler`: a ruler from a table, a ladder or lm-eval results
    predictions.py         `density predict`: that recipe and our choice on large runs

What to know: a one-step ruler needs four different sizes, a two-step ruler six runs of three sizes. Losses keep the
unit of their column (bits per byte or nats per token of the gold answer, or nats per token of a validation text).
Scores are 0 to 1. Chance is the floor of a one-step curve, and a floor may move within 0.1 of it in a two-step curve.
"""
