"""Points as series, without a table: of one input, or of several with the run of each."""

import numpy as np

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.laws._law import ANY


def series_of(law, x, y, *, runs=None, se=None, name="points"):
    """A series of a law's inputs; each point of several inputs is a run of its own unless `runs` says otherwise."""
    if x.ndim > 1 and runs is None:
        runs = np.arange(len(y)).astype(str)
    return Series(name, x, y, se, None, law.inputs, law.output, ANY, "", runs=runs)
