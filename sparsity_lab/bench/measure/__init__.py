"""What measuring costs: `sparsity-lab bench measure`.

In: a model, or random weights of a stated shape. Out: `measure.json`; with `--against`, a table of both algorithms.

    overhead.py     sparse passes against plain forward passes, in alternation
    reference.py    `--against`: loads a model and a text, runs the comparison, writes it
    comparison.py   this package's engine and a reproduced released algorithm on the same windows
    cost.py         peak memory, matrix products and host syncs of a measurement

The engine runs before and after the reference, so that a machine that slows down shows; what is counted is counted in
a further run that is not timed.
"""
