"""One file per figure family: what is shown, how, and the units on every axis.

Matplotlib is imported here first, as its authors ship it: no backend, configuration or style of the user's has a say.
"""

from sparsity_lab.fitting.plots._library import load

load()
