"""Columns of what `predict` writes."""

from sparsity_lab.store.columns import described

PREDICTORS = described("predictors", "predictors")
TRAINING = described("predictors", "training", markdown=False)
