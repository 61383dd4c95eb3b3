"""Where an architecture file imports `FfnSite` from; the class itself is in `model/hooks.py`."""

from sparsity_lab.measure.model.hooks import FfnSite as FfnSite
