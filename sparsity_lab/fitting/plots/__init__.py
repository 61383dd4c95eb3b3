"""One file per kind of figure: what is shown, how, and the units on every axis.

In: fits, or the CSV tables of the commands. Out: a PNG and an SVG each, the same bytes for the same input.

    measured.py, criteria.py                         `measure`; `measure --criterion all` and its `--sweep`
    neurons.py, structure.py, predictors.py          the commands that watch neurons
    experts.py                                       the experts of a mixture, for `neurons`
    affinity.py, token_heat.py                       `affinity`, `heat`
    fits.py, families.py                             `fit`: one sheet a series and all in one; limits against size
    density.py, density_ruler.py                     `density`: frontier, density by task, a ruler
    study.py                                         the pages of a study
    roofline.py                                      `bench kernels`
    canvas/                                          what all of them draw on

Matplotlib is imported here first, as its authors ship it: the user's backend, configuration and style do not matter.
Numbers are always written before figures, and a figure that fails is only reported (`fitting/figures.py`).
"""

from sparsity_lab.fitting.plots.canvas.library import load

load()
