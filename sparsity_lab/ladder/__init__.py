"""Trains small families of checkpoints for laws to be fitted on: `sparsity-lab train`, and the plan of a `study`.

In: one YAML file. Out: `data/` (tokenizer, token files, held-out text), `runs/NAME/step-N/` (one Hugging Face
directory per checkpoint, each with its exact number of trained tokens), and tables of runs and checkpoints.

    config/       YAML -> `LadderConfig`: every run with every number settled
    models.py     shapes, transformers configs, parameter counts in closed form
    estimate.py   parameters, FLOPs, time and disk of a ladder before it is trained
    corpus/       text -> tokenizer and token files, once per ladder
    train/        one run, from the first step or from where it was stopped
    ladder.py     all runs of a config, one after another or side by side
    study/        a ladder with its measurements and fits: folders, commands, progress
    configs/      the ladders that come with the package

What to know: tokens are counts here, and `D` is steps x batch size x window. `params_nonembedding` leaves out both
embedding matrices. A run is a function of its specification and the token file: initial weights and order of windows
come from the seed, and a resumed run takes the same steps. Checkpoints are evenly spaced in ln tokens. Each corpus is
walked at most `max_epochs` times.
"""
