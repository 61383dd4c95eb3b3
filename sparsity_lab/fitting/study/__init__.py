"""What a study's measured runs say, question by question, as tables with numbers and verdicts.

In: the tables of `measure` and the fits of a study's folder. Out: `compare/` (tables of all questions) and `report.md`
with its figures. `cli/stages.py` calls these files stage by stage:

    curves.py       measured tables -> one curve per run and rule
    selection.py    which runs answer which question: sizes, shapes, twins that differ in activation alone
    trends.py       slopes against ln tokens, over whole runs and between marks of tokens per parameter
    equal_loss.py   activations compared where their dense loss is the same
    shapes.py       activation ratio against the width-depth ratio, at equal tokens
    scale.py        against parameters: limits, and values at equal tokens per parameter
    outcome.py      all of these together, and the tables they leave
    conclusions.py  what is concluded, with verdicts, and how it compares with the Sparsing Law's findings
    report.py       report.md
    publish.py      copies what is worth committing, without checkpoints and records

What to know: parameters are counted without embeddings. Curves under different rules are different quantities and
never share a slope or a fit. There is one run per cell of the ladder, so no interval contains what another seed would
have given.
"""
