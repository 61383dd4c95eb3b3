"""What the neurons do under a record's thresholds, in one streaming pass: `sparsity-lab neurons`.

lanes.py       masks as words of eight neurons, summed by byte lanes
counts.py      additive counts          visitor.py     the pass that fills them
estimates.py   numbers with errors      parameters.py  activated parameters by convention
decoding.py    reading against writing  api.py         on a live model
spec.py        models, texts, records   run.py         cells, resume
grid.py        checkpoints by texts     sealed.py      records with arrays
record.py      what a cell leaves       tables.py      CSV and Markdown
"""
