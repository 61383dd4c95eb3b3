"""What single neurons do under the thresholds of a `measure` record, in four commands.

    frequency/    `sparsity-lab neurons`: how often each fires, how much consecutive tokens share
    structure/    `sparsity-lab structure`: which fire together, which prefer a domain, how that drifts in training
    predictors/   `sparsity-lab predict`: whether the active ones can be known before they are computed
    affinity/     `sparsity-lab affinity`: what this saves in bytes and in time, estimated from the records of
                  `neurons` and `predict`

The first three share one way. In: checkpoints, texts, and the record whose thresholds are applied as they are; nothing
is searched. `work/places.py` pairs every checkpoint with every text, `watching.py` reads a cell's record or has
it made, and the folder's own `run.py` says how: a sparse pass that counts (`api.report_of`), the counts as rows, the
rows as tables. Out: a JSON record with an array file, tables as CSV and Markdown, and one JSON summary.

    watching.py    the way of the first three: cells, tables, summary, and what becomes of a checkpoint that fails
    spec.py        models, texts, settings, and which record's thresholds go with which checkpoint
    visitor.py     the pass behind `neurons`; masks are those of `thresholds/applied.py`, for all four commands
    lanes.py       masks packed eight neurons to a word, so that this pass is fast
    counts.py      its additive counts, by groups of windows
    estimates.py   ratios of sums with errors (`ratio_of`, for all), and the statistics of `neurons`
    parameters.py  activated parameters per token under three named conventions, from the widths of a neuron
    rows.py        a number and its error as a row (`pair`, for all), and the rows of `neurons`
    tables.py      rows of records as CSV and Markdown, for all four
    pairs.py       the same token in two models: does it need many neurons in both?
    api.py         `watch_neurons` on a live model
    mixtures/      of a mixture of experts: its layers, its routers' choices, and what `neurons` counts of each expert

To add a statistic to `neurons`: its estimate in `estimates.py`, its value in `rows.py`, and its `Column` in
`store/table_columns/frequency.py`; if the counts do not hold what it needs, a field of `counts.py` that `visitor.py`
adds to. A column that an existing row can hold takes the last two. For the other commands the same: their folder's
`rows.py`, and their file in `store/table_columns/`. Raise the folder's ALGORITHM if old records lack the value.

What to know: S_t is the set of neurons active on token t, in the sparse run. Counts are whole numbers, merged by `+`.
Windows are put into at most 32 contiguous groups (64 units in `structure`), which are also what replicates
weigh, so memory does not grow with the text. `structure` and `predict` find on the first half of a text and judge
on the second. Each command has its own ALGORITHM number in its content keys, next to the key of the sparse run.
"""
