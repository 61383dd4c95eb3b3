"""What a study's measured runs say, question by question, as tables and as sentences with their numbers.

curves.py       measured tables -> one curve a run and rule
selection.py    which runs answer which question: sizes, shapes, twins
trends.py       slopes against ln tokens, over whole runs and between marks of tokens per parameter
equal_loss.py   activations compared at equal loss
shapes.py       activation ratio against the width-depth ratio at equal tokens
scale.py        against parameters: limits, and values at equal tokens per parameter
outcome.py      all of these together, and the tables they leave
sentences.py    what is concluded from them, and how it compares with the Sparsing Law's findings
report.py       report.md
"""
