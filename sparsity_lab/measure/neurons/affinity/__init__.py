"""What sparsity is worth when decoding: bytes read, estimated, and time, measured; `sparsity-lab affinity`.

In: records of `neurons`, records of `predict` if there are any, and the models' configs. Out: `affinity.csv` with
ideal speed-ups, tables of timings if these were asked for, and `affinity.json`.

    spec.py       bytes per weight, context, what is to be timed
    found.py      reads the records, matches those of `predict` with those of `neurons`, finds the models
    needed.py     refuses a record without the values that estimates need
    weights.py    a model's weights by how decoding reads them, from its config, without memory
    traffic.py    bytes per token and ideal speed-ups under each named convention
    timed.py      loads a record's model and text and times the two below
    products.py   y = W_d a, dense against the sparse kernel, and the ratio at which they break even
    decode.py     whole tokens from the KV cache, dense against sparse
    pairs.py      two ways of doing one thing, timed in alternating pairs
    run.py        all of it, from records to files

What to know: ideal speed-ups are upper bounds. They take time as proportional to the bytes read from one memory and
computing as free. Errors are those of the record, carried along; timings have an interval for the median ratio over
pairs.
"""
