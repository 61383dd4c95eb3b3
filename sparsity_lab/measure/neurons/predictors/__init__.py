"""Can the active neurons be known before they are computed? `sparsity-lab predict`.

In: a model, a text and thresholds. Low-rank predictors read a layer's input x and name neurons; they are trained on
the first half of the text and judged on the second. Out: `predictor_records/`, tables, and `predictors.json`.

    spec.py       ranks, budgets, training, texts
    gather.py     inputs and active sets of a few layers at a time, over the first half
    lowrank.py    the predictor, logits = (x A) B + b, and its training
    judge.py      second half: hits at every budget, of the predictors and of methods that need no training
    api.py        training and judging on a live model
    rows.py       recall and precision with errors, and what a predictor costs
    record.py     every key and array, with its meaning
    run.py        what one cell does, and what is written of all

What to know: a budget is the number of neurons named for a token, as a multiple of the mean number of active neurons
on the training half; it is the same for every token of a layer. Inputs and active sets are those of the sparse run.
Counts are additive, by groups of windows; a token counts only if it has a predecessor in its window.
"""
