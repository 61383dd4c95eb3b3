"""How often neurons fire and what consecutive tokens share: `sparsity-lab neurons`.

In: a model, a text and thresholds. One sparse pass (`neurons/visitor.py`) counts by neuron, token id, position, pair
and chunk of tokens; a second part, which can be left out, lets the model write by itself. Out: `neuron_records/`,
tables, and `neurons.json`.

    run.py        what one cell does, its arrays, and what is written of all
    decoding.py   activation ratios over a prompt, over the text that follows it, and over the model's own words
    record.py     every key and array of a record, with its meaning
    tables.py     the tables of a run, and the rows that are made of the arrays

The statistics themselves are in `neurons/estimates.py`, their rows in `neurons/rows.py`. A neuron fires on a token
when it is kept under the thresholds and not exactly zero. Of a mixture of experts `neurons/mixtures/` adds tables of
experts and of their routers; its records have keys and arrays that others lack.
"""
