"""What one model on one text leaves on disk: a JSON file named by its content key, and arrays next to it.

The JSON holds every scalar with its standard error, as rows of the tables; a `.safetensors` of the same name holds
counts by neuron, by token id and by position. `NEURON_KEYS` documents every key, `ARRAYS` every array; what mixtures of
experts have in addition is in `EXPERT_KEYS` and `EXPERT_ARRAYS`.
"""

from __future__ import annotations

import numpy as np

from sparsity_lab.measure.neurons.counts import by_layer
from sparsity_lab.measure.neurons.estimates import shares_of_tokens
from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.measure.work.places import PLACE_KEYS
from sparsity_lab.store.arrays import SEAL_KEYS, Kind, Sealed
from sparsity_lab.store.record_keys import RECORD_KEYS

OWN_KEYS: dict[str, str] = {
    "activation_ratio": "active neurons over all, over valid tokens and layers, counted in the sparse run",
    "activation_ratio_se": "standard error, from replicates of the groups of windows, as all errors here",
    "loss_sparse_nats": "mean loss per predicted token of the sparse run, nats",
    "layer_rows": "rows of neurons.csv, all layers first; for the columns see `table_columns.frequency`",
    "chunk_rows": "rows of chunks.csv: consecutive tokens, and first tokens of a window",
    "parameter_rows": "rows of parameters.csv",
    "decode_rows": "rows of decode.csv; empty where nothing was written",
    "token_text": "text of each token id of the array token_ids",
    "seed": "seed of what was written",
}
ORDER = (
    "model revision commit series name text tokenizer criterion knob ppl_increase_target thresholds calibrated_on "
    "activation_ratio activation_ratio_se loss_sparse_nats layer_rows chunk_rows parameter_rows decode_rows "
    "token_text architecture activation_function site_certificate gated params_total params_nonembedding hidden_size "
    "intermediate_size layers width_depth_ratio tokens window bos sample errors_hold_for text_source text_sha256 seed "
    "arrays_sha256 content_key provenance record_sha256"
)
NEURON_KEYS: dict[str, str] = {
    key: {**RECORD_KEYS, **PLACE_KEYS, **SEAL_KEYS, **OWN_KEYS}[key] for key in ORDER.split()
}
ARRAYS: dict[str, str] = {
    "sizes": "int64 [layers], F; of a mixture of experts, the neurons of all experts of a layer",
    "fired": "int64 [N], tokens each neuron fired on; layers side by side",
    "token_ids": "int64 [ids], token ids that occur, increasing",
    "token_count": "int64 [ids], their occurrences",
    "token_active": "int64 [layers, ids], neurons active on them",
    "token_ratio": "float64 [ids], activation ratio",
    "token_ratio_se": "float64 [ids], its standard error with windows as clusters; NaN from one window",
    "position_active": "int64 [layers, window], active neurons at each position, summed over windows",
    "position_ratio": "float64 [window], activation ratio",
    "position_ratio_se": "float64 [window], its standard error over windows",
}

# What records of mixtures of experts have in addition.
EXPERT_KEYS: dict[str, str] = {
    "expert_rows": "rows of experts.csv; see `table_columns.frequency`",
    "expert_layer_rows": "rows of expert_layers.csv, likewise",
    "expert_chunk_rows": "rows of expert_chunks.csv, likewise",
    "expert_routing_rows": "rows of expert_routing.csv, likewise",
}
EXPERT_ARRAYS: dict[str, str] = {
    "site_sizes": "int64 [sites], F of each expert and of each network that all tokens pass",
    "site_tokens": "int64 [sites], tokens that came there",
}

KIND = Kind(
    "neurons",
    folder="neuron_records",
    mark="layer_rows",
    keys=NEURON_KEYS,
    arrays=ARRAYS,
    optional=EXPERT_KEYS | EXPERT_ARRAYS,
)


def frequencies(sealed: Sealed) -> list[Floats]:
    """Share of the tokens that came to it on which each neuron of a record fires, float64 [F] of each layer."""
    arrays = sealed.arrays
    reached = arrays.get("site_tokens", np.full(len(arrays["sizes"]), sealed.body["tokens"]))
    site_sizes = arrays.get("site_sizes", arrays["sizes"])
    return by_layer(shares_of_tokens(arrays["fired"], reached[None], site_sizes)[0], arrays["sizes"])
