"""The columns of every table that the commands write, a file for each command.

In: nothing. Out: a `TableColumns` for each pair of a CSV and a Markdown file; `store/columns.py` says what a `Column`
is. The command writes its files by them, and `fitting/page` picks the columns it shows.

    measured.py     `measure`: table, transfer, sweep
    frequency.py    `neurons`: neurons, chunks, parameters, decode, tokens, positions, frequency, token_pairs
    structure.py    `structure`: coactivation, pairs, clusters, routing, specialised, drift, settled
    predictors.py   `predict`: predictors, training
    affinity.py     `affinity`: affinity, affinity_products, affinity_break_even, affinity_decode
    study.py        `study`: directions, segments, equal_loss, versus, shapes, sizes, against_size, losses-ACTIVATION
    density.py      `density`: table, per_task, sensitivity, losses, predictions, pairs, needed, prices
    ladder.py       `train`: runs, checkpoints, loss; and the tables of dry runs
    bench.py        `bench`: bench-train, kernels, the table of `--against`; coverage, planted

To add a column, write its `Column` here and put its value into the command's rows. Without a heading it is in the CSV
alone. A test demands a meaning of every column, and that nothing in `measure` writes a CSV in another way.
"""
