"""`from sparsity_lab import fit, density`: fits and densities as functions for notebooks and scripts.

    fit.py        fits every series of a table, which may be a data frame, and gives the fits as a list that can be read
    density.py    the density of the models of a table, likewise
    keywords.py   the fields of specifications as keywords: checked names, and values in the form that a field has

Both write nothing unless `output` names a folder; then they write what the command of the same name writes. The
settings are those of `FitSpec` and `Columns`, and of `DensityOptions`: nothing is decided here.
"""
