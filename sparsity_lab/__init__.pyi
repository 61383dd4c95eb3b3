from sparsity_lab.fitting.api.density import density as density
from sparsity_lab.fitting.api.fit import fit as fit
from sparsity_lab.measure.api import measure as measure
from sparsity_lab.measure.api import sparsified as sparsified

__version__: str
