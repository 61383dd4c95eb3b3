"""Columns of what `structure` writes."""

from sparsity_lab.store.columns import described

COACTIVATION = described("structure", "coactivation")
PAIRS = described("structure", "pairs", markdown=False)
CLUSTERS = described(
    "structure",
    "clusters",
    readers="name text best neurons_share inside inside_se random p_random matched p_matched by_frequency",
)
ROUTING = described("structure", "routing")
SPECIALISED = described("structure", "specialised")
DRIFT = described("structure", "drift", readers="name other text measure alike alike_se between_halves")
SETTLED = described("structure", "settled")
