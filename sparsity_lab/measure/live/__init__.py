"""Measuring a model that somebody else holds: a notebook, or a Trainer in the middle of training.

In: a live transformers model and token ids. Out: a measurement or a record, and the model exactly as it was: flags,
gradients, random states and wrappers.

    arguments.py     checks what callers pass: numbers in range, token ids that the model can read
    live_model.py    takes the model out of its wrappers and into evaluation mode, and puts everything back
    live_record.py   measures it into the record that `measure` would write for the same weights on disk

`api.py` and `callback.py` are the public side. If the weights on disk equal those in memory, a record gets the key
that `measure` would give that checkpoint, so the work is not done twice.
"""
