"""Columns of what `neurons` writes."""

from sparsity_lab.store.columns import described

NEURONS = described("frequency", "neurons")
CHUNKS = described(
    "frequency",
    "chunks",
    readers="name text tokens cls cls_se sparsity_by_chance aggregated_sparsity aggregated_sparsity_se "
    "touched_output_side touched_input_side touched_oracle touched_oracle_se",
)
PARAMETERS = described("frequency", "parameters")
DECODE = described("frequency", "decode")
TOKENS = described("frequency", "tokens", markdown=False)
POSITIONS = described("frequency", "positions", markdown=False)
FREQUENCY = described("frequency", "frequency", markdown=False)
TOKEN_PAIRS = described("frequency", "token_pairs")
EXPERTS = described("frequency", "experts", markdown=False)
EXPERT_LAYERS = described("frequency", "expert_layers")
EXPERT_CHUNKS = described("frequency", "expert_chunks", markdown=False)
EXPERT_ROUTING = described("frequency", "expert_routing")
