"""The columns of every table that the commands write, a file for each command.

In: a CSV a command. Out: a `TableColumns` for each pair of a CSV and a Markdown file; `store/columns.py` says what a
`Column` is. The command writes its files by them, and `fitting/page` picks the columns it shows.

    measured.py     `measure`: table, transfer, texts, sweep
    frequency.py    `neurons`: neurons, chunks, parameters, decode, tokens, positions, frequency, token_pairs
    structure.py    `structure`: coactivation, pairs, clusters, routing, specialised, drift, settled
    predictors.py   `predict`: predictors, training
    affinity.py     `affinity`: affinity, affinity_products, affinity_break_even, affinity_decode
    study.py        `study`: directions, segments, equal_loss, versus, shapes, sizes, against_size, losses-ACTIVATION
    density.py      `density`: table, per_task, sensitivity, hindcast, hindcast_scores, losses,
                    predictions, pairs, needed, prices
    ladder.py       `train`: runs, checkpoints, loss; and the tables of dry runs
    bench.py        `bench`: bench-train, kernels, the table of `--against`; coverage, planted

A command has a CSV with one column of a table a line: the table, the column's key, its heading for readers (none: for
machines alone), the heading of the standard error that follows it, if one does, and its meaning. To add a column, write
its line there and put its value into the command's rows. `measured.py` takes the meanings of records. A test demands a
meaning of every column, and that the rooms write no CSV in another way.
"""
