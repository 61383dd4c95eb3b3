"""Trains small families of checkpoints for laws to be fitted on.

config.py, sections.py        YAML -> LadderConfig; unknown keys and wrong types refused by name
ranges.py                     the range of every number of a config, declared once
model_section.py              a model as a config writes it
training_section.py           a budget and a learning-rate rule as a config writes them
spec.py                       the frozen values a ladder is made of
models.py                     shapes, configs, parameter counts in closed form
corpus.py, sources.py         text: Python sources of the environment, files, datasets
tokenizer.py, tokens.py       byte-level BPE; memory-mapped token files, windows in a seeded order
data.py                       corpus -> tokenizer and token files
identity.py                   what prepared data were made of, by size and hash
schedule.py, estimate.py      log-spaced checkpoints; what a ladder costs before it is trained
training.py, trainer.py       one run on transformers' Trainer
checkpoints.py, loss_log.py   directories that are whole once they have their name; the loss as CSV
ranks.py                      which process of a torchrun launch this is
ladder.py                     all runs of a config
bench.py                      the Trainer against a plain loop
configs/                      the ladders that come with the package
"""
