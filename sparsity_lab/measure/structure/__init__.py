"""How neurons hang together: `sparsity-lab structure`. First part of a text finds, the second part judges.

survey.py      first pass: firings by stretch of text, neurons firing together      counts.py   what it leaves
clusters.py    experts of equal size, and partitions to compare them with
quality.py     second pass: share of activations inside a token's best clusters
routing.py     segment cache best hit rate        projections.py  what leads into a layer's neurons
coactivation.py  partners, by likeness            specialise.py   which neurons prefer a domain
drift.py       checkpoints against each other     mixtures.py     true experts
api.py         on a live model                    spec.py         settings
run.py         cells, resume                      record.py       what a cell leaves
rows.py, tables.py, columns.py                    CSV and Markdown
"""
