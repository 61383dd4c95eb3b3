"""Trains one model of a ladder, or several side by side, so that a kill at any moment costs little.

In: a `RunSpec` and prepared data. Out: a run's folder with `run.json`, `step-N/` and `loss.csv`.

    schedule.py      the steps of checkpoints, and the learning rate
    training.py      one run: its identity, and where it resumes
    setup.py         the model, the arguments and the windows that a run gives the Trainer
    trainer.py       transformers' Trainer with windows in order, and logs and saves at planned steps
    checkpoints.py   directories that are whole once they have their name; resume points
    loss_log.py      the loss as CSV, and as points for loggers
    process.py       cores and memory of a process that trains
    ranks.py         which process of a torchrun launch this is

A folder that holds a run of another configuration is refused. Optimizer state is kept in the newest checkpoint only,
and dropped at the end. Losses are nats per token.
"""
