"""Columns of what `affinity` writes."""

from sparsity_lab.store.columns import described

TRAFFIC = described("affinity", "affinity")
PRODUCTS = described("affinity", "affinity_products")
BREAK_EVEN = described("affinity", "affinity_break_even")
DECODE = described("affinity", "affinity_decode")
