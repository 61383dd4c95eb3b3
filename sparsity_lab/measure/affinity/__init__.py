"""What sparsity is worth in time: bytes that decoding reads, estimated and timed; `sparsity-lab affinity`.

weights.py   weights of a model by how they are read      traffic.py   bytes and ideal speed-ups, by convention
found.py     records of `neurons` and `predict`           spec.py      settings
pairs.py     timing in alternating pairs                  products.py  W_d a: dense against sparse_down
decode.py    whole tokens from the KV cache               timed.py     both, on the text of a record
run.py       tables and their JSON                        columns.py   what they mean
"""
