"""One checkpoint on several texts: `sparsity-lab measure --transfer`.

In: a checkpoint and two texts or more. Out: its record on each text, the records of each text's thresholds on every
text, and `transfer.csv`, `texts.csv` and `transfer.md`.

    transfer.py        measures all of it and writes the tables
    matrices.py        the matrices for readers, calibrated on (rows) by measured on (columns)
    between.py         how texts differ, compared with their own errors, and what a new text of the kind would give
    random_effects.py  the statistics of that: numbers with errors, and nothing of models or texts

A matrix says what carrying thresholds to another text costs; its errors are at fixed thresholds. What a text finds with
its own thresholds has an error within the text and differs between texts, and the second can be the larger.
"""
