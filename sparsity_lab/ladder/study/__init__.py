"""A study: a ladder, and how its checkpoints are measured and fitted. `cli/stages.py` runs it.

In: a ladder's YAML with the sections `measure` and `fit`. Out: a plan: folders, commands and what is left to do.

    study_config.py     the config, checked as a whole before anything is trained
    plan.py             the folders, the command each stage corresponds to, and how far each run has come

The two extra sections are not part of a training run: changing them never retrains anything. Every checkpoint is
measured under both rules (one knob per series, one per checkpoint) and at each fixed CETT.
"""
