"""From a model and a text to activation ratios at equal quality."""

from sparsity_lab import extras

extras.require(*extras.MODEL, who=__name__)
