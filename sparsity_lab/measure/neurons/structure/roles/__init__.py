"""What several records say together: neurons across domains of text, and neurons along one training run.

In: records of `structure`; no model is loaded. Out: rows of `specialised.csv`, `drift.csv` and `settled.csv`.

    compare.py      picks the records that belong together and makes the rows
    specialise.py   which neurons or clusters prefer a domain: a permutation test over stretches of text
    drift.py        how much firing frequency, importance and pair likeness resemble those of another checkpoint
    jackknife.py    standard errors that leave out one stretch of text at a time

The unit is a stretch of consecutive windows, never a token: tokens of one document are alike. Clusters are those found
on the first half of the first text, and they are tested on second halves only.
"""
