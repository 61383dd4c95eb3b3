"""A ladder as YAML, and as values with every number settled.

In: a YAML file or the name of a bundled one. Out: a `LadderConfig`, one `RunSpec` for each model.

    ladder_config.py      reads the file; a list in place of a value is an axis, and the runs are their product
    sections.py           a section -> a dataclass; unknown keys, wrong types and ranges are refused by name
    run_sections.py       a model as a config writes it -> a full shape; a budget and a rule of rates -> its training
    spec.py               the frozen values: data, tokenizer, training, run, ladder

A budget is in tokens, or in tokens per non-embedding parameter. What is left out of a config follows from the rest,
and `ladder.json` in the output holds everything as it was settled.
"""
