"""Models, their scores and their sizes, as density needs them.

In: a table of models, or what `lm_eval/` read. Out: `Target`s with scores from 0 to 1, each with what is known of its
error, and a size under a stated convention.

    targets.py        a table of models, checked at the door; and the bundled models
    harnesses.py      tables that say which harness made each score: one is read, a mix is refused
    bridges.py        models of one harness moved onto another by those that both have scored
    amounts.py        parameters and tokens of a row, as counts within bounds
    columns.py        which columns of a table hold scores, and whether in percent or fractions
    benchmarks.py     what is known of a benchmark under each of its names: chance, metric, shots, parts
    task_names.py     tasks of the models under the ruler's names, each question counted once
    metrics.py        which of a task's metrics is its score
    sizes.py          which parameters count: total or active, with or without embeddings, or FLOPs
    score_errors.py   draws of a score's error

Scores are fractions inside, parameters and tokens are counts. A task and its parts are never averaged together unless
that is asked for. The chance level decides where a curve begins, so an unknown one is an error, not a guess.
"""
